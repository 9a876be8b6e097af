// Package exporttest has scans for tests of whatever shows them: a clean one,
// one of which a part failed, and one whose every text is Text.
package exporttest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
)

// At is a moment, in seconds after all began.
func At(seconds float64) *time.Time {
	t := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
	return &t
}

// Clean found nothing.
func Clean() client.Scan {
	return client.Scan{
		ID: "0195f0a0-0000-7000-8000-000000000001", Type: "codeaudit", Priority: client.PriorityNormal, State: client.StateSucceeded,
		Archive:   &client.Archive{Filename: "app.tar.zst", Format: "tar.zst", Size: 1234, SHA256: strings.Repeat("ab", 32), Files: 12345, UnpackedBytes: 9999},
		CreatedAt: *At(0), StartedAt: At(1), FinishedAt: At(3.25),
		Jobs: []client.Job{{ID: "j1", Plugin: "secrets", State: client.StateSucceeded, Attempt: 1, MaxAttempts: 3, StartedAt: At(1), FinishedAt: At(3.25)}},
	}
}

// Partial found things, and one of its engines died.
func Partial() (client.Scan, []client.Finding) {
	s := Clean()
	s.State = client.StatePartial
	s.Counts = client.Counts{Critical: 1, High: 1, Medium: 1, Low: 1, Info: 1, Unknown: 1}
	s.Jobs[0].Counts = s.Counts
	s.Jobs = append(s.Jobs,
		client.Job{ID: "j2", Plugin: "opengrep", State: client.StateFailed, Attempt: 3, MaxAttempts: 3, StartedAt: At(1), FinishedAt: At(2),
			Error: &client.JobError{Code: "plugin_crashed", Message: "the plugin was killed by signal 11", Attempt: 3}},
		client.Job{ID: "j3", Plugin: "deps", State: client.StatePartial, Attempt: 1, MaxAttempts: 3,
			Error: &client.JobError{Code: "incomplete", Message: "2 lockfiles could not be read", Attempt: 1}},
	)
	f := func(severity, rule, title string, l client.Location) client.Finding {
		return client.Finding{ID: "f-" + rule, ScanID: s.ID, JobID: "j1", Plugin: "secrets", RuleID: rule, Title: title, Message: title + "\nMore of it.",
			Severity: severity, Confidence: "high", Location: l, Fingerprint: "v1:" + rule, CreatedAt: *At(2)}
	}
	findings := []client.Finding{
		f("low", "generic-api-key", "Generic API key", client.Location{Path: "b.go", StartLine: 9}),
		f("unknown", "odd", "", client.Location{URL: "https://example.com/login?a=b"}),
		f("critical", "aws-access-token", "AWS access token in source", client.Location{Path: "cmd/server/main.go", StartLine: 12, StartColumn: 5, EndLine: 12, EndColumn: 25}),
		f("high", "private-key", "秘密鍵がソースに含まれています 👩‍💻 very long title that has to be cut somewhere on a narrow terminal", client.Location{Path: "キー/id_rsa", StartLine: 1, EndLine: 27, EndColumn: 3, StartColumn: 1}),
		f("info", "note", "Something to know", client.Location{Path: "a b%20#?.txt"}),
		f("medium", "a-rule-with-a-very-long-name-indeed-longer-than-that", "Deep one", client.Location{Path: "src/" + strings.Repeat("nested/", 14) + "x.go", StartLine: 100}),
	}
	findings[2].CWE, findings[2].Tags, findings[2].References = []int{798}, []string{"aws"}, []string{"javascript:alert(1)", "https://example.com/aws"}
	s.Project, s.Baseline = "shop", &client.Baseline{New: 4, Unchanged: 2, Absent: 1}
	for i := range findings {
		findings[i].State, findings[i].Triage = "new", "open"
	}
	findings[2].State, findings[3].State = "unchanged", "unchanged"
	findings[2].Triage, findings[2].TriageReason = "accepted_risk", "a key of a test"
	findings[3].Properties = json.RawMessage(`{"suppressed":"inSource"}`)
	s.Jobs[0].Notes = []client.Note{{Level: "warning", Text: "could not be read", Path: "ö/big.bin"}, {Level: "notice", Text: "3 files were left out"}}
	s.Jobs[0].MoreNotes = 2
	s.Jobs = append(s.Jobs, client.Job{ID: "j4", Plugin: "gosec", State: client.StateSucceeded, Attempt: 1, MaxAttempts: 3, NotApplicable: "no Go files"})
	findings[2].AlsoFoundBy = []client.Other{{Plugin: "deps", RuleID: "hard-coded", FindingID: "f-x"}}
	findings[2].LineHash = "54703d4cd895b18:1"
	findings[2].Snippet = `key := "AKIA****"`
	findings[0].Location.EndLine, findings[0].Location.EndColumn = 3, 1 // an end before the start
	return s, findings
}

// Text is what a tree or a plugin may try on a terminal.
const Text = "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\a\x1b]8;;http://evil\x1b\\link\x1bP1$q\x1b\\\x1bc\x1b(0" +
	"\u009b2J\u009d0;x\u009c\x00\b\b\r\n\t\u202eevil\u2066\u200b\u2028\ufeff\U000e0041z\xff" + "Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306" + "end\x1b"

// Hostile is a scan in which every text is Text.
func Hostile() (client.Scan, []client.Finding) {
	s, findings := Partial()
	s.ID, s.URL, s.Archive = Text, Text, nil
	for i := range s.Jobs {
		s.Jobs[i].Plugin = Text
		s.Jobs[i].Error = &client.JobError{Code: Text, Message: Text}
		s.Jobs[i].NotApplicable, s.Jobs[i].Notes = Text, []client.Note{{Level: Text, Text: Text, Path: Text}}
		s.Jobs[i].Progress = &client.Progress{Phase: Text, Unit: Text, Message: Text, Done: 1 << 62, Total: -5}
	}
	s.Jobs[0].State = client.State(Text)
	for i := range findings {
		f := &findings[i]
		f.Plugin, f.RuleID, f.Title, f.Message, f.Snippet, f.Severity, f.Confidence, f.Fingerprint = Text, Text, Text, Text, Text, Text, Text, Text
		f.Tags, f.References = []string{Text}, []string{Text}
		f.AlsoFoundBy = []client.Other{{Plugin: Text, RuleID: Text, FindingID: Text}}
		f.Location = client.Location{Path: Text, StartLine: -1 << 40, StartColumn: -3, EndLine: -7, EndColumn: 1 << 40}
		if i%2 == 0 {
			f.Location = client.Location{URL: "http://x/" + Text, StartLine: 1 << 40, EndLine: 1}
		}
	}
	return s, findings
}

// Harmless fails when a terminal would obey or reorder anything in s.
func Harmless(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s: not UTF-8", what)
	}
	for i, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			t.Errorf("%s: %U at %d: %q", what, r, i, s[max(0, i-20):min(len(s), i+20)])
			return
		}
	}
}

var update = flag.Bool("update", false, "write the golden files")

// Golden compares got with a file in testdata, or writes that with -update.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, -want +got (write it with -update):\n%s", name, diff)
	}
}
