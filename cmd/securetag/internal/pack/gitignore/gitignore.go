// Package gitignore decides which files of a tree git would ignore. It exists
// because the matchers at hand for Go differ from git in ways that make a
// scanner miss files; this one is tested against git itself.
//
// It knows one file of patterns at a time ([List]); who walks a tree keeps the
// lists of the directories it is in and asks the deepest first. As in git,
// names are bytes: "?" is one byte, case counts, and nothing below an ignored
// directory can be taken back.
package gitignore

import (
	"bytes"
	"strings"
)

// Verdict is what a list says of a name.
type Verdict int

const (
	Undecided Verdict = iota // no pattern matches: ask the next list
	Ignore
	Keep // taken back by a "!" pattern
)

// List is the patterns of one file. The zero value decides nothing. Safe for
// concurrent use.
type List struct {
	patterns []pattern
}

type pattern struct {
	text     string // without "!", a leading "/" and one trailing "/"
	literal  int    // so many bytes of text hold no wildcard
	glob     glob   // the rest of text, compiled; nil when there is none
	verdict  Verdict
	dirOnly  bool
	baseOnly bool // no "/" in it: matches the last element of a name
	suffix   bool // "*" and then no wildcard: the common "*.log"
}

// Parse reads patterns as git does; there is no such thing as a syntax error,
// a malformed pattern matches nothing.
func Parse(data []byte) List {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var l List
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		s := strings.TrimSuffix(string(line), "\r")
		if i := strings.IndexByte(s, 0); i >= 0 {
			s = s[:i] // git reads a C string
		}
		if p, ok := parse(trimSpaces(s)); ok {
			l.patterns = append(l.patterns, p)
		}
	}
	return l
}

func parse(s string) (pattern, bool) {
	p := pattern{verdict: Ignore}
	if strings.HasPrefix(s, "!") {
		p.verdict, s = Keep, s[1:]
	}
	if strings.HasSuffix(s, "/") {
		p.dirOnly, s = true, s[:len(s)-1]
	}
	p.baseOnly = !strings.Contains(s, "/")
	s = strings.TrimPrefix(s, "/")
	if s == "" {
		return pattern{}, false
	}
	p.text = s
	p.literal = literalPrefix(s)
	switch {
	case p.literal == len(s):
	case p.baseOnly && s[0] == '*' && literalPrefix(s[1:]) == len(s)-1:
		p.suffix = true
	case p.baseOnly:
		p.glob = compile(s, false)
	default:
		// git compares the literal part first and gives only the rest to its
		// matcher; "a**/b" means another thing because of it.
		p.glob = compile(s[p.literal:], true)
	}
	return p, true
}

// trimSpaces drops trailing spaces, but not one behind a backslash.
func trimSpaces(s string) string {
	end := -1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			if end < 0 {
				end = i
			}
			continue
		case '\\':
			if i++; i == len(s) {
				return s
			}
		}
		end = -1
	}
	if end >= 0 {
		return s[:end]
	}
	return s
}

func literalPrefix(s string) int {
	if i := strings.IndexAny(s, `*?[\`); i >= 0 {
		return i
	}
	return len(s)
}

// Match gives the verdict of the last pattern that matches name, which is
// slash-separated and relative to the directory of the list's file.
func (l List) Match(name string, dir bool) Verdict {
	base := name[strings.LastIndexByte(name, '/')+1:]
	for i := len(l.patterns) - 1; i >= 0; i-- {
		p := &l.patterns[i]
		if p.dirOnly && !dir {
			continue
		}
		if p.match(name, base) {
			return p.verdict
		}
	}
	return Undecided
}

func (p *pattern) match(name, base string) bool {
	if p.baseOnly {
		switch {
		case p.suffix:
			return strings.HasSuffix(base, p.text[1:])
		case p.glob == nil:
			return base == p.text
		default:
			return p.glob.match(base)
		}
	}
	rest, ok := strings.CutPrefix(name, p.text[:p.literal])
	if !ok {
		return false
	}
	if p.glob == nil {
		return rest == ""
	}
	return p.glob.match(rest)
}
