// Package clean turns what a plugin says into what may be stored and shown:
// pure functions, no state. Whatever goes in, the text that comes out is valid
// UTF-8 without NUL or terminal escapes, cannot reorder the text around it,
// and is no longer than its limit in bytes.
package clean

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ellipsis marks where text was cut.
const ellipsis = "…"

// Text cleans text of several lines: TAB and LF stay, NUL becomes U+FFFD, the
// other control characters go, and characters that change the direction of
// the text or hide a line break are written out as \uXXXX.
func Text(s string, limit int) string { return Cut(scrub(s, limit, false), limit) }

// Line cleans text that must stay on one line: a run of white space becomes
// one space.
func Line(s string, limit int) string {
	return Cut(strings.Join(strings.Fields(scrub(s, limit, true)), " "), limit)
}

// Cut shortens s to at most limit bytes, at a character, and marks the cut.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := max(0, limit-len(ellipsis))
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if limit < len(ellipsis) {
		return s[:n]
	}
	return s[:n] + ellipsis
}

// scrub does the work of Text and Line. It stops soon after limit bytes of
// output, so that a huge input costs no more than a large one.
func scrub(s string, limit int, oneLine bool) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if b.Len() > limit {
			break
		}
		switch {
		case r == '\t' || r == '\n':
			b.WriteRune(r)
		case r == 0:
			b.WriteRune(utf8.RuneError)
		case r == '\r' && oneLine:
			b.WriteByte(' ')
		case control(r):
		case reorders(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r) // a bad byte arrives here as U+FFFD
		}
	}
	return b.String()
}

// clean reports whether s is printable ASCII, TAB and LF only: most text is.
func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 0x20 && c != '\t' && c != '\n') || c >= 0x7f {
			return false
		}
	}
	return true
}

// control reports C0, DEL and C1.
func control(r rune) bool { return r < 0x20 || (r >= 0x7f && r <= 0x9f) }

// reorders reports the marks, embeddings, overrides and isolates of the
// bidirectional algorithm, and the two separators that break a line where
// nobody sees it.
func reorders(r rune) bool {
	switch {
	case r == 0x061c, r == 0x200e, r == 0x200f:
		return true
	case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}
