package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/html"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/api/export/exporttest"
	"github.com/securetaghq/securetag/host"
)

func write(t *testing.T, f export.Format, scan client.Scan, findings []client.Finding) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := export.Write(&b, f, export.Report{Scan: scan, Findings: export.Of(findings), Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
	for _, f := range export.Formats() {
		exporttest.Golden(t, "report."+string(f), write(t, f, scan, findings))
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

// TestUncompared: as long as a scan was not compared as a whole no result has a
// baseline state, since either all have one or none.
func TestUncompared(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
	for name, baseline := range map[string]*client.Baseline{"not compared": nil, "in part": {New: 3, Untracked: 3}} {
		scan.Baseline = baseline
		log := write(t, export.SARIF, scan, findings)
		validSARIF(t, log)
		if bytes.Contains(log, []byte("baselineState")) || bytes.Count(log, []byte(`"suppressions":[`)) != len(findings) {
			t.Errorf("%s: %s", name, log)
		}
	}
}

// TestNeverCleanUnlessDone is about every state a job can be in.
func TestNeverCleanUnlessDone(t *testing.T) {
	t.Parallel()
	for _, state := range []client.State{client.StateQueued, client.StateRunning, client.StateSucceeded, client.StatePartial, client.StateFailed, client.StateCanceled, client.StateTimedOut} {
		scan := exporttest.Clean()
		scan.State, scan.Jobs[0].State = state, state
		raw := write(t, export.SARIF, scan, nil)
		validSARIF(t, raw)
		var log sarifLog
		if err := json.Unmarshal(raw, &log); err != nil {
			t.Fatal(err)
		}
		run := log.Runs[0]
		if run.Results == nil || len(run.Invocations) != 1 || run.Invocations[0].ExecutionSuccessful == nil {
			t.Fatalf("%s: %s", state, raw)
		}
		i, ok := run.Invocations[0], state == client.StateSucceeded
		if *i.ExecutionSuccessful != ok || (len(i.ToolExecutionNotifications) == 0) != ok {
			t.Errorf("SARIF, %s: %+v", state, i)
		}
		if clean := strings.Contains(string(write(t, export.HTML, scan, nil)), "Nothing was found."); clean != ok {
			t.Errorf("HTML, %s: clean is %v", state, clean)
		}
		if clean := bytes.Count(write(t, export.CSV, scan, nil), []byte("\n")) == 1; clean != ok {
			t.Errorf("CSV, %s: clean is %v", state, clean)
		}
		var line struct{ Scan client.Scan }
		if err := json.Unmarshal(write(t, export.JSONLines, scan, nil), &line); err != nil || line.Scan.State != state {
			t.Errorf("JSON lines, %s: %+v, %v", state, line, err)
		}
	}
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Hostile()
	for _, f := range export.Formats() {
		got := string(write(t, f, scan, findings))
		if f == export.CSV {
			got = strings.ReplaceAll(got, "\r\n", "\n")
		}
		exporttest.Harmless(t, string(f), got)
	}
	validSARIF(t, write(t, export.SARIF, scan, findings))
}

// TestMarkup: what would be markup, a script or a link in HTML is text.
func TestMarkup(t *testing.T) {
	t.Parallel()
	const evil = `"><img src=x onerror=alert(1)><script>alert(1)</script></pre>{{.}}`
	scan, findings := exporttest.Partial()
	scan.Project, scan.Archive.Filename = evil, evil
	for i := range findings {
		f := &findings[i]
		f.Title, f.Message, f.Snippet, f.RuleID, f.Location.Path, f.Fingerprint = evil, evil, evil, evil, evil, evil
		f.References = []string{"javascript:alert(1)", "http://plain.example", "https://user@good.example/" + evil, "https://good.example/"}
	}
	for z := html.NewTokenizer(bytes.NewReader(write(t, export.HTML, scan, findings))); z.Next() != html.ErrorToken; {
		tag := z.Token()
		switch tag.Data {
		case "script", "img", "iframe", "object", "form", "base", "link":
			if tag.Type == html.StartTagToken || tag.Type == html.SelfClosingTagToken {
				t.Errorf("there is a %s", tag)
			}
		}
		for _, a := range tag.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" && !strings.HasPrefix(a.Val, "https://") {
				t.Errorf("there is %s", tag)
			}
		}
	}
}

func TestFormulas(t *testing.T) {
	t.Parallel()
	for _, title := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "＝1", "\x00=1", ` "=1"`} {
		scan, findings := exporttest.Partial()
		findings = findings[:1]
		findings[0].Title, findings[0].Message = title, "two\r\nlines, \"quoted\"\n=1"
		rows, err := csv.NewReader(bytes.NewReader(write(t, export.CSV, scan, findings))).ReadAll()
		if err != nil || len(rows) != 5 {
			t.Fatalf("%q: %v, %v", title, rows, err)
		}
		for i, cell := range rows[4] {
			if cell != "" && strings.ContainsRune("=+-@＝\t\r", []rune(cell)[0]) {
				t.Errorf("%q: %s is %q", title, rows[0][i], cell)
			}
			if strings.ContainsAny(cell, "\r\n\t") {
				t.Errorf("%q: %s has a line break: %q", title, rows[0][i], cell)
			}
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestErrorsAreTold: neither a writer nor a store that fails is passed over.
func TestErrorsAreTold(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
	broken := errors.New("the store went away")
	for _, f := range export.Formats() {
		if err := export.Write(full{}, f, export.Report{Scan: scan, Findings: export.Of(findings)}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s, a full disk: %v", f, err)
		}
		half := func(string) iter.Seq2[client.Finding, error] {
			return func(yield func(client.Finding, error) bool) {
				if yield(findings[0], nil) {
					yield(client.Finding{}, broken)
				}
			}
		}
		if err := export.Write(io.Discard, f, export.Report{Scan: scan, Findings: half}); !errors.Is(err, broken) {
			t.Errorf("%s, no store: %v", f, err)
		}
	}
	if err := export.Write(io.Discard, "pdf", export.Report{Scan: scan}); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("pdf: %v", err)
	}
}

// TestMany: what is written is all there, however much it is.
func TestMany(t *testing.T) {
	t.Parallel()
	scan, some := exporttest.Partial()
	var many []client.Finding
	for i := range 3000 {
		f := some[i%len(some)]
		f.ID, f.RuleID = fmt.Sprint("id-", i), fmt.Sprint("rule-", i%700)
		many = append(many, f)
	}
	raw := write(t, export.SARIF, scan, many)
	validSARIF(t, raw)
	var log sarifLog
	if err := json.Unmarshal(raw, &log); err != nil {
		t.Fatal(err)
	}
	for _, r := range log.Runs {
		if want := map[bool]int{true: 3000}[r.Tool.Driver.Name == "securetag/secrets"]; len(r.Results) != want {
			t.Errorf("%s has %d results, want %d", r.Tool.Driver.Name, len(r.Results), want)
		}
	}
	for f, want := range map[export.Format]int{export.CSV: 3004, export.JSONLines: 3001} {
		if n := bytes.Count(write(t, f, scan, many), []byte("\n")); n != want {
			t.Errorf("%s has %d lines, want %d", f, n, want)
		}
	}
	if n := bytes.Count(write(t, export.HTML, scan, many), []byte("<details")); n != 3000 {
		t.Errorf("HTML has %d findings", n)
	}
}
