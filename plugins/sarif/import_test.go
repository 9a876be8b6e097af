package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

func imported(t *testing.T, report string, tools string) sdktest.Result {
	t.Helper()
	return sdktest.Run(t, newImporter("import"), sdktest.Request{
		Files: map[string]string{importedReport: report}, Config: "{}", Options: `{"tools": [` + tools + `]}`,
	})
}

// resultAt is a report of one result, with more in it.
func resultAt(tool, root string, line int, more string) string {
	return fmt.Sprintf(`{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": %q}}, "originalUriBaseIds": {"SRC": {"uri": "file://%s/"}},
		"results": [{"ruleId": "R1", "message": {"text": "bad"}, "locations": [{"physicalLocation": {
		"artifactLocation": {"uri": "file://%s/src/a.go"}, "region": {"startLine": %d%s}}}]}]}]}`, tool, root, root, line, more)
}

// A finding is the same from another machine's checkout and in other lines, and
// another of another tool.
func TestImport(t *testing.T) {
	t.Parallel()
	first := imported(t, resultAt("x", "/home/ann/repo", 3, ""), `"x"`)
	if len(first.Findings) != 1 || first.Findings[0].At.Path != "src/a.go" || first.Status != sdktest.Succeeded {
		t.Fatalf("%s: %s %+v", first.Status, first.Reason, first.Findings)
	}
	same := imported(t, resultAt("x", "/build/7", 90, ""), `"x"`)
	other := imported(t, resultAt("y", "/home/ann/repo", 3, ""), `"y"`)
	want := strings.Join(first.Findings[0].Identity, "|")
	if got := strings.Join(same.Findings[0].Identity, "|"); got != want || same.Findings[0].At.Path != "src/a.go" {
		t.Errorf("elsewhere it is %s at %+v, want %s", got, same.Findings[0].At, want)
	}
	if got := strings.Join(other.Findings[0].Identity, "|"); got == want {
		t.Errorf("of another tool it is %s, too", got)
	}
}

// What is not whole, or not what it was announced as, never is clean.
func TestImportIsNeverClean(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"empty": "not SARIF", "truncated": "not SARIF", "deep": "not SARIF", "no results": "did not look", "unsuccessful": "failed",
		"no runs": "announced", "cut short": "did not finish", "error": "an error of the tool",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := imported(t, strings.ReplaceAll(printed[name], `{"results"`, `{"tool": {"driver": {"name": "fake"}}, "results"`), `"fake"`)
			if r.Status != sdktest.Failed && r.Status != sdktest.Partial || !strings.Contains(r.Reason, want) {
				t.Errorf("%s: %s, want %s", r.Status, r.Reason, want)
			}
		})
	}
	for name, report := range map[string]string{
		"another tool": clean,
		"two lists":    `{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": []}], "Runs": [{"tool": {"driver": {"name": "fake"}}, "results": []}]}`,
	} {
		if r := imported(t, report, `"x"`); r.Status != sdktest.Failed || !strings.Contains(r.Reason, "announced") {
			t.Errorf("%s: %s %s", name, r.Status, r.Reason)
		}
	}
	if r := imported(t, clean, ""); r.Status == sdktest.Succeeded {
		t.Error("a report that nobody announced is clean")
	}
}
