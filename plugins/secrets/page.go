package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"

	"github.com/securetaghq/securetag/sdk"
)

const (
	redacted = "REDACTED"
	// maxKnown bounds the secrets of one file that are looked for in every
	// snippet of it. In a file with more, no snippet shows any text.
	maxKnown = 256
	before   = 120 // bytes of the line shown before the secret
	after    = 60  // and after it
)

// secrets is what must not be seen in any snippet of a file.
type secrets struct {
	list []string
	full bool
}

func (s *secrets) add(text string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || slices.Contains(s.list, text):
	case len(s.list) >= maxKnown:
		s.full = true
	default:
		s.list = append(s.list, text)
	}
}

// span is raw[from:to].
type span struct{ from, to int }

// page is a fragment with its findings, their places and what must be hidden.
type page struct {
	raw    string
	line   int   // number of the first line
	tail   int   // bytes of the first line that came before the fragment
	starts []int // offset of each line
	match  []span
	secret []span
	hidden []span // sorted, disjoint
	blind  bool   // show nothing
}

func newPage(f sources.Fragment, tail int, found []report.Finding, known *secrets) *page {
	p := &page{raw: f.Raw, line: f.StartLine, tail: tail, starts: []int{0}}
	for i := range len(f.Raw) {
		if f.Raw[i] == '\n' {
			p.starts = append(p.starts, i+1)
		}
	}
	for _, g := range found {
		m, s := span{}, span{}
		if g.StartLine > 0 {
			m = p.matched(g)
			s = p.hide(g, m)
			known.add(g.Secret)
			known.add(p.raw[s.from:s.to])
		}
		p.match, p.secret = append(p.match, m), append(p.secret, s)
	}
	p.blind = known.full
	p.hidden = slices.Clone(p.secret)
	if !p.blind {
		for _, text := range known.list {
			p.hidden = append(p.hidden, occurrences(p.raw, text)...)
		}
	}
	p.hidden = merge(p.hidden)
	return p
}

// matched finds where the match is. gitleaks counts columns from the newline
// before the line, so that they are one too high on all but a fragment's first
// line, and it counts a match that starts with a newline to the line after it.
// The end it gives is not used: it is 0 for a match that ends in a last line
// without a newline.
func (p *page) matched(g report.Finding) span {
	n := min(max(g.StartLine-p.line, 0), len(p.starts)-1)
	col := g.StartColumn - 1
	if n > 0 {
		col--
	}
	from := min(max(p.starts[n]+col, 0), len(p.raw))
	if decoded(g) {
		// The match was in decoded text: hide the encoded, whatever its length.
		to := p.end(g)
		for to < len(p.raw) && !delimiter(p.raw[to]) {
			to++
		}
		for from > p.starts[n] && !delimiter(p.raw[from-1]) {
			from--
		}
		return span{from, max(from, to)}
	}
	return span{from, min(from+len(g.Match), len(p.raw))}
}

// end is where gitleaks says that a match ends; the end of the line it starts
// in when it does not say.
func (p *page) end(g report.Finding) int {
	n := min(max(g.EndLine-p.line, 0), len(p.starts)-1)
	if g.EndColumn > 0 {
		col := g.EndColumn
		if n > 0 {
			col--
		}
		return min(p.starts[n]+col, len(p.raw))
	}
	return p.lineEnd(p.starts[n])
}

func (p *page) lineEnd(from int) int {
	if i := strings.IndexByte(p.raw[from:], '\n'); i >= 0 {
		return from + i
	}
	return len(p.raw)
}

// hide is the part of the match that must not be seen. gitleaks' Secret is the
// first group of the rule's pattern, for some rules only a piece of the token;
// so it is widened to the left to a delimiter and to the right to the match's
// end, less a closing quote.
func (p *page) hide(g report.Finding, m span) span {
	text := p.raw[m.from:m.to]
	i := strings.Index(text, g.Secret)
	if decoded(g) || i < 0 || g.Secret == "" {
		return m
	}
	s := span{m.from + i, m.from + max(i+len(g.Secret), len(strings.TrimRight(text, " \t\r\n'\"`;,\\")))}
	for s.from > m.from && !delimiter(p.raw[s.from-1]) {
		s.from--
	}
	return s
}

func decoded(g report.Finding) bool { return encodings(g.Tags) != "" }

func delimiter(c byte) bool { return strings.IndexByte(" \t\r\n'\"`=:,;()<>[]{}", c) >= 0 }

// location is the place of the match, 1-based, the end exclusive.
func (p *page) location(i int, path string) sdk.Location {
	m := p.match[i]
	for m.from < m.to && p.raw[m.from] == '\n' { // shown where gitleaks shows it
		m.from++
	}
	startLine, startCol := p.place(m.from)
	endLine, endCol := p.place(max(m.from, m.to))
	return sdk.Location{Path: path, StartLine: startLine, StartColumn: startCol, EndLine: endLine, EndColumn: endCol}
}

func (p *page) place(offset int) (line, column int) {
	n, ok := slices.BinarySearch(p.starts, offset)
	if !ok {
		n--
	}
	column = offset - p.starts[n] + 1
	if n == 0 {
		column += p.tail
	}
	return p.line + n, column
}

// snippet is the line of the secret with everything hidden that must be.
func (p *page) snippet(i int) string {
	s := p.secret[i]
	if p.blind {
		return redacted
	}
	n, _ := slices.BinarySearch(p.starts, s.from+1)
	lineFrom, lineTo := p.starts[n-1], max(p.lineEnd(s.from), s.to)
	if strings.IndexByte(p.raw[s.from:s.to], '\n') >= 0 {
		lineTo = s.to // of many lines: show nothing after it
	}
	from, to := max(lineFrom, s.from-before), min(lineTo, s.to+after)
	var b strings.Builder
	for _, h := range p.hidden {
		if h.to <= from {
			continue
		}
		if h.from >= to {
			break
		}
		if h.from > from {
			b.WriteString(p.raw[from:h.from])
		}
		b.WriteString(redacted)
		from = h.to
	}
	if from < to {
		b.WriteString(p.raw[from:to])
	}
	return strings.TrimSpace(strings.ToValidUTF8(b.String(), ""))
}

// allowed reports whether the lines of a match have the comment by which gitleaks
// is told to be silent.
func (p *page) allowed(i int) bool {
	m := p.match[i]
	from := strings.LastIndexByte(p.raw[:m.from], '\n') + 1
	return strings.Contains(p.raw[from:p.lineEnd(max(m.from, m.to))], "gitleaks"+":allow")
}

// hiddenText is the secret of a finding, white space evened out. It must not leave
// the plugin.
func (p *page) hiddenText(i int) string {
	return strings.Join(strings.Fields(p.raw[p.secret[i].from:p.secret[i].to]), " ")
}

func occurrences(raw, text string) []span {
	var out []span
	for at := 0; ; {
		i := strings.Index(raw[at:], text)
		if i < 0 {
			return out
		}
		out = append(out, span{at + i, at + i + len(text)})
		at += i + len(text)
	}
}

func merge(in []span) []span {
	slices.SortFunc(in, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var out []span
	for _, s := range in {
		if s.to <= s.from {
			continue
		}
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}
