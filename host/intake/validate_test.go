package intake_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

func TestParseOptions(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, c := range []struct{ in, want string }{
		{``, ``},
		{`null`, ``},
		{`{}`, `{}`},
		{` {"b": [1, 2.50, true, null], "a":"x"} `, `{"a":"x","b":[1,2.50,true,null]}`},
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`{"n":123456789012345678901234567890}`, `{"n":123456789012345678901234567890}`},
		{nested(8), nested(8)},
	} {
		got, err := intake.ParseOptions(json.RawMessage(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("ParseOptions(%.60s) = %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	for name, in := range map[string]string{
		"array": `[]`, "string": `"x"`, "number": `1`, "cut off": `{"a":`, "two values": `{} {}`,
		"trailing": `{} x`, "too deep": nested(9), "deep array": `{"a":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`,
		"very deep": nested(2000), "too large": `{"a":"` + strings.Repeat("x", intake.MaxOptions) + `"}`,
		"not UTF-8": "{\"a\":\"\xff\"}", "NUL": `{"a":"\u0000"}`, "NUL in a name": `{"\u0000":1}`,
		"half a pair": `{"a":"\ud800"}`, "number out of range": `{"a":1e400000}`, "number too small": `{"a":[1e-2000000]}`,
	} {
		if got, err := intake.ParseOptions(json.RawMessage(in)); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: ParseOptions = %.60s, %v; want ErrInvalid", name, got, err)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":null}]}`, `{"a":"\u0000"}`, `[]`, `{"a":1e999}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := intake.ParseOptions(in)
		if err != nil || out == nil {
			return
		}
		again, err := intake.ParseOptions(out)
		if err != nil || string(again) != string(out) {
			t.Errorf("ParseOptions(%q) = %q, and of that %q, %v", in, out, again, err)
		}
	})
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://example.com":                "http://example.com",
		"HTTPS://example.com:8443/a b?c#d":  "https://example.com:8443/a%20b?c#d",
		"https://[::1]:80/":                 "https://[::1]:80/",
		"https://example.com/%2e%2e/x?a=%0": "https://example.com/%2e%2e/x?a=%0",
	} {
		if got, err := intake.ParseURL(in); err != nil || got != want {
			t.Errorf("ParseURL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)", "http:example.com",
		"http://", "http://:80", "http://user@example.com", "http://user:pw@example.com", "http://example.com:",
		"http://example.com:0", "http://example.com:65536", "http://exa mple.com", "http://example.com/\n", "http://example.com/\xff",
		"//example.com", "http://" + strings.Repeat("a", intake.MaxURL), "http://example.com/" + strings.Repeat("ü", 500),
	} {
		if got, err := intake.ParseURL(in); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("ParseURL(%.60q) = %.60q, %v; want ErrInvalid", in, got, err)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"http://example.com", "https://[::1]:80/?q#f", "http://a@b", "http://a\\@b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := intake.ParseURL(in)
		if err != nil {
			return
		}
		u, err := url.Parse(out)
		if err != nil || u.User != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("ParseURL(%q) = %q, which reads as %v, %v", in, out, u, err)
		}
		if again, err := intake.ParseURL(out); err != nil || again != out {
			t.Errorf("ParseURL(%q) = %q, and of that %q, %v", in, out, again, err)
		}
	})
}
