package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// TableConfig says how to draw. The zero value is for a file or a pipe.
type TableConfig struct {
	Color bool
	Width int // cells of a line; 0: as long as need be
}

// ForTerminal gives what suits f: colour and width when it is a terminal, none
// when it is not, no colour with NO_COLOR or TERM=dumb.
func ForTerminal(f *os.File, getenv func(string) string) TableConfig {
	if !term.IsTerminal(int(f.Fd())) {
		return TableConfig{}
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 {
		w = 80
	}
	return TableConfig{Color: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb", Width: w}
}

const (
	minTitle = 16 // cells a title gets beside its location; else a line of its own
	maxRule  = 32 // cells a rule may take when lines have a width
	gap      = "  "
)

// Table writes the findings, worst first, then what went wrong, then a summary.
func Table(w io.Writer, scan client.Scan, findings []client.Finding, cfg TableConfig) error {
	b := bufio.NewWriter(w)
	t := table{w: b, cfg: cfg}
	if len(findings) > 0 {
		t.findings(Sorted(findings))
		fmt.Fprintln(b)
	}
	t.others(Sorted(findings))
	t.faults(scan)
	t.engines(scan)
	t.summary(scan, len(findings))
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Sorted orders by severity, path, line, then whatever tells two apart.
func Sorted(findings []client.Finding) []client.Finding {
	out := append([]client.Finding{}, findings...)
	slices.SortStableFunc(out, func(a, b client.Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.Severity), rank(b.Severity)),
			cmp.Compare(a.Location.Path, b.Location.Path),
			cmp.Compare(a.Location.URL, b.Location.URL),
			cmp.Compare(a.Location.StartLine, b.Location.StartLine),
			cmp.Compare(a.Location.StartColumn, b.Location.StartColumn),
			cmp.Compare(a.Plugin, b.Plugin),
			cmp.Compare(a.RuleID, b.RuleID),
			cmp.Compare(a.Fingerprint, b.Fingerprint),
		)
	})
	return out
}

func rank(severity string) int { return host.Severity(severity).Rank() }

type table struct {
	w   *bufio.Writer
	cfg TableConfig
}

type row struct{ severity, rule, place, title string }

func (t *table) findings(findings []client.Finding) {
	rows := make([]row, 0, len(findings)+1)
	rows = append(rows, row{"SEVERITY", "RULE", "LOCATION", "TITLE"})
	for _, f := range findings {
		title := safetext.Plain(f.Title)
		if title == "" {
			title = safetext.Plain(f.Message)
		}
		rows = append(rows, row{string(export.SeverityName(f.Severity)), safetext.Visible(f.RuleID), export.Place(f.Location), title})
	}
	var rule, loc int
	for i := range rows {
		if t.cfg.Width > 0 {
			rows[i].rule = cut(rows[i].rule, min(maxRule, max(8, t.cfg.Width/4)))
		}
		rule = max(rule, width(rows[i].rule))
		loc = max(loc, width(rows[i].place))
	}
	before := len("SEVERITY") + len(gap) + rule + len(gap)
	if t.cfg.Width > 0 {
		// One very long path must not push all other titles off the screen.
		loc = min(loc, max(len("LOCATION"), t.cfg.Width-before-len(gap)-2*minTitle))
	}
	for i, r := range rows {
		t.row(r, i == 0, before, rule, loc)
	}
}

func (t *table) row(r row, heading bool, before, rule, loc int) {
	severity := t.paint(r.severity, pad(r.severity, len("SEVERITY")))
	if heading {
		severity = r.severity
	}
	line := severity + gap + pad(r.rule, rule) + gap
	used := before + max(loc, width(r.place)) + len(gap)
	switch {
	case t.cfg.Width == 0 || t.cfg.Width-used >= min(minTitle, width(r.title)):
		title := r.title
		if t.cfg.Width > 0 {
			title = cut(title, t.cfg.Width-used)
		}
		line += pad(r.place, loc) + gap + title
	default:
		indent := min(before, t.cfg.Width/4)
		line += r.place + "\n" + strings.Repeat(" ", indent) + cut(r.title, max(1, t.cfg.Width-indent))
	}
	fmt.Fprintln(t.w, strings.TrimRight(line, " "))
}

// faults names every job that did not see the whole target. The reason is not
// cut: it is the one thing to read.
func (t *table) faults(scan client.Scan) {
	any := false
	for _, j := range scan.Jobs {
		if j.State == client.StateSucceeded {
			continue
		}
		any = true
		mark := t.paint("critical", "!!")
		fmt.Fprintf(t.w, "%s %s %s: %s\n", mark, safetext.Visible(j.Plugin), export.StateWords(j.State), export.JobReason(j))
	}
	if any {
		fmt.Fprintln(t.w)
	}
}

// maxOthers is of how many findings it is told who else found them: the rest is
// in the documents.
const maxOthers = 20

// others says which findings are about what another plugin found, too.
func (t *table) others(findings []client.Finding) {
	told := 0
	for _, f := range findings {
		names := export.Others(f)
		if names == "" {
			continue
		}
		if told++; told > maxOthers {
			continue
		}
		fmt.Fprintf(t.w, "%s %s: also found by %s\n", export.Place(f.Location), safetext.Visible(f.RuleID), names)
	}
	if told > maxOthers {
		fmt.Fprintf(t.w, "and %s more\n", export.Count(told-maxOthers, "finding", "findings"))
	}
	if told > 0 {
		fmt.Fprintln(t.w)
	}
}

// engines says what each plugin did, where there are several or one has something
// to say. Notes are not cut: what was not looked at is to be read.
func (t *table) engines(scan client.Scan) {
	if len(scan.Jobs) < 2 && !slices.ContainsFunc(scan.Jobs, func(j client.Job) bool { return j.NotApplicable != "" || len(j.Notes) > 0 }) {
		return
	}
	name := 0
	for _, j := range scan.Jobs {
		name = max(name, width(safetext.Visible(j.Plugin)))
	}
	for _, j := range scan.Jobs {
		did := export.StateWords(j.State)
		if j.State == client.StateSucceeded {
			did = export.JobWords(j)
		}
		fmt.Fprintln(t.w, pad(safetext.Visible(j.Plugin), name)+gap+did)
		for _, line := range export.Notes(j) {
			fmt.Fprintln(t.w, strings.Repeat(" ", name)+gap+t.paint("", line))
		}
	}
	fmt.Fprintln(t.w)
}

func (t *table) summary(scan client.Scan, found int) {
	var parts []string
	counts := host.Counts(scan.Counts)
	for _, s := range host.Severities() {
		if n := counts.Of(s); n > 0 {
			parts = append(parts, t.paint(string(s), fmt.Sprintf("%d %s", n, s)))
		}
	}
	total := counts.Total()
	line := export.Count(total, "finding", "findings")
	if len(parts) > 0 {
		line += " (" + strings.Join(parts, ", ") + ")"
	}
	if total != found {
		line += fmt.Sprintf(", %d shown", found)
	}
	if a := scan.Archive; a != nil {
		line += " in " + export.Count(a.Files, "file", "files")
		if a.Dropped > 0 {
			line += ", without " + export.Count(a.Dropped, "link, device or .git entry", "links, devices or .git entries") + " of the archive,"
		}
	} else if scan.URL != "" {
		line += " at " + safetext.Visible(scan.URL)
	}
	if scan.StartedAt != nil && scan.FinishedAt != nil {
		line += " in " + scan.FinishedAt.Sub(*scan.StartedAt).Round(10*time.Millisecond).String()
	}
	fmt.Fprintln(t.w, line)
	if scan.State != client.StateSucceeded {
		fmt.Fprintf(t.w, "%s\n", t.paint("critical", "The scan is "+export.StateWords(scan.State)+": this is not a clean result."))
	}
	if export.NothingScanned(scan) {
		fmt.Fprintln(t.w, t.paint("critical", "Nothing was scanned: there was nothing for any plugin to look at."))
	}
	fmt.Fprintln(t.w, "scan "+safetext.Visible(scan.ID))
}

// paint colours s by severity.
func (t *table) paint(severity, s string) string {
	if !t.cfg.Color {
		return s
	}
	code := "2"
	switch severity {
	case "critical":
		code = "1;31"
	case "high":
		code = "31"
	case "medium":
		code = "33"
	case "low":
		code = "36"
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
