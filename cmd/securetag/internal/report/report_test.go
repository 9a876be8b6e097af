package report_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export/exporttest"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTableGolden(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
	for name, cfg := range map[string]report.TableConfig{
		"table-file.txt": {}, "table-100.txt": {Width: 100}, "table-60.txt": {Width: 60}, "table-color.txt": {Width: 100, Color: true},
	} {
		var b bytes.Buffer
		if err := report.Table(&b, scan, findings, cfg); err != nil {
			t.Fatal(err)
		}
		exporttest.Golden(t, name, b.Bytes())
	}
	var b bytes.Buffer
	if err := report.Table(&b, exporttest.Clean(), nil, report.TableConfig{Width: 80}); err != nil {
		t.Fatal(err)
	}
	exporttest.Golden(t, "table-clean.txt", b.Bytes())
}

func TestTableKeepsToTheWidthAndLocationsWhole(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
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
	scan, findings := exporttest.Partial()
	var b bytes.Buffer
	if err := report.JSON(&b, scan, findings); err != nil {
		t.Fatal(err)
	}
	exporttest.Golden(t, "report.json", b.Bytes())
	b.Reset()
	if err := report.JSON(&b, exporttest.Clean(), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"findings": []`) {
		t.Errorf("no findings is not an empty list: %s", b.String())
	}
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Hostile()
	for _, w := range []int{0, 1, 7, 80} {
		var b bytes.Buffer
		if err := report.Table(&b, scan, findings, report.TableConfig{Width: w}); err != nil {
			t.Fatal(err)
		}
		exporttest.Harmless(t, "table", b.String())
	}
	var b bytes.Buffer
	if err := report.JSON(&b, scan, findings); err != nil {
		t.Fatal(err)
	}
	exporttest.Harmless(t, "json", strings.ReplaceAll(b.String(), "\u0300", ""))
	var back struct {
		Findings []client.Finding
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if want := strings.ToValidUTF8(exporttest.Text, "\ufffd"); back.Findings[0].Title != want {
		t.Errorf("JSON changed %q to %q", want, back.Findings[0].Title)
	}
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
	exporttest.Harmless(t, "progress", b.String())
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreTold(t *testing.T) {
	t.Parallel()
	scan, findings := exporttest.Partial()
	if err := report.Table(full{}, scan, findings, report.TableConfig{}); err == nil {
		t.Error("table: no error")
	}
	if err := report.JSON(full{}, scan, findings); err == nil {
		t.Error("json: no error")
	}
}
