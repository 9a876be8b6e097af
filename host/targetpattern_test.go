package host_test

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host"
)

func TestTargetPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, hits, misses string // host|port
	}{
		{"shop.example.com", "shop.example.com|443 shop.example.com|1", "example.com|443 a.shop.example.com|443 xshop.example.com|443 |443"},
		{"shop.example.com:8443", "shop.example.com|8443", "shop.example.com|443 shop.example.com|84430"},
		{"*.example.com", "a.example.com|80 a.b.example.com|80", "example.com|80 xexample.com|80"},
		{"*", "a|1 127.0.0.1|80 [::1]|80", ""},
		{"*:443", "a|443", "a|80"},
		{"localhost", "localhost|8080", "a.localhost|80"},
		{"192.0.2.7:80", "192.0.2.7|80", "192.0.2.7|81 192.0.2.70|80"},
		{"[2001:db8::1]", "[2001:db8::1]|80", "[2001:db8::2]|80 2001:db8::1|80"},
		{"[::1]:8080", "[::1]|8080", "[::1]|80"},
	} {
		p, err := host.ParseTargetPattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		}
		for s := range strings.FieldsSeq(c.hits) {
			if h, port, _ := strings.Cut(s, "|"); !p.Matches(h, port) {
				t.Errorf("%s does not cover %s", c.pattern, s)
			}
		}
		for s := range strings.FieldsSeq(c.misses) {
			if h, port, _ := strings.Cut(s, "|"); p.Matches(h, port) {
				t.Errorf("%s covers %s", c.pattern, s)
			}
		}
	}
	for _, s := range []string{"", ":80", "*.", "*.:80", "Example.com", "bücher.example", "https://example.com", "example.com/", "a b", "**", "*.*.com", "a..b", ".a", "a.", "example.com:0",
		"example.com:080", "example.com:65536", "example.com:x", "example.com:", "[::1", "::1", "[::0001]", "[::ffff:1.2.3.4]x", "[fe80::1%eth0]", "*.[::1]", "a@b", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com"} {
		if p, err := host.ParseTargetPattern(s); err == nil {
			t.Errorf("%q is taken for %+v", s, p)
		}
	}
	if (host.TargetPattern{}).Matches("a", "80") {
		t.Error("no pattern covers something")
	}
}

// FuzzTargetPattern: what is taken covers what it names and nothing beside.
func FuzzTargetPattern(f *testing.F) {
	for _, s := range []string{"*", "*.example.com", "example.com:8443", "[::1]:80", "10.0.0.1", "*:1", "a:b", "[::1]"} {
		f.Add(s, "www.example.com")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		p, err := host.ParseTargetPattern(s)
		if err != nil {
			return
		}
		plain, port, _ := strings.Cut(strings.TrimPrefix(s, "*."), ":")
		if port == "" {
			port = "443"
		}
		if strings.HasPrefix(s, "*.") && p.Matches(plain, port) {
			t.Errorf("%q covers %q", s, plain)
		}
		if p.Matches(name, port) && !strings.HasPrefix(s, "*") && !strings.HasPrefix(s, name) {
			t.Errorf("%q covers %q", s, name)
		}
	})
}
