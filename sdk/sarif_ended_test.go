package sdk_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// A report without results is clean only when the tool has looked, and to the
// end.
func TestReportOfWhatDidNotLook(t *testing.T) {
	t.Parallel()
	const found = `"results": [{"ruleId": "L1", "message": {"text": "bad"}}]`
	for name, tt := range map[string]struct{ runs, status, why string }{
		"clean":               {`{"results": []}`, sdktest.Succeeded, ""},
		"well":                {`{"results": [], "invocations": [{"executionSuccessful": true}]}`, sdktest.Succeeded, ""},
		"no run":              {``, sdktest.Failed, "the tool did not start"},
		"no results":          {`{"tool": {"driver": {"name": "lint"}}}`, sdktest.Failed, `the run of "lint" has no list of results`},
		"null":                {`{"results": null}`, sdktest.Failed, "no list of results"},
		"second run":          {`{"results": []}, {}`, sdktest.Failed, "no list of results"},
		"failed":              {`{"results": [], "invocations": [{"executionSuccessful": false}]}`, sdktest.Failed, "the tool says that it failed"},
		"failed, signal":      {`{"results": [], "invocations": [{"executionSuccessful": false, "exitSignalName": "SIGSEGV"}]}`, sdktest.Failed, "it failed: SIGSEGV"},
		"failed, found":       {`{` + found + `, "invocations": [{"executionSuccessful": false, "exitCodeDescription": "timed out"}]}`, sdktest.Partial, "did not finish: timed out"},
		"error":               {`{"results": [], "invocations": [{"toolExecutionNotifications": [{"level": "error", "message": {"text": "ROOT/a.c: cannot parse in ROOT"}}]}]}`, sdktest.Partial, "an error of the tool: a.c: cannot parse in ."},
		"error without words": {`{"results": [], "invocations": [{"toolExecutionNotifications": [{"level": "error"}]}]}`, sdktest.Partial, "it does not say what"},
		"warning":             {`{"results": [], "invocations": [{"toolExecutionNotifications": [{"level": "warning", "message": {"text": "slow"}}]}]}`, sdktest.Succeeded, ""},
		"a file, as Bandit":   {`{"results": [], "invocations": [{"executionSuccessful": true, "toolConfigurationNotifications": [{"level": "error", "message": {"text": "syntax error"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file://ROOT/a.py"}}}]}]}]}`, sdktest.Partial, "an error of the tool: syntax error"},
		"misconfigured":       {`{` + found + `, "invocations": [{"executionSuccessful": true, "toolConfigurationNotifications": [{"level": "error", "message": {"text": "no such rule"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///etc/rules.yaml"}}}]}]}]}`, sdktest.Failed, "configured wrongly: no such rule"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := lintTree(t, `{"version": "2.1.0", "runs": [`+tt.runs+`]}`)
			r := sdktest.Run(t, lint(sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}}), sdktest.Request{Root: root})
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.why) || strings.Contains(r.Reason, root) {
				t.Errorf("%s: %q, want %s: %q", r.Status, r.Reason, tt.status, tt.why)
			}
		})
	}
}

// A warning says that something was not looked at, if the tool is known for it.
func TestPartialOnWarning(t *testing.T) {
	t.Parallel()
	const slow = "a warning of the tool: a.c took too long"
	for level, want := range map[string]string{`"level": "warning", `: slow, `"level": "note", `: "", "": slow} { // left out it is one
		root := lintTree(t, `{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": [
			{`+level+`"message": {"text": "ROOT/a.c took too long"}}]}]}]}`)
		r := sdktest.Run(t, lint(sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, PartialOnWarning: true}), sdktest.Request{Root: root})
		if (r.Status == sdktest.Partial) != (want != "") || r.Reason != want {
			t.Errorf("%s: %s: %q, want %q", level, r.Status, r.Reason, want)
		}
	}
}

// A rule's severity comes before that of its level, and a copy of the tree
// stands for the tree.
func TestSARIFSeverityAndTree(t *testing.T) {
	t.Parallel()
	s := sdk.ExecSARIF(sdk.Scanner[struct{}]{Name: "lint", Version: "1.0.0"}, sdk.SARIFTool{})
	s.Scan = func(_ context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
		tree := filepath.Join(t.WorkDir(), "tree")
		if err := os.Mkdir(tree, 0o700); err != nil {
			return err
		}
		report := `{"version": "2.1.0", "runs": [{"results": [
			{"ruleId": "a", "level": "error", "message": {"text": "A"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "TREE/a.c"}}}]},
			{"ruleId": "b", "level": "error", "message": {"text": "B"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "tree/b.c"}}}]}]}]}`
		tool := sdk.SARIFTool{Other: "lint", Tree: tree, Severity: map[string]sdk.Severity{"error": sdk.Low, "a": sdk.Critical}}
		return tool.Read([]byte(strings.ReplaceAll(report, "TREE", tree)), t, out)
	}
	var got []string
	for _, f := range sdktest.Scan(t, s, map[string]string{"a.c": "x\n"}, "").Findings {
		got = append(got, f.At.Path+" "+map[sdk.Severity]string{sdk.Low: "low", sdk.Critical: "critical"}[f.Severity])
	}
	if diff := cmp.Diff([]string{"a.c critical", "b.c low"}, got); diff != "" {
		t.Error(diff)
	}
}

// The operator's word on a level holds for results that leave theirs to the rule,
// as Semgrep's do, also where the rule is declared with a severity of its own.
func TestSARIFSeverityOfLevels(t *testing.T) {
	t.Parallel()
	const report = `{"version": "2.1.0", "runs": [{"tool": {"driver": {"rules": [{"id": "L1", "defaultConfiguration": {"level": "note"}}]}},
		"results": [{"ruleId": "L1", "message": {"text": "bad"}}]}]}`
	for level, want := range map[string]sdk.Severity{"note": sdk.Critical, "warning": sdk.Low} { // the rule's own
		root := lintTree(t, report)
		r := sdktest.Run(t, lint(sdk.SARIFTool{Command: []string{"print", "{target}/report.sarif"}, Severity: map[string]sdk.Severity{level: sdk.Critical}}), sdktest.Request{Root: root})
		if len(r.Findings) != 1 || r.Findings[0].Rule != "L1" || r.Findings[0].Severity != want {
			t.Errorf("%s is critical: %s %+v", level, r.Status, r.Findings)
		}
	}
}
