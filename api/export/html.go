package export

import (
	_ "embed"
	"html/template"
	"io"
	"iter"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// page is one file: its style is in it, it has no script, and its own policy
// forbids the browser to load anything.
//
//go:embed page.html
var pageText string

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{ //nolint:gochecknoglobals // a constant, as is its text
	"line": safetext.Plain, "text": safetext.Text, "place": Place, "severity": SeverityName, "words": StateWords, "reason": JobReason,
	"when": when, "took": took, "link": link, "count": Count,
	"did": JobWords, "notes": Notes, "others": Others,
}).Parse(pageText))

// htmlPage is what page.html is filled with. A template cannot give back the
// error of what it walks over, so it is kept here.
type htmlPage struct {
	Report
	err error
}

func writeHTML(w io.Writer, r Report) error {
	p := &htmlPage{Report: r}
	if err := page.Execute(w, p); err != nil {
		return err
	}
	return p.err
}

// Whole reports whether every engine saw all of the target.
func (p *htmlPage) Whole() bool { return whole(p.Scan) }

// Idle reports whether nothing was looked at.
func (p *htmlPage) Idle() bool { return NothingScanned(p.Scan) }

// Looked is how many engines had something to look at.
func (p *htmlPage) Looked() (n int) {
	for _, j := range p.Scan.Jobs {
		if j.NotApplicable == "" {
			n++
		}
	}
	return n
}

// Incomplete are the jobs that did not.
func (p *htmlPage) Incomplete() []client.Job { return incomplete(p.Scan) }

// Severities are how many there are of each, worst first.
func (p *htmlPage) Severities() (out []severityCount) {
	for _, s := range host.Severities() {
		out = append(out, severityCount{s, host.Counts(p.Scan.Counts).Of(s)})
	}
	return out
}

type severityCount struct {
	Name host.Severity
	N    int
}

// Total is how many findings there are.
func (p *htmlPage) Total() int { return host.Counts(p.Scan.Counts).Total() }

// Each walks over the findings.
func (p *htmlPage) Each() iter.Seq[client.Finding] {
	return func(yield func(client.Finding) bool) {
		for f, err := range p.Findings("") {
			if err != nil {
				p.err = err
				return
			}
			if !yield(f) {
				return
			}
		}
	}
}

// Target is what was scanned, in a few words.
func (p *htmlPage) Target() string {
	switch a := p.Scan.Archive; {
	case a == nil:
		return safetext.Visible(p.Scan.URL)
	case a.Filename != "":
		return safetext.Visible(a.Filename)
	default:
		return "an archive of " + Count(a.Files, "file", "files")
	}
}

// CreatedAt is when the scan was asked for.
func (p *htmlPage) CreatedAt() *time.Time { return &p.Scan.CreatedAt }

func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func took(s client.Scan) string {
	if s.StartedAt == nil || s.FinishedAt == nil {
		return "-"
	}
	return s.FinishedAt.Sub(*s.StartedAt).Round(10 * time.Millisecond).String()
}
