package main

import (
	"net/netip"
	"net/url"
	"testing"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/egress"
)

// TestTargetPatternsAgree: the configuration, the host and a plugin's dialer know
// nothing of each other, and read the same in a pattern.
func TestTargetPatternsAgree(t *testing.T) {
	t.Parallel()
	names := []string{
		"*", "*.example.com", "shop.example.com", "localhost", "10.0.0.7", "[fd00::7]", "[::ffff:10.0.0.7]", "a_b", "xn--bcher-kva.example",
		"", "*.", "**", "*.*.com", "Shop.example.com", "bücher.example", "a..b", "a.", ".a", "fd00::7", "[10.0.0.7]", "[fd00:0::7]", "[FD00::7]", "[fd00::7%eth0]", "[fd00::7",
		"*.[fd00::7]", "https://a", "a/b", "a b", "a@b", "[]",
	}
	for _, name := range names {
		for _, port := range []string{"", ":443", ":8443", ":65535", ":65536", ":0", ":080", ":", ":x", ":-1"} {
			s := name + port
			p, err := host.ParseTargetPattern(s)
			if said := config.CheckTarget(s); (said == nil) != (err == nil) {
				t.Errorf("%q: the configuration says %v, the host %v", s, said, err)
			}
			if err == nil {
				agree(t, s, p)
			}
		}
	}
}

// agree compares what the host and the dialer permit by one pattern.
func agree(t *testing.T, s string, p host.TargetPattern) {
	t.Helper()
	g, err := egress.New(egress.Config{
		Permitted: []string{s}, Literals: true, Ports: []egress.Ports{{First: 1, Last: 65535}},
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16")},
		Own:   func() ([]netip.Addr, error) { return nil, nil }, // this machine may have one of them
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop.example.com", "a.shop.example.com", "example.com", "xexample.com", "localhost", "xn--bcher-kva.example", "10.0.0.7", "10.0.0.8", "[fd00::7]", "[fd00::8]"} {
		for _, port := range []string{"80", "443", "8443", "65535"} {
			if said, dialer := p.Matches(name, port), g.Permits(&url.URL{Scheme: "http", Host: name + ":" + port}); said != dialer {
				t.Errorf("%q at %s:%s: the host says %t, the dialer %t", s, name, port, said, dialer)
			}
		}
	}
}

// TestEgressHostsAgree: what the configuration takes in egress_hosts the proxy does.
func TestEgressHostsAgree(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"api.example.com", "API.Example.com.", "*.example.com:8443", "bücher.example", "intranet:80", "8.8.8.8", "8.8.8.8:53", "2606:4700::1111", "[2606:4700::1111]", "[2606:4700:0::1111]:443",
		"", "*", "*.", "a.*.com", "**.example.com", "https://example.com", "example.com/", "example.com:", "example.com:0", "example.com:http", "example.com:80-90", "a_b.example.com",
		"127.1", "0x7f.1", "*.1", "a b", "u@example.com", "::ffff:10.0.0.1", "[fe80::1%eth0]:80", "a..b", "-a.example", "[example.com]", "*.8.8.8.8",
	} {
		_, err := egress.ParseHost(s)
		if said := config.CheckHost(s); (said == nil) != (err == nil) {
			t.Errorf("%q: the configuration says %v, the proxy %v", s, said, err)
		}
	}
}

// TestOwnTargets: that a tenant may have nothing scanned is not that it has what its
// plan says.
func TestOwnTargets(t *testing.T) {
	t.Parallel()
	var o host.Override
	if err := override(&o, "targets="); err != nil {
		t.Fatal(err)
	}
	if o.Targets == nil || *o.Targets == nil || len(*o.Targets) != 0 {
		t.Errorf("without any: %v", o.Targets)
	}
	if err := override(&o, "targets=default"); err != nil || o.Targets != nil {
		t.Errorf("of the plan: %v, %v", o.Targets, err)
	}
}
