package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(seconds float64) *time.Time {
	t := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
	return &t
}

// cleanScan found nothing.
func cleanScan() client.Scan {
	return client.Scan{
		ID: "0195f0a0-0000-7000-8000-000000000001", Type: "codeaudit", Priority: client.PriorityNormal, State: client.StateSucceeded,
		Archive:   &client.Archive{Filename: "app.tar.zst", Format: "tar.zst", Size: 1234, SHA256: strings.Repeat("ab", 32), Files: 12345, UnpackedBytes: 9999},
		CreatedAt: *at(0), StartedAt: at(1), FinishedAt: at(3.25),
		Jobs: []client.Job{{ID: "j1", Plugin: "secrets", State: client.StateSucceeded, Attempt: 1, MaxAttempts: 3, StartedAt: at(1), FinishedAt: at(3.25)}},
	}
}

// partialScan found things, and one of its engines died.
func partialScan() (client.Scan, []client.Finding) {
	s := cleanScan()
	s.State = client.StatePartial
	s.Counts = client.Counts{Critical: 1, High: 1, Medium: 1, Low: 1, Info: 1, Unknown: 1}
	s.Jobs[0].Counts = s.Counts
	s.Jobs = append(s.Jobs,
		client.Job{ID: "j2", Plugin: "opengrep", State: client.StateFailed, Attempt: 3, MaxAttempts: 3, StartedAt: at(1), FinishedAt: at(2),
			Error: &client.JobError{Code: "plugin_crashed", Message: "the plugin was killed by signal 11", Attempt: 3}},
		client.Job{ID: "j3", Plugin: "deps", State: client.StatePartial, Attempt: 1, MaxAttempts: 3,
			Error: &client.JobError{Code: "incomplete", Message: "2 lockfiles could not be read", Attempt: 1}},
	)
	f := func(severity, rule, title string, l client.Location) client.Finding {
		return client.Finding{ID: "f-" + rule, ScanID: s.ID, JobID: "j1", Plugin: "secrets", RuleID: rule, Title: title, Message: title + "\nMore of it.",
			Severity: severity, Confidence: "high", Location: l, Fingerprint: "v1:" + rule, CreatedAt: *at(2)}
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
	findings[2].Snippet = `key := "AKIA****"`
	findings[0].Location.EndLine, findings[0].Location.EndColumn = 3, 1 // an end before the start
	return s, findings
}

func golden(t *testing.T, name string, got []byte) {
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

func TestTableGolden(t *testing.T) {
	t.Parallel()
	scan, findings := partialScan()
	for name, cfg := range map[string]report.TableConfig{
		"table-file.txt": {}, "table-100.txt": {Width: 100}, "table-60.txt": {Width: 60}, "table-color.txt": {Width: 100, Color: true},
	} {
		var b bytes.Buffer
		if err := report.Table(&b, scan, findings, cfg); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
	var b bytes.Buffer
	if err := report.Table(&b, cleanScan(), nil, report.TableConfig{Width: 80}); err != nil {
		t.Fatal(err)
	}
	golden(t, "table-clean.txt", b.Bytes())
}

func TestTableKeepsToTheWidthAndLocationsWhole(t *testing.T) {
	t.Parallel()
	scan, findings := partialScan()
	for w := 1; w < 160; w++ {
		var b bytes.Buffer
		if err := report.Table(&b, scan, findings, report.TableConfig{Width: w}); err != nil {
			t.Fatal(err)
		}
		table, _, _ := strings.Cut(b.String(), "\n\n")
		for _, place := range []string{"cmd/server/main.go:12", "キー/id_rsa:1", "src/" + strings.Repeat("nested/", 14) + "x.go:100", "https://example.com/login?a=b", "a b%20#?.txt"} {
			if !strings.Contains(table, place) {
				t.Errorf("width %d: %q is cut", w, place)
			}
		}
		for line := range strings.Lines(table) {
			line = strings.TrimSuffix(line, "\n")
			// Only a line that ends in a location may be longer.
			if cells := uniseg.StringWidth(line); cells > w && !strings.ContainsAny(line[max(0, len(line)-16):], ":?=.") && !strings.HasSuffix(line, "LOCATION") {
				t.Errorf("width %d: %d cells: %q", w, cells, line)
			}
		}
	}
}

func TestJSONGolden(t *testing.T) {
	t.Parallel()
	scan, findings := partialScan()
	var b bytes.Buffer
	if err := report.JSON(&b, scan, findings); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b.Bytes())
	b.Reset()
	if err := report.JSON(&b, cleanScan(), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"findings": []`) {
		t.Errorf("no findings is not an empty list: %s", b.String())
	}
}

func validSARIF(t *testing.T, log []byte) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("not valid SARIF: %v\n%s", err, log)
	}
}

func TestSARIFGolden(t *testing.T) {
	t.Parallel()
	scan, findings := partialScan()
	var b bytes.Buffer
	if err := report.SARIF(&b, scan, findings, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	validSARIF(t, b.Bytes())
	golden(t, "report.sarif", b.Bytes())
}

type sarifLog struct {
	Runs []struct {
		Tool        struct{ Driver struct{ Name string } }
		Results     []any
		Invocations []struct {
			ExecutionSuccessful        *bool
			ToolExecutionNotifications []struct {
				Level   string
				Message struct{ Text string }
			}
		}
	}
}

// TestSARIFNeverCleanUnlessDone is about every state a job can be in.
func TestSARIFNeverCleanUnlessDone(t *testing.T) {
	t.Parallel()
	for _, state := range []client.State{client.StateQueued, client.StateRunning, client.StateSucceeded, client.StatePartial, client.StateFailed, client.StateCanceled, client.StateTimedOut} {
		scan := cleanScan()
		scan.State, scan.Jobs[0].State = state, state
		var b bytes.Buffer
		if err := report.SARIF(&b, scan, nil, "dev"); err != nil {
			t.Fatal(err)
		}
		validSARIF(t, b.Bytes())
		var log sarifLog
		if err := json.Unmarshal(b.Bytes(), &log); err != nil {
			t.Fatal(err)
		}
		run := log.Runs[0]
		if run.Results == nil || len(run.Invocations) != 1 || run.Invocations[0].ExecutionSuccessful == nil {
			t.Fatalf("%s: %s", state, b.String())
		}
		i, ok := run.Invocations[0], state == client.StateSucceeded
		if *i.ExecutionSuccessful != ok || (len(i.ToolExecutionNotifications) == 0) != ok {
			t.Errorf("%s: %+v", state, i)
		}
	}
}

// hostile is what a tree or a plugin may try on a terminal.
const hostile = "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\a\x1b]8;;http://evil\x1b\\link\x1bP1$q\x1b\\\x1bc\x1b(0" +
	"\u009b2J\u009d0;x\u009c\x00\b\b\r\n\t\u202eevil\u2066\u200b\u2028\ufeff\U000e0041z\xff" + "Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306" + "end\x1b"

func hostileScan() (client.Scan, []client.Finding) {
	s, findings := partialScan()
	s.ID, s.URL, s.Archive = hostile, hostile, nil
	for i := range s.Jobs {
		s.Jobs[i].Plugin = hostile
		s.Jobs[i].Error = &client.JobError{Code: hostile, Message: hostile}
		s.Jobs[i].Progress = &client.Progress{Phase: hostile, Unit: hostile, Message: hostile, Done: 1 << 62, Total: -5}
	}
	s.Jobs[0].State = client.State(hostile)
	for i := range findings {
		f := &findings[i]
		f.Plugin, f.RuleID, f.Title, f.Message, f.Snippet, f.Severity, f.Confidence, f.Fingerprint = hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile
		f.Tags, f.References = []string{hostile}, []string{hostile}
		f.Location = client.Location{Path: hostile, StartLine: -1 << 40, StartColumn: -3, EndLine: -7, EndColumn: 1 << 40}
		if i%2 == 0 {
			f.Location = client.Location{URL: "http://x/" + hostile, StartLine: 1 << 40, EndLine: 1}
		}
	}
	return s, findings
}

// harmless fails when a terminal would obey or reorder anything in s.
func harmless(t *testing.T, what, s string) {
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

func TestHostileText(t *testing.T) {
	t.Parallel()
	scan, findings := hostileScan()
	for _, w := range []int{0, 1, 7, 80} {
		var b bytes.Buffer
		if err := report.Table(&b, scan, findings, report.TableConfig{Width: w}); err != nil {
			t.Fatal(err)
		}
		harmless(t, "table", b.String())
	}
	var b bytes.Buffer
	if err := report.JSON(&b, scan, findings); err != nil {
		t.Fatal(err)
	}
	harmless(t, "json", strings.ReplaceAll(b.String(), "\u0300", ""))
	var back struct {
		Findings []client.Finding
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if want := strings.ToValidUTF8(hostile, "\ufffd"); back.Findings[0].Title != want {
		t.Errorf("JSON changed %q to %q", want, back.Findings[0].Title)
	}
	b.Reset()
	if err := report.SARIF(&b, scan, findings, "1.0"); err != nil {
		t.Fatal(err)
	}
	harmless(t, "sarif", b.String())
	validSARIF(t, b.Bytes())
	b.Reset()
	p := report.NewProgress(report.ProgressConfig{Out: &b})
	scan.State = client.StateRunning
	for i := range scan.Jobs {
		scan.Jobs[i].State = client.StateRunning
		p.Scan(scan)
		scan.Jobs[i].State = client.StateFailed
		p.Scan(scan)
	}
	p.Stop()
	harmless(t, "progress", b.String())
}

func TestPlainAndVisible(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, plain, visible string }{
		{"as it is, größer 日本", "as it is, größer 日本", "as it is, größer 日本"},
		{"  two\n\tlines ", "two lines", `  two\x0a\x09lines `},
		{"\x1b[31mred\x1b[0m", "red", `\x1b[31mred\x1b[0m`},
		{"\x1b]8;;http://e\x1b\\link\x1b]8;;\a!", "link!", `\x1b]8;;http://e\x1b\link\x1b]8;;\x07!`},
		{"\u009b31mred", "red", `\x9b31mred`},
		{"open \x1b]0;not closed", "open 0;not closed", `open \x1b]0;not closed`},
		{"\x1b(0lq\x1bcx", "lqx", `\x1b(0lq\x1bcx`},
		{"abc\u202edef", "abcdef", `abc\u202edef`},
		{"bad\xff\x00", "bad", `bad\xff\x00`},
		{"tag\U000e0041", "tag", `tag\U000e0041`},
	} {
		if got := report.Plain(c.in); got != c.plain {
			t.Errorf("Plain(%q) = %q, want %q", c.in, got, c.plain)
		}
		if got := report.Visible(c.in); got != c.visible {
			t.Errorf("Visible(%q) = %q, want %q", c.in, got, c.visible)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(hostile)
	f.Add("\x1b[\x1b]\x1bP\u009d\u0300")
	f.Fuzz(func(t *testing.T, s string) {
		plain, visible := report.Plain(s), report.Visible(s)
		harmless(t, "plain", plain)
		harmless(t, "visible", visible)
		if strings.Contains(plain+visible, "\n") {
			t.Errorf("%q is more than one line", s)
		}
		if again := report.Plain(plain); again != plain {
			t.Errorf("Plain is not stable: %q, then %q", plain, again)
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreTold(t *testing.T) {
	t.Parallel()
	scan, findings := partialScan()
	if err := report.Table(full{}, scan, findings, report.TableConfig{}); err == nil {
		t.Error("table: no error")
	}
	if err := report.JSON(full{}, scan, findings); err == nil {
		t.Error("json: no error")
	}
	if err := report.SARIF(full{}, scan, findings, "1"); err == nil {
		t.Error("sarif: no error")
	}
}
