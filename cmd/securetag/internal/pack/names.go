package pack

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// What the server takes at most; it refuses a whole archive over one entry
// that goes beyond.
const (
	maxDepth   = 64   // elements of a path
	maxElement = 255  // bytes of one
	maxPath    = 1024 // bytes of a path
)

// unfit says why the server would refuse the last element of a path, or "".
func unfit(path, element string) string {
	switch {
	case !utf8.ValidString(element):
		return "name is not valid UTF-8"
	case strings.Contains(element, `\`):
		return "name contains a backslash"
	case strings.ContainsFunc(element, unicode.IsControl):
		return "name contains a control character"
	case strings.EqualFold(element, ".git"):
		return "the server takes it for .git"
	case len(element) > maxElement:
		return "name is longer than 255 bytes"
	case len(path) > maxPath:
		return "path is longer than 1024 bytes"
	case strings.Count(path, "/") >= maxDepth:
		return "more than 64 directories deep"
	}
	return ""
}

// twins finds names that are one and the same on a file system that does not
// tell case or Unicode forms apart. The server refuses them.
type twins struct {
	fold cases.Caser
	seen map[string]string // folded path of a file or directory: its real path
}

func newTwins() *twins {
	return &twins{fold: cases.Fold(), seen: map[string]string{}}
}

// claim takes path and its directories, or returns the one that is in the way.
// A path that is refused claims nothing.
func (t *twins) claim(path string) (other string) {
	folded := t.key(path)
	for i, j := 0, 0; i >= 0; {
		i, j = nextElement(path, i), nextElement(folded, j)
		if was, ok := t.seen[upTo(folded, j)]; ok && was != upTo(path, i) {
			return was
		}
	}
	for i, j := 0, 0; i >= 0; {
		i, j = nextElement(path, i), nextElement(folded, j)
		t.seen[upTo(folded, j)] = upTo(path, i)
	}
	return ""
}

func (t *twins) key(path string) string {
	if isPlain(path) {
		return path
	}
	// Element by element, so that no form of folding can make or eat a slash.
	parts := strings.Split(path, "/")
	for i, p := range parts {
		p = norm.NFKC.String(t.fold.String(norm.NFKC.String(p)))
		parts[i] = strings.ReplaceAll(p, "/", "\x00")
	}
	return strings.Join(parts, "/")
}

// isPlain reports that folding changes nothing: the usual case, without work.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// nextElement gives the place of the slash that ends the element at i (which is
// 0 or the slash before it); -1 when it is the last.
func nextElement(s string, i int) int {
	at := strings.IndexByte(s[min(i+1, len(s)):], '/')
	if at < 0 {
		return -1
	}
	return at + i + 1
}

func upTo(s string, i int) string {
	if i < 0 {
		return s
	}
	return s[:i]
}
