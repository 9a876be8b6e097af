package clean

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// ErrOutside is of a place that is not in the scanned tree.
var ErrOutside = errors.New("outside the target")

// Path checks a path that a plugin reports and gives it back relative, slash
// separated, in NFC, with control and reordering characters written out: a
// file of a hostile tree may well have such a name. Absolute paths, ".." and
// over-long paths wrap ErrOutside. The file need not exist.
func Path(p string) (string, error) {
	switch {
	case len(p) > maxPath:
		return "", fmt.Errorf("path of %d bytes: %w", len(p), ErrOutside)
	case strings.HasPrefix(p, "/"):
		return "", fmt.Errorf("path %q is absolute: %w", Line(p, 80), ErrOutside)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q has \"..\": %w", Line(p, 80), ErrOutside)
		}
	}
	if p = path.Clean(p); p == "." {
		return "", nil
	}
	var b strings.Builder
	for _, r := range p {
		switch {
		case control(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case reorders(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	out := norm.NFC.String(b.String())
	if len(out) > maxPath {
		return "", fmt.Errorf("path of %d bytes: %w", len(out), ErrOutside)
	}
	return out, nil
}

// URL gives back an absolute http or https URL without user name, password
// and fragment, or "" when s is not one. No other scheme may become a link.
func URL(s string) string {
	if len(s) > maxURL || !utf8.ValidString(s) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return ""
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	out := u.String()
	if len(out) > maxURL || Line(out, maxURL) != out {
		return ""
	}
	return out
}

// link is URL for https alone.
func link(s string) string {
	if u := URL(s); strings.HasPrefix(u, "https://") {
		return u
	}
	return ""
}

// location cleans a place. Lines and columns that cannot be are dropped; a
// path outside the tree is an error.
func location(l *pluginv1.Location) (host.Location, error) {
	p, err := Path(l.GetPath())
	if err != nil {
		return host.Location{}, err
	}
	out := host.Location{Path: p, URL: URL(l.GetUrl())}
	if out.StartLine = ordinal(l.GetStartLine()); p == "" || out.StartLine == 0 {
		out.StartLine = 0
		return out, nil
	}
	out.StartColumn = ordinal(l.GetStartColumn())
	if out.EndLine = ordinal(l.GetEndLine()); out.EndLine < out.StartLine {
		out.EndLine = 0
		return out, nil
	}
	out.EndColumn = ordinal(l.GetEndColumn())
	if out.EndLine == out.StartLine && out.EndColumn < out.StartColumn {
		out.EndColumn = 0
	}
	return out, nil
}

// ordinal takes a 1-based number that fits a database integer; 0: not given.
func ordinal(n uint32) int {
	if n > math.MaxInt32 {
		return 0
	}
	return int(n)
}
