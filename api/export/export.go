// Package export writes a scan and what it found as a document for others: a
// SARIF log, a table for spreadsheets, JSON lines, a page for people.
//
// Everything in a scan may come from a hostile tree or plugin. No document has
// a formula, a script, a link of another scheme than https or a character in it
// that a terminal would obey, and none says of a scan that failed in any part
// that it is clean.
//
// Documents are written as the findings are read: what is in memory at a time
// is one of them, and for SARIF the rules.
package export

import (
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// Format is a kind of document.
type Format string

const (
	SARIF     Format = "sarif" // 2.1.0, as GitHub, GitLab and DefectDojo read it
	CSV       Format = "csv"   // RFC 4180, with a line of names first; rows without an id say what was not seen
	JSONLines Format = "jsonl" // a line for the scan, then one for each finding
	HTML      Format = "html"  // one file, that loads nothing
)

// Formats lists them.
func Formats() []Format { return []Format{SARIF, CSV, JSONLines, HTML} }

// MediaType is what the document is served as.
func (f Format) MediaType() string {
	switch f {
	case SARIF:
		return "application/sarif+json"
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case JSONLines:
		return "application/jsonl"
	case HTML:
		return "text/html; charset=utf-8"
	case CycloneDX:
		return CycloneDXMedia
	default:
		return "application/octet-stream"
	}
}

// Findings gives those of one plugin, or of all for "", worst first. It is
// called once for each plugin or once for all, and ends after the first error.
type Findings func(plugin string) iter.Seq2[client.Finding, error]

// Of gives findings that are at hand.
func Of(findings []client.Finding) Findings {
	return func(plugin string) iter.Seq2[client.Finding, error] {
		return func(yield func(client.Finding, error) bool) {
			for _, f := range findings {
				if (plugin == "" || f.Plugin == plugin) && !yield(f, nil) {
					return
				}
			}
		}
	}
}

// Report is what a document is made of.
type Report struct {
	Scan     client.Scan
	Findings Findings
	Version  string // of SecureTag, to say who wrote it
}

// Write writes r in that format. An error of the findings ends it in the middle
// of the document and is returned.
func Write(w io.Writer, f Format, r Report) error {
	write, ok := map[Format]func(io.Writer, Report) error{
		SARIF: writeSARIF, CSV: writeCSV, JSONLines: writeJSONLines, HTML: writeHTML,
	}[f]
	if !ok {
		return fmt.Errorf("format %.32q is none of %v: %w", f, Formats(), host.ErrInvalid)
	}
	if err := write(w, r); err != nil {
		return fmt.Errorf("write %s report: %w", f, err)
	}
	return nil
}

// whole reports whether nothing is missing from what a scan found, and something
// was looked at.
func whole(s client.Scan) bool {
	return s.State == client.StateSucceeded && len(incomplete(s)) == 0 && !NothingScanned(s)
}

// NothingScanned reports whether a scan that succeeded looked at nothing. The
// server says so; a scan that is over tells it by its jobs as well.
func NothingScanned(s client.Scan) bool {
	idle := func(j client.Job) bool { return j.NotApplicable != "" && j.State == client.StateSucceeded }
	return s.NothingScanned || len(s.Jobs) > 0 && !slices.ContainsFunc(s.Jobs, func(j client.Job) bool { return !idle(j) })
}

// incomplete are the jobs that did not see all of their target.
func incomplete(s client.Scan) []client.Job {
	return slices.DeleteFunc(slices.Clone(s.Jobs), func(j client.Job) bool { return j.State == client.StateSucceeded })
}
