package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/mitchellh/go-wordwrap"
)

// Error is every mistake that was found, in the order of the file, then those
// of variables and flags.
type Error struct {
	Diagnostics hcl.Diagnostics
	sources     map[string][]byte // the text of each file, by the name it has in Diagnostics
}

// hidden marks a diagnostic whose subject is a sensitive value, hiddenRest one
// whose subject is followed by one. Neither is printed with its line.
type (
	hidden     struct{}
	hiddenRest struct{}
)

// Error gives the first mistake in one line and the number of the others.
func (e *Error) Error() string {
	d := e.Diagnostics[0]
	var b strings.Builder
	if d.Subject != nil {
		fmt.Fprintf(&b, "%s:%d: ", d.Subject.Filename, d.Subject.Start.Line)
	}
	b.WriteString(d.Summary)
	if d.Detail != "" {
		b.WriteString(": " + d.Detail)
	}
	if more := len(e.Diagnostics) - 1; more > 0 {
		fmt.Fprintf(&b, " (and %d more)", more)
	}
	return b.String()
}

// Mistake is one of an Error, without its line.
type Mistake struct {
	Place string // "securetag.hcl:12"; "" when it is in no file
	Text  string
}

// Mistakes lists all.
func (e *Error) Mistakes() []Mistake {
	out := make([]Mistake, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		out[i].Text = clean(d.Summary)
		if d.Detail != "" {
			out[i].Text += ": " + clean(d.Detail)
		}
		if d.Subject != nil {
			out[i].Place = fmt.Sprintf("%s:%d", d.Subject.Filename, d.Subject.Start.Line)
		}
	}
	return out
}

// Write prints every mistake in the style of HashiCorp's tools, with the line
// and a caret. Text is wrapped at width; 0 means not at all.
func (e *Error) Write(w io.Writer, color bool, width int) error {
	for _, d := range e.Diagnostics {
		if err := e.writeOne(w, d, color, width); err != nil {
			return fmt.Errorf("write diagnostics: %w", err)
		}
	}
	return nil
}

func (e *Error) writeOne(w io.Writer, d *hcl.Diagnostic, color bool, width int) error {
	head, reset := "Error: ", ""
	if color {
		head, reset = "\x1b[1;31mError:\x1b[0m \x1b[1m", "\x1b[0m"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s%s\n\n", head, clean(d.Summary), reset)
	if d.Subject != nil {
		fmt.Fprintf(&b, "  on %s line %d:\n", d.Subject.Filename, d.Subject.Start.Line)
		e.writeSnippet(&b, d, color)
		b.WriteByte('\n')
	}
	if d.Detail != "" {
		detail := clean(d.Detail)
		if width > 0 {
			detail = wordwrap.WrapString(detail, uint(width))
		}
		b.WriteString(detail + "\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxSnippet is how much of a line is shown, in characters.
const maxSnippet = 160

// writeSnippet prints the first line of the subject and marks the subject.
func (e *Error) writeSnippet(b *strings.Builder, d *hcl.Diagnostic, color bool) {
	src, at := e.sources[d.Subject.Filename], *d.Subject
	if at.Start.Byte < 0 || at.Start.Byte > len(src) {
		return
	}
	start := bytes.LastIndexByte(src[:at.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[at.Start.Byte:], '\n'); i >= 0 {
		end = at.Start.Byte + i
	}
	stop := max(at.Start.Byte, min(at.End.Byte, end))
	before, marked, after := string(src[start:at.Start.Byte]), string(src[at.Start.Byte:stop]), string(src[stop:end])
	switch d.Extra.(type) {
	case hidden:
		marked, after = sensitive, ""
	case hiddenRest:
		after = " ..."
	}
	before, marked, after = mask(before), mask(marked), mask(after)
	if utf8.RuneCountInString(before)+utf8.RuneCountInString(marked) > maxSnippet {
		before, marked, after = "... ", cut(marked, maxSnippet), ""
	}
	shown := marked
	if color {
		shown = "\x1b[1;4m" + marked + "\x1b[0m"
	}
	fmt.Fprintf(b, "%4d: %s%s%s\n", at.Start.Line, before, shown, cut(after, maxSnippet))
	fmt.Fprintf(b, "      %s%s\n", blank(before), strings.Repeat("^", max(1, utf8.RuneCountInString(marked))))
}

// blank is as wide as s: a tab for a tab, a space for anything else.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

// credentials finds a password in a URL, which no error message may repeat.
var credentials = regexp.MustCompile(`(://[^\s"/:@]*:)[^\s"/]*@`)

// mask makes a piece of the file fit to print.
func mask(s string) string { return clean(credentials.ReplaceAllString(s, "${1}***@")) }

// clean drops what would steer a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, strings.TrimSuffix(s, "\r"))
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "..."
}

// nearest is the known word that given was most likely meant to be; empty when
// none is close.
func nearest(given string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(given), strings.ToLower(k), nil); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	return best
}

// suggest is nearest as the end of a message.
func suggest(given string, known []string) string {
	best := nearest(cut(given, 128), known)
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// problem is one mistake at a place in the file.
func problem(at hcl.Range, summary, detail string, args ...any) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at}}
}

// sortDiagnostics puts them in the order of the files, those without a place in
// one last.
func sortDiagnostics(diags hcl.Diagnostics) {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		switch {
		case a.Subject == nil && b.Subject == nil:
			return 0
		case a.Subject == nil:
			return 1
		case b.Subject == nil:
			return -1
		default:
			return cmp.Or(strings.Compare(a.Subject.Filename, b.Subject.Filename), a.Subject.Start.Byte-b.Subject.Start.Byte)
		}
	})
}
