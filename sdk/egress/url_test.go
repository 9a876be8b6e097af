package egress_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/egress"
	"github.com/securetaghq/securetag/sdk/egress/egresstest"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{})
	for _, raw := range append(egresstest.RefusedURLs(), "", " http://hooks.acme.com/", "http://hooks.acme.com /", "http://hooks.acme.com\n/",
		"http://"+strings.Repeat("a", 64)+".com/", "http://"+strings.Repeat("a.", 127)+"com/", "http://hooks.acme.com/"+strings.Repeat("x", 2048)) {
		if u, err := g.ParseURL(raw); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%.80q: %v, %v, want it refused", raw, u, err)
		}
	}
	for _, raw := range []string{
		"https://hooks.acme.com", "http://hooks.acme.com/", "https://hooks.acme.com:443/a/b?c=d&e=%20", "http://hooks.acme.com:80/", "HTTPS://HOOKS.ACME.COM/",
		"https://hooks.acme.com./", "https://bücher.de/", "https://xn--bcher-kva.de/", "https://1password.com/", "https://4.example.com/", "https://0xab.com/",
	} {
		if _, err := g.ParseURL(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// TestAllowedURLs: where networks of the inside are allowed, so are names of the
// inside, and addresses in those networks.
func TestAllowedURLs(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Ports: []egress.Ports{{80, 80}, {8000, 8999}}})
	for raw, ok := range map[string]bool{
		"http://10.1.2.3/": true, "http://hooks/": true, "http://hooks.corp.internal:8080/": true, "http://localhost:8999/": true,
		"http://127.0.0.1/": false, "http://0xa.1.2.3/": false, "http://8.8.8.8/": false, "http://metadata.google.internal/": false, "http://hooks:9000/": false, "https://hooks/": false,
	} {
		if _, err := g.ParseURL(raw); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
	literals := guard(t, egress.Config{Literals: true})
	for raw, ok := range map[string]bool{"https://8.8.8.8/": true, "https://[2606:4700::1111]/": true, "https://127.0.0.1/": false, "https://0x08080808/": false} {
		if _, err := literals.ParseURL(raw); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// FuzzURL: what passes is a URL that says the same when it is read again, to a
// host that no resolver takes for an address.
func FuzzURL(f *testing.F) {
	for _, raw := range append(egresstest.RefusedURLs(), "https://hooks.acme.com/a?b=c", "https://bücher.de/", "https://hooks.acme.com.:443") {
		f.Add(raw)
	}
	g := guard(f, egress.Config{})
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := g.ParseURL(raw)
		if err != nil {
			if !errors.Is(err, egress.ErrRefused) {
				t.Errorf("%q: %v is no refusal", raw, err)
			}
			return
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host || g.CheckURL(again) != nil {
			t.Errorf("%q passes as %q, which reads as %+v, %v", raw, u, again, err)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil {
			t.Errorf("%q is an address", raw)
		}
		if u.User != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.Contains(u.Hostname(), ".") && !strings.ContainsAny(u.Hostname(), "。．｡") {
			t.Errorf("%q passes as %+v", raw, u)
		}
	})
}
