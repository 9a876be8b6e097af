package safetext_test

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api/export/exporttest"
	"github.com/securetaghq/securetag/internal/safetext"
)

func TestPlainAndVisible(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, plain, visible string }{
		{"as it is, größer 日本", "as it is, größer 日本", "as it is, größer 日本"},
		{"  two\n\tlines ", "two lines", `  two\x0a\x09lines `},
		{"\x1b[31mred\x1b[0m", "red", `\x1b[31mred\x1b[0m`},
		{"\x1b]8;;http://e\x1b\\link\x1b]8;;\a!", "link!", `\x1b]8;;http://e\x1b\link\x1b]8;;\x07!`},
		{"\u009b31mred", "red", `\x9b31mred`},
		{"open \x1b]0;not closed", "open 0;not closed", `open \x1b]0;not closed`},
		{"\x1b(0lq\x1bcx", "lqx", `\x1b(0lq\x1bcx`},
		{"abc\u202edef", "abcdef", `abc\u202edef`},
		{"bad\xff\x00", "bad", `bad\xff\x00`},
		{"tag\U000e0041", "tag", `tag\U000e0041`},
	} {
		if got := safetext.Plain(c.in); got != c.plain {
			t.Errorf("Plain(%q) = %q, want %q", c.in, got, c.plain)
		}
		if got := safetext.Visible(c.in); got != c.visible {
			t.Errorf("Visible(%q) = %q, want %q", c.in, got, c.visible)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(exporttest.Text)
	f.Add("\x1b[\x1b]\x1bP\u009d\u0300")
	f.Fuzz(func(t *testing.T, s string) {
		plain, visible := safetext.Plain(s), safetext.Visible(s)
		exporttest.Harmless(t, "plain", plain)
		exporttest.Harmless(t, "visible", visible)
		if strings.Contains(plain+visible, "\n") {
			t.Errorf("%q is more than one line", s)
		}
		if again := safetext.Plain(plain); again != plain {
			t.Errorf("Plain is not stable: %q, then %q", plain, again)
		}
	})
}
