package main

import (
	"os"
	"testing"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// The real tool need not be installed to test how its report is read: a copy of
// one stands for it.
func TestReport(t *testing.T) {
	t.Parallel()
	report, err := os.ReadFile("testdata/report.sarif")
	if err != nil {
		t.Fatal(err)
	}
	s := sdk.ExecSARIF(sdk.Scanner[struct{}]{Name: "flawfinder", Version: "0.1.0"}, sdk.SARIFTool{
		Command: []string{"cat", "{target}/report.sarif"},
	})
	r := sdktest.Scan(t, s, map[string]string{"report.sarif": string(report)}, "")
	if len(r.Findings) != 1 || r.Findings[0].String() != "src/a.c:4:3 flawfinder" || r.Findings[0].Severity != sdk.High || r.Findings[0].Properties["tool_rule"] != "FF1014" {
		t.Errorf("%s %s: %+v", r.Status, r.Reason, r.Findings)
	}
}
