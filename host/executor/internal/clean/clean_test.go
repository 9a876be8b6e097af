package clean_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, text, line string }{
		{"plain", "plain", "plain"},
		{"two\nlines\tand a tab", "two\nlines\tand a tab", "two lines and a tab"},
		{"dos\r\nline", "dos\nline", "dos line"},
		{"a\x00b", "a\ufffdb", "a\ufffdb"},
		{"\x1b[31mred\x1b[0m", "[31mred[0m", "[31mred[0m"},
		{"c1\u009b31m del\x7f", "c131m del", "c131m del"},
		{"bad\xff\xfe", "bad\ufffd\ufffd", "bad\ufffd\ufffd"},
		{"if \u202e} \u2066// admin", `if \u202e} \u2066// admin`, `if \u202e} \u2066// admin`},
		{"a\u2028b\u200fc", `a\u2028b\u200fc`, `a\u2028b\u200fc`},
		{"日本語 ☃", "日本語 ☃", "日本語 ☃"},
	} {
		if got := clean.Text(tc.in, 100); got != tc.text {
			t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.text)
		}
		if got := clean.Line(tc.in, 100); got != tc.line {
			t.Errorf("Line(%q) = %q, want %q", tc.in, got, tc.line)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc…"},
		{"äöüä", 6, "ä…"},
		{"abc", 2, ""},
		{"abc", 0, ""},
	} {
		if got := clean.Cut(tc.in, tc.limit); got != tc.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                 "",
		".":                "",
		"a/b.go":           "a/b.go",
		"./a//b/":          "a/b",
		"a/...":            "a/...",
		"..a/b..":          "..a/b..",
		"e\u0301.go":       "\u00e9.go",
		"new\nline\x1b":    `new\x0aline\x1b`,
		"exe\u202egnp.txt": `exe\u202egnp.txt`,
		`C:\a\b`:           `C:\a\b`,
		"bad\xff":          "bad\ufffd",
	} {
		if got, err := clean.Path(in); err != nil || got != want {
			t.Errorf("Path(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"/etc/passwd", "..", "../x", "a/../../x", "a/..", "a/../b", strings.Repeat("a/", 3000)} {
		if got, err := clean.Path(in); !errors.Is(err, clean.ErrOutside) {
			t.Errorf("Path(%.20q) = %q, %v; want ErrOutside", in, got, err)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://example.com/a?b=c#d":          "https://example.com/a?b=c",
		"http://user:pw@example.com/":          "http://example.com/",
		"javascript:alert(1)":                  "",
		"//example.com":                        "",
		"https://":                             "",
		"ftp://example.com":                    "",
		"https://example.com/\x1b":             "",
		"https://a/\u202e":                     "https://a/%E2%80%AE",
		"data:text/html,<script>":              "",
		"https://e/" + string([]byte{0}):       "",
		"https://" + strings.Repeat("a", 3000): "",
	} {
		if got := clean.URL(in); got != want {
			t.Errorf("URL(%.40q) = %q, want %q", in, got, want)
		}
	}
}

func rule(t testing.TB) clean.Rule {
	t.Helper()
	r, err := clean.NewRule(&pluginv1.Rule{
		Id: "r1", Title: "Rule\none", Severity: pluginv1.Severity_SEVERITY_HIGH, HelpUri: "https://example.com/r1",
		Cwe: []uint32{0, 79, 4_000_000_000}, Tags: []string{"", "a\x00"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewRule(t *testing.T) {
	t.Parallel()
	want := clean.Rule{
		ID: "r1", Title: "Rule one", Severity: host.SeverityHigh, CWE: []int{79}, Tags: []string{"a\ufffd"},
		References: []string{"https://example.com/r1"},
	}
	if diff := cmp.Diff(want, rule(t)); diff != "" {
		t.Errorf("rule (-want +got):\n%s", diff)
	}
	for _, id := range []string{"", "two\nlines", " padded", "nul\x00", "\u202e", strings.Repeat("x", 257)} {
		if r, err := clean.NewRule(&pluginv1.Rule{Id: id}); err == nil {
			t.Errorf("NewRule(%.20q) = %+v, want an error", id, r)
		}
	}
	r, err := clean.NewRule(&pluginv1.Rule{Id: "bare", HelpUri: "http://example.com", Severity: 99})
	if diff := cmp.Diff(clean.Rule{ID: "bare", Title: "bare", Severity: host.SeverityUnknown}, r); err != nil || diff != "" {
		t.Errorf("bare rule: %v (-want +got):\n%s", err, diff)
	}
}

func TestFindingLocation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   *pluginv1.Location
		want host.Location
	}{
		"none":            {nil, host.Location{}},
		"all":             {&pluginv1.Location{Path: "a", StartLine: 1, StartColumn: 2, EndLine: 3, EndColumn: 1}, host.Location{Path: "a", StartLine: 1, StartColumn: 2, EndLine: 3, EndColumn: 1}},
		"no line":         {&pluginv1.Location{Path: "a", StartColumn: 2, EndLine: 3}, host.Location{Path: "a"}},
		"line of nowhere": {&pluginv1.Location{StartLine: 1}, host.Location{}},
		"ends before":     {&pluginv1.Location{Path: "a", StartLine: 5, EndLine: 3, EndColumn: 1}, host.Location{Path: "a", StartLine: 5}},
		"backwards":       {&pluginv1.Location{Path: "a", StartLine: 5, StartColumn: 9, EndLine: 5, EndColumn: 2}, host.Location{Path: "a", StartLine: 5, StartColumn: 9, EndLine: 5}},
		"huge":            {&pluginv1.Location{Path: "a", StartLine: 1 << 31}, host.Location{Path: "a"}},
		"web":             {&pluginv1.Location{Url: "https://example.com/x"}, host.Location{URL: "https://example.com/x"}},
		"script":          {&pluginv1.Location{Url: "javascript:alert(1)"}, host.Location{}},
	} {
		f, err := clean.Finding("p", rule(t), &pluginv1.Finding{Location: tc.in})
		if diff := cmp.Diff(tc.want, f.Location); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestFindingDefaultsAndLimits(t *testing.T) {
	t.Parallel()
	props := map[string]string{}
	for i := range 100 {
		props[fmt.Sprintf("key%03d", i)] = strings.Repeat("v", 2000)
	}
	f, err := clean.Finding("p", rule(t), &pluginv1.Finding{
		Message: strings.Repeat("m", 1<<20), Snippet: strings.Repeat("s", 1<<20), Severity: 77, Confidence: 77, Properties: props,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Message) != 8<<10 || len(f.Snippet) != 2<<10 || len(f.Properties) > 20<<10 {
		t.Errorf("message %d, snippet %d, properties %d bytes", len(f.Message), len(f.Snippet), len(f.Properties))
	}
	if f.Severity != host.SeverityHigh || f.Confidence != host.ConfidenceUnknown || f.Title != "Rule one" {
		t.Errorf("severity %s, confidence %s, title %q", f.Severity, f.Confidence, f.Title)
	}
	f, err = clean.Finding("p", rule(t), &pluginv1.Finding{Severity: pluginv1.Severity_SEVERITY_LOW, Confidence: pluginv1.Finding_CONFIDENCE_LOW})
	if err != nil || f.Severity != host.SeverityLow || f.Confidence != host.ConfidenceLow || f.Message != "Rule one" || f.Properties != nil {
		t.Errorf("small finding: %+v, %v", f, err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	at := host.Location{Path: "a/b.go", StartLine: 3}
	base := clean.Fingerprint("p", "r", at, nil, "x := 1")
	// Stored findings are told apart by it: this value must never change.
	if want := "v1:2275ad2a377c26f01688c9f01e7f54a1662ee783faea6bae9f7297b28d83ab56"; base != want {
		t.Errorf("fingerprint %s, want %s", base, want)
	}
	same := map[string]string{
		"other line":   clean.Fingerprint("p", "r", host.Location{Path: "a/b.go", StartLine: 90}, nil, "x := 1"),
		"re-indented":  clean.Fingerprint("p", "r", at, nil, "\t x  :=\n1 "),
		"url as well":  clean.Fingerprint("p", "r", host.Location{Path: "a/b.go", URL: "https://x/"}, nil, "x := 1"),
		"nil or empty": clean.Fingerprint("p", "r", at, []string{}, "x := 1"),
	}
	for name, got := range same {
		if got != base {
			t.Errorf("%s: changes the fingerprint", name)
		}
	}
	seen := map[string]string{base: "base"}
	for name, got := range map[string]string{
		"plugin":         clean.Fingerprint("q", "r", at, nil, "x := 1"),
		"rule":           clean.Fingerprint("p", "q", at, nil, "x := 1"),
		"path":           clean.Fingerprint("p", "r", host.Location{Path: "a/c.go"}, nil, "x := 1"),
		"url":            clean.Fingerprint("p", "r", host.Location{URL: "a/b.go"}, nil, "x := 1"),
		"snippet":        clean.Fingerprint("p", "r", at, nil, "x := 2"),
		"identity":       clean.Fingerprint("p", "r", at, []string{"x := 1"}, ""),
		"parts":          clean.Fingerprint("p", "r", at, []string{"x", ":= 1"}, ""),
		"shifted parts":  clean.Fingerprint("p", "r", at, []string{"x :", "= 1"}, ""),
		"shifted fields": clean.Fingerprint("pr", "", at, nil, "x := 1"),
	} {
		if other, dup := seen[got]; dup {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[got] = name
	}
	nfd, _ := clean.Finding("p", rule(t), &pluginv1.Finding{Location: &pluginv1.Location{Path: "e\u0301"}})
	nfc, _ := clean.Finding("p", rule(t), &pluginv1.Finding{Location: &pluginv1.Location{Path: "\u00e9"}, Message: "reworded", Severity: 1})
	if nfd.Fingerprint != nfc.Fingerprint {
		t.Error("the normal form of the path or the message changes the fingerprint")
	}
}

func TestContent(t *testing.T) {
	t.Parallel()
	base := clean.Content("p", "r", nil, "x := 1")
	if got := clean.Content("p", "r", []string{}, "\tx  := 1"); got != base || base == "" {
		t.Errorf("re-indented it is %q, not %q", got, base)
	}
	for name, got := range map[string]string{
		"rule": clean.Content("p", "q", nil, "x := 1"), "identity": clean.Content("p", "r", []string{"x := 1"}, ""),
	} {
		if got == base || got == "" {
			t.Errorf("another %s is %q", name, got)
		}
	}
	for name, got := range map[string]string{
		"no text": clean.Content("p", "r", nil, " \n"), "redacted": clean.Content("p", "r", []string{`key = "AKIA****"`}, ""),
	} {
		if got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// unclean says what is wrong with text that was cleaned, "" when nothing is.
func unclean(s string, lines bool) string {
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	for _, r := range s {
		switch {
		case lines && (r == '\n' || r == '\t'):
		case r < 0x20, r >= 0x7f && r <= 0x9f:
			return fmt.Sprintf("has the control character %U", r)
		case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return fmt.Sprintf("has %U", r)
		}
	}
	return ""
}

func FuzzText(f *testing.F) {
	f.Add("a\x00\x1b\u202e\r\n\xff", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 3 + int(uint(limit)%5000)
		text, line := clean.Text(s, limit), clean.Line(s, limit)
		if bad := unclean(text, true); bad != "" || len(text) > limit {
			t.Errorf("Text(%q, %d) = %q: %s", s, limit, text, bad)
		}
		if bad := unclean(line, false); bad != "" || len(line) > limit || strings.TrimSpace(line) != line {
			t.Errorf("Line(%q, %d) = %q: %s", s, limit, line, bad)
		}
		if again := clean.Text(text, limit); again != text {
			t.Errorf("Text is not idempotent: %q, then %q", text, again)
		}
		if again := clean.Line(line, limit); again != line {
			t.Errorf("Line is not idempotent: %q, then %q", line, again)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("a/../b")
	f.Add("./e\u0301/\x00")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := clean.Path(s)
		if err != nil {
			if !errors.Is(err, clean.ErrOutside) {
				t.Errorf("Path(%q): %v", s, err)
			}
			return
		}
		if bad := unclean(p, false); bad != "" {
			t.Errorf("Path(%q) = %q: %s", s, p, bad)
		}
		if strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || !norm.NFC.IsNormalString(p) || len(p) > 4<<10 {
			t.Errorf("Path(%q) = %q", s, p)
		}
		for part := range strings.SplitSeq(p, "/") {
			if part == ".." || part == "." {
				t.Errorf("Path(%q) = %q", s, p)
			}
		}
		if again, err := clean.Path(p); err != nil || again != p {
			t.Errorf("Path is not idempotent: %q, then %q, %v", p, again, err)
		}
	})
}

func FuzzFinding(f *testing.F) {
	f.Add("message", "snippet", "a/b", "https://example.com/", "key", "value", "part", uint32(1), uint32(2), int32(3))
	fingerprint := regexp.MustCompile(`^v1:[0-9a-f]{64}$`)
	f.Fuzz(func(t *testing.T, message, snippet, path, url, key, value, part string, from, to uint32, level int32) {
		got, err := clean.Finding("p", rule(t), &pluginv1.Finding{
			Message: message, Snippet: snippet, Identity: []string{part}, Properties: map[string]string{key: value},
			Severity: pluginv1.Severity(level), Confidence: pluginv1.Finding_Confidence(level),
			Location: &pluginv1.Location{Path: path, Url: url, StartLine: from, StartColumn: to, EndLine: to, EndColumn: from},
		})
		if err != nil {
			return
		}
		for _, s := range []string{got.Message, got.Snippet} {
			if bad := unclean(s, true); bad != "" {
				t.Errorf("%q %s", s, bad)
			}
		}
		if bad := unclean(got.Location.URL, false); bad != "" {
			t.Errorf("%q %s", got.Location.URL, bad)
		}
		if got.Message == "" || !fingerprint.MatchString(got.Fingerprint) || got.Location.StartLine < 0 || got.Location.EndLine < 0 {
			t.Errorf("finding %+v", got)
		}
		if _, err := host.ParseSeverity(string(got.Severity)); err != nil {
			t.Error(err)
		}
		var props map[string]string
		if got.Properties != nil {
			if err := json.Unmarshal(got.Properties, &props); err != nil || strings.Contains(string(got.Properties), `\u0000`) {
				t.Errorf("properties %s: %v", got.Properties, err)
			}
		}
	})
}
