package workspace

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// segments checks an entry's name and splits it. The root of the archive
// itself ("./") has no segments. Harmless spelling that common tools write is
// taken off: "./" before, and "/" after what is not a file.
func (l Limits) segments(name string, k kind) ([]string, error) {
	switch {
	case name == "":
		return nil, refuseEntry(CodeBadName, name, "the name is empty")
	case !utf8.ValidString(name):
		return nil, refuseEntry(CodeBadName, name, "the name is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return nil, refuseEntry(CodeBadName, name, "the name has a control character")
	case strings.Contains(name, `\`):
		return nil, refuseEntry(CodeBadName, name, "the name has a backslash")
	case strings.HasPrefix(name, "/"):
		return nil, refuseEntry(CodePathEscape, name, "the path is absolute")
	}
	clean := name
	for strings.HasPrefix(clean, "./") {
		clean = clean[2:]
	}
	if k != kindFile {
		clean = strings.TrimSuffix(clean, "/")
	}
	if k == kindDir && (clean == "" || clean == ".") {
		return nil, nil
	}
	if len(clean) > l.PathBytes {
		return nil, refuseEntry(CodeBadName, name, "the path is longer than %d bytes", l.PathBytes)
	}
	segs := strings.Split(clean, "/")
	for _, seg := range segs {
		switch {
		case seg == "..":
			return nil, refuseEntry(CodePathEscape, name, `the path has ".." in it`)
		case seg == "" || seg == ".":
			return nil, refuseEntry(CodeBadName, name, `the path has an empty segment or "." in it`)
		case len(seg) > l.NameBytes:
			return nil, refuseEntry(CodeBadName, name, "a name in the path is longer than %d bytes", l.NameBytes)
		}
	}
	if len(segs) > l.Depth {
		return nil, refuseEntry(CodeTooDeep, name, "the path is deeper than %d directories", l.Depth)
	}
	if !filepath.IsLocal(filepath.FromSlash(clean)) { // the rules above, as the system sees them
		return nil, refuseEntry(CodePathEscape, name, "the path leaves the archive")
	}
	return segs, nil
}

// underGit reports whether a path is, or is in, a ".git" in any spelling.
func (w *walker) underGit(segs []string) bool {
	return slices.ContainsFunc(segs, func(seg string) bool { return w.foldSegment(seg) == ".git" })
}

// foldSegment is what a name becomes on a file system that ignores case and
// Unicode form: NFKC(casefold(NFKC(name))).
func (w *walker) foldSegment(seg string) string {
	for i := range len(seg) {
		if seg[i] >= utf8.RuneSelf {
			return norm.NFKC.String(w.fold.String(norm.NFKC.String(seg)))
		}
	}
	return strings.ToLower(seg)
}
