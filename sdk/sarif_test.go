package sdk_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

const report = "\ufeff" + `{"version": "2.1.0", "runs": [{
	"tool": {"driver": {"name": "lint", "rules": [
		{"id": "L1", "shortDescription": {"text": "First"}, "helpUri": "https://example.com/L1", "properties": {"tags": ["external/cwe/cwe-079", "CWE-20: Input"], "security-severity": "9.8"}},
		{"id": "L2", "name": "Second", "defaultConfiguration": {"level": "note"}, "messageStrings": {"default": {"text": "do not {0}, {1}"}}}
	]}},
	"originalUriBaseIds": {"SRC": {"uri": "file://ROOT/"}},
	"artifacts": [{"location": {"uri": "sub/b%20b.c", "uriBaseId": "SRC"}}],
	"invocations": [{"executionSuccessful": false, "toolExecutionNotifications": [{"level": "error", "message": {"text": "cannot parse c.c"}}]}],
	"results": [
		{"ruleId": "L1", "level": "error", "message": {"text": "bad"}, "partialFingerprints": {"b": "2", "a": "1"},
		 "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file://ROOT/a.c"}, "region": {"startLine": 3, "startColumn": 2, "endColumn": 5, "snippet": {"text": "gets(x)"}}}}]},
		{"ruleIndex": 1, "message": {"id": "default", "arguments": ["a", "b"]}, "suppressions": [{"kind": "inSource"}],
		 "locations": [{"physicalLocation": {"artifactLocation": {"index": 0}, "region": {"startLine": 1, "snippet": {"text": "y  = 1"}}}}]},
		{"ruleId": "L1/5", "message": {"text": "case"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "ROOT/a.c"}}}]},
		{"ruleId": "X", "message": {"text": "elsewhere"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "../../../etc/passwd"}, "region": {"startLine": 1}}}]},
		{"ruleId": "L2", "kind": "pass", "message": {"text": "fine"}},
		{"ruleId": "L2", "baselineState": "absent", "message": {"text": "gone"}}
	]}]}`

// The tool is the test binary, the report a file of the tree with the tree's
// place put in, as a tool would write it.
func lint(tool sdk.SARIFTool) sdk.Scanner[struct{}] {
	s := sdk.Scanner[struct{}]{Name: "lint", Version: "1.0.0", Rules: []sdk.Rule{{ID: "L1", Title: "First", Severity: sdk.Low}}}
	tool.Command = append([]string{os.Args[0]}, tool.Command...)
	tool.Env = []string{roleEnv + "=tool"}
	return sdk.ExecSARIF(s, tool)
}

func lintTree(t *testing.T, report string) string {
	t.Helper()
	root := t.TempDir()
	text := strings.ReplaceAll(report, "ROOT", root)
	if err := os.WriteFile(filepath.Join(root, "report.sarif"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestExecSARIF(t *testing.T) {
	t.Parallel()
	want := sdktest.Result{
		Status: sdktest.Partial, Reason: "the tool says that it did not finish: cannot parse c.c",
		Findings: []sdktest.Finding{
			{Rule: "lint", Finding: sdk.Finding{Message: "elsewhere", Severity: sdk.Medium,
				Identity: []string{"X", "elsewhere"}, Properties: map[string]string{"tool_rule": "X"}}},
			{Rule: "L1", Finding: sdk.Finding{Message: "case", Severity: sdk.Low, At: sdk.Location{Path: "a.c"}}},
			{Rule: "L1", Finding: sdk.Finding{Message: "bad", Severity: sdk.Critical, Identity: []string{"1", "2"}, Snippet: "gets(x)",
				At: sdk.Location{Path: "a.c", StartLine: 3, StartColumn: 2, EndLine: 3, EndColumn: 5}}},
			{Rule: "lint", Finding: sdk.Finding{Message: "do not a, b", Severity: sdk.Low, Snippet: "y  = 1",
				Identity:   []string{"L2", "y = 1"},
				Properties: map[string]string{"tool_rule": "L2", "tool_rule_title": "Second", "suppressed": "inSource"},
				At:         sdk.Location{Path: "sub/b b.c", StartLine: 1}}},
		},
		Notes: []string{"cannot parse c.c", "1 results are at places outside the target; they are shown without one"},
	}
	for name, tool := range map[string]sdk.SARIFTool{
		"printed": {Command: []string{"print", "{target}/report.sarif"}},
		"written": {Command: []string{"copy", "{target}/report.sarif", "{work}/out.sarif"}, Report: "out.sarif"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := lintTree(t, report)
			tool.KeepAs = "lint.sarif"
			got := sdktest.Run(t, lint(tool), sdktest.Request{Root: root})
			if len(got.Artifacts) != 1 || !strings.Contains(string(got.Artifacts[0].Data), `"lint"`) {
				t.Errorf("artifacts %v", got.Artifacts)
			}
			got.Artifacts = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExecSARIFOptions(t *testing.T) {
	t.Parallel()
	root := lintTree(t, report)
	r := sdktest.Run(t, lint(sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, HideSnippets: true,
		Severity: map[string]sdk.Severity{"error": sdk.Info}}), sdktest.Request{Root: root})
	for _, f := range r.Findings {
		if f.Snippet != "" || strings.Contains(strings.Join(f.Identity, ""), "y =") {
			t.Errorf("a snippet is shown: %+v", f)
		}
		if f.Message == "bad" && f.Severity != sdk.Info {
			t.Errorf("severity %d", f.Severity)
		}
	}
}

func TestExecSARIFFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		report string
		tool   sdk.SARIFTool
		want   string
	}{
		"empty":      {"", sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}}, "it is empty"},
		"not JSON":   {"oops", sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}}, "it is not SARIF"},
		"other JSON": {`{"a": 1}`, sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}}, "it is not SARIF 2.1.0"},
		"exit code":  {"", sdk.SARIFTool{Command: []string{"fail"}}, "exit status 3: no licence"},
		"no report":  {"", sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, Report: "none"}, "no such file"},
		"too large":  {report, sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, MaxReport: 100}, "more than 100B"},
		"large file": {report, sdk.SARIFTool{Command: []string{"copy", "{target}/report.sarif", "{work}/r"}, Report: "r", MaxReport: 100}, "larger than 100B"},
		"elsewhere":  {report, sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, Report: "../x"}, "not in the work directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Run(t, lint(tt.tool), sdktest.Request{Root: lintTree(t, tt.report)})
			if r.Status != sdktest.Failed || !strings.Contains(r.Reason, tt.want) {
				t.Errorf("%s: %q, want %q", r.Status, r.Reason, tt.want)
			}
		})
	}
}

func TestSARIFRules(t *testing.T) {
	t.Parallel()
	got, err := sdk.SARIFRules([]byte(report))
	want := []sdk.Rule{
		{ID: "L1", Title: "First", Severity: sdk.Critical, HelpURL: "https://example.com/L1", CWE: []int{79, 20}},
		{ID: "L2", Title: "Second", Severity: sdk.Low},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := sdk.SARIFRules([]byte("x")); err == nil {
		t.Error("no error for what is no report")
	}
}

// FuzzSARIF: whatever a report says, what goes out keeps to the contract: paths
// in the target, declared rules.
func FuzzSARIF(f *testing.F) {
	f.Add(report)
	f.Add(`{"version":"2.1.0","runs":[{"results":[{"ruleIndex":-1,"rule":{"index":9,"toolComponent":{"index":3}},"locations":[{"physicalLocation":{"artifactLocation":{"index":-5,"uri":"","uriBaseId":"A"}}}]}]}]}`)
	f.Add(`{"version":"2.1.0","runs":[{"originalUriBaseIds":{"A":{"uri":"A/","uriBaseId":"A"}},"results":[{"message":{"text":"{0}{0}","arguments":["{0}"]},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"..","uriBaseId":"A"}}}]}]}]}`)
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, report string) {
		_, _ = sdk.SARIFRules([]byte(report)) // must not panic
		s := sdk.ExecSARIF(sdk.Scanner[struct{}]{Name: "lint", Version: "1.0.0"}, sdk.SARIFTool{})
		s.Scan = func(_ context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
			return sdk.SARIFTool{Other: "lint"}.Read([]byte(report), t, out)
		}
		srv, err := sdk.NewServer(s, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{}); err != nil {
			t.Fatal(err)
		}
		r := &recorder{ctx: t.Context()}
		if err := srv.Scan(request("a", root), r); err != nil {
			t.Fatal(err)
		}
		if c := r.completed(t); strings.Contains(c.Reason, "panicked") || strings.Contains(c.Reason, "declare") {
			t.Error(c.Reason)
		}
		all, _ := r.findings()
		for _, f := range all {
			if p := f.Location.Path; p != "" && !filepath.IsLocal(p) {
				t.Errorf("path %q", p)
			}
		}
	})
}
