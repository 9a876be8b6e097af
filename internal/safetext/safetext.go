// Package safetext makes text of a hostile tree, plugin or server harmless to
// whoever reads it: on a terminal, in JSON, in a spreadsheet.
package safetext

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks in a row are kept: enough for every
// script, too few to paint over the lines around.
const maxMarks = 4

// Plain makes one harmless line of any text: terminal sequences go whole, white
// space becomes single spaces, control, format and unassigned characters go.
func Plain(s string) string {
	var b strings.Builder
	space, marks := false, 0
	for i := 0; i < len(s); {
		if n := sequence(s[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		if unicode.IsSpace(r) {
			space = true
			continue
		}
		if !printable(r) {
			continue
		}
		if unicode.Is(unicode.M, r) {
			if marks++; marks > maxMarks {
				continue
			}
		} else {
			marks = 0
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

// Visible shows a name as it is, with whatever Plain would drop written as an
// escape: a path that is cleaned silently is the path of another file.
func Visible(s string) string {
	var b strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == ' ' || printable(r) && !unicode.IsSpace(r) && marks <= maxMarks:
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// printable is what a terminal draws and does not obey. Characters that Unicode
// has not assigned are in doubt, so they are not.
func printable(r rune) bool {
	return r != utf8.RuneError && (unicode.IsGraphic(r) || unicode.Is(unicode.M, r))
}

// sequence gives the length of the terminal sequence that s starts with, in its
// 7-bit or 8-bit form; 0 when it starts with none. One that does not end takes
// only its introducer, so that a stray byte cannot swallow the text behind it.
func sequence(s string) int {
	intro, at := introducer(s)
	switch intro {
	case 0:
		return 0
	case ' ', '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/': // intermediates, then one final byte
		for i := at; i < len(s) && s[i] >= 0x20 && s[i] <= 0x7e; i++ {
			if s[i] >= 0x30 {
				return i + 1
			}
		}
	case '[': // CSI: parameters, intermediates, one final byte
		for i := at; i < len(s); i++ {
			if c := s[i]; c >= 0x40 && c <= 0x7e {
				return i + 1
			} else if c < 0x20 || c > 0x7e {
				break
			}
		}
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: up to BEL or ST
		for i := at; i < len(s); i++ {
			switch {
			case s[i] == '\a':
				return i + 1
			case strings.HasPrefix(s[i:], "\x1b\\"), strings.HasPrefix(s[i:], "\u009c"):
				return i + 2
			case s[i] == '\n':
				return at
			}
		}
	}
	return at
}

// introducer names the sequence that s starts with by its 7-bit letter.
func introducer(s string) (letter byte, length int) {
	switch {
	case len(s) > 1 && s[0] == 0x1b && s[1] >= 0x20 && s[1] < 0x7f:
		return s[1], 2
	case len(s) > 0 && s[0] == 0x1b:
		return 0x1b, 1
	case len(s) > 1 && s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f:
		return s[1] - 0x40, 2
	}
	return 0, 0
}

// JSON writes the characters of a JSON document that a terminal would obey or
// that reorder text as \u escapes: the same document to every parser. Such
// characters can only be inside its strings.
func JSON(doc []byte) []byte {
	harmless := func(r rune) bool { return r < 0x7f || r >= 0xa0 && !unicode.Is(unicode.Cf, r) }
	if bytes.IndexFunc(doc, func(r rune) bool { return !harmless(r) }) < 0 {
		return doc
	}
	var b bytes.Buffer
	b.Grow(len(doc) + len(doc)/8)
	for i := 0; i < len(doc); {
		r, n := utf8.DecodeRune(doc[i:])
		switch {
		case harmless(r):
			b.Write(doc[i : i+n])
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
		i += n
	}
	return b.Bytes()
}

// Text keeps the lines of a text and drops what a terminal would obey or that
// reorders it. A tab becomes spaces.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == ' ' || printable(r) && !unicode.IsSpace(r) {
			return r
		}
		return -1
	}, strings.ReplaceAll(s, "\t", "    "))
}
