package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// columns of a CSV document, in order. New ones are added at the end.
var columns = []struct { //nolint:gochecknoglobals // a table, never written
	name  string
	value func(client.Finding) string
}{
	{"id", func(f client.Finding) string { return f.ID }},
	{"scan_id", func(f client.Finding) string { return f.ScanID }},
	{"plugin", func(f client.Finding) string { return f.Plugin }},
	{"rule_id", func(f client.Finding) string { return f.RuleID }},
	{"severity", func(f client.Finding) string { return string(SeverityName(f.Severity)) }},
	{"confidence", func(f client.Finding) string { return f.Confidence }},
	{"title", func(f client.Finding) string { return f.Title }},
	{"path", func(f client.Finding) string { return f.Location.Path }},
	{"start_line", func(f client.Finding) string { return number(f.Location.StartLine) }},
	{"start_column", func(f client.Finding) string { return number(f.Location.StartColumn) }},
	{"end_line", func(f client.Finding) string { return number(f.Location.EndLine) }},
	{"end_column", func(f client.Finding) string { return number(f.Location.EndColumn) }},
	{"url", func(f client.Finding) string { return f.Location.URL }},
	{"cwe", func(f client.Finding) string { return numbers(f.CWE) }},
	{"tags", func(f client.Finding) string { return strings.Join(f.Tags, " ") }},
	{"references", func(f client.Finding) string { return strings.Join(f.References, " ") }},
	{"message", func(f client.Finding) string { return f.Message }},
	{"snippet", func(f client.Finding) string { return f.Snippet }},
	{"fingerprint", func(f client.Finding) string { return f.Fingerprint }},
	{"created_at", func(f client.Finding) string { return f.CreatedAt.UTC().Format(time.RFC3339) }},
	{"state", func(f client.Finding) string { return f.State }},
	{"triage", func(f client.Finding) string { return f.Triage }},
	{"triage_reason", func(f client.Finding) string { return f.TriageReason }},
	{"also_found_by", Others},
}

// writeCSV writes a row for each finding, and first one without an id for each
// job that did not see all of its target, and for each warning of one that did: no
// findings would read as clean.
func writeCSV(w io.Writer, r Report) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true // RFC 4180
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	row := func(f client.Finding) error {
		for i, c := range columns {
			line[i] = cell(c.value(f))
		}
		return out.Write(line)
	}
	for _, f := range caveats(r.Scan) {
		if err := row(f); err != nil {
			return err
		}
	}
	for f, err := range r.Findings("") {
		if err != nil {
			return err
		}
		if err := row(f); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// caveats are rows that say why a scan is less than it seems.
func caveats(s client.Scan) (rows []client.Finding) {
	add := func(plugin, path, title string) {
		rows = append(rows, client.Finding{ScanID: s.ID, Plugin: plugin, Title: title, Location: client.Location{Path: path}, CreatedAt: s.CreatedAt})
	}
	for _, j := range incomplete(s) {
		add(j.Plugin, "", fmt.Sprintf("Not a clean result: %s is %s: %s", j.Plugin, StateWords(j.State), JobReason(j)))
	}
	if NothingScanned(s) {
		add("", "", "Not a clean result: nothing was scanned, there was nothing for any plugin to look at")
	}
	for _, j := range s.Jobs {
		for _, n := range j.Notes {
			if n.Level != string(host.NoteNotice) {
				add(j.Plugin, n.Path, "Warning of "+j.Plugin+": "+n.Text)
			}
		}
	}
	return rows
}

// cell is text that no spreadsheet takes for a formula: one that begins like a
// formula, in the half or full width, gets an apostrophe before it, which is
// what OWASP advises against CSV injection. Tabs and line breaks become spaces,
// since some programs begin a cell there whatever the quotes say.
func cell(s string) string {
	s = safetext.Plain(s)
	if s != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func numbers(ns []int) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, " ")
}
