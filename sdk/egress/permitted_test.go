package egress_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/egress"
)

// TestPermitted: what is not among the hosts is refused as a URL and by the dialer,
// however it is written.
func TestPermitted(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{
		Permitted: []string{"shop.acme.com", "*.acme.org:443", "xn--bcher-kva.acme.net", "10.0.0.7", "[fd00::7]:80"},
		Allow:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16")},
		Resolver:  resolver(func(string) []string { return nil }),
	})
	for raw, ok := range map[string]bool{
		"https://shop.acme.com/": true, "http://SHOP.acme.com./": true, "https://ｓhop.acme.com/": true, "https://a.b.acme.org/": true, "http://bücher.acme.net/": true,
		"http://10.0.0.7/": true, "http://[fd00::7]/": true, "http://[fd00:0::7]/": true,
		"http://a.acme.org/": false, "https://acme.org/": false, "https://acme.com/": false, "https://a.shop.acme.com/": false, "https://shop.acme.com.evil.net/": false,
		"https://xshop.acme.com/": false, "http://10.0.0.8/": false, "https://[fd00::7]/": false, "http://[fd00::8]/": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.CheckURL(u); (err == nil) != ok || g.Permits(u) != ok {
			t.Errorf("%s: %v, permitted %t, want %t", raw, err, g.Permits(u), ok)
		}
	}
	for _, address := range []string{"a.acme.org:80", "acme.com:443", "10.0.0.8:80", "[fd00::7]:443"} {
		if _, err := g.DialContext(t.Context(), "tcp", address); !errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), "not one of the hosts") {
			t.Errorf("dialled %s: %v", address, err)
		}
	}
	all := guard(t, egress.Config{Permitted: []string{"*"}})
	if _, err := all.ParseURL("https://anything.acme.com/"); err != nil {
		t.Error(err)
	}
}
