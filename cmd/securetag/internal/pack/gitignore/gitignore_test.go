package gitignore_test

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack/gitignore"
)

// That the verdicts are git's is tested in package pack, with git as oracle.

func TestLastMatchDecides(t *testing.T) {
	t.Parallel()
	l := gitignore.Parse([]byte("*.log\n!keep.log\nbuild/\n"))
	for _, c := range []struct {
		name string
		dir  bool
		want gitignore.Verdict
	}{
		{"a.log", false, gitignore.Ignore},
		{"x/keep.log", false, gitignore.Keep},
		{"build", true, gitignore.Ignore},
		{"build", false, gitignore.Undecided},
		{"a.go", false, gitignore.Undecided},
	} {
		if got := l.Match(c.name, c.dir); got != c.want {
			t.Errorf("%q: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNoBacktracking would not end in the life of the test with a matcher that
// tries one way after the other.
func TestNoBacktracking(t *testing.T) {
	t.Parallel()
	l := gitignore.Parse([]byte("x/" + strings.Repeat("*a", 60) + "*b\n" + strings.Repeat("**/a", 30) + "/**/b\n"))
	if got := l.Match("x/"+strings.Repeat("a", 250)+strings.Repeat("/a", 300), false); got != gitignore.Undecided {
		t.Errorf("got %v", got)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte("*.log\n!a/**/b\n[[:alpha:]-z]\\\n"), "a/x/b.log")
	f.Add([]byte("\xef\xbb\xbf/a**b/ \r\n**/\\/x\n"), "a/b")
	f.Fuzz(func(t *testing.T, patterns []byte, name string) {
		if len(patterns) > 4096 || len(name) > 1024 {
			return
		}
		gitignore.Parse(patterns).Match(name, false)
		// A name with every byte escaped is a pattern for itself alone.
		if name == "" || strings.ContainsAny(name, "\n\r\x00") || strings.Trim(name, "/") != name || strings.Contains(name, "//") {
			return
		}
		var escaped strings.Builder
		escaped.WriteByte('/')
		for i := range len(name) {
			if name[i] != '/' {
				escaped.WriteByte('\\')
			}
			escaped.WriteByte(name[i])
		}
		l := gitignore.Parse([]byte(escaped.String() + "\n"))
		if got := l.Match(name, false); got != gitignore.Ignore {
			t.Errorf("%q does not match %q", escaped.String(), name)
		}
		if got := l.Match(name+"x", false); got != gitignore.Undecided {
			t.Errorf("%q matches %q", escaped.String(), name+"x")
		}
	})
}
