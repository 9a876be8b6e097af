package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func proxies(header string, trusted ...string) *Proxies {
	p := &Proxies{Header: header}
	for _, t := range trusted {
		p.Trusted = append(p.Trusted, netip.MustParsePrefix(t))
	}
	return p
}

func from(peer, header string, lines ...string) *http.Request {
	return &http.Request{RemoteAddr: peer, Header: http.Header{header: lines}}
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	nobody, ten, v6 := proxies(xff), proxies(xff, "10.0.0.0/8"), proxies(xff, "10.0.0.0/8", "fd00::/8")
	rfc := proxies(fwd, "10.0.0.0/8", "fd00::/8")
	for _, tt := range []struct {
		name string
		p    *Proxies
		r    *http.Request
		want string
	}{
		{"nobody is trusted", nobody, from("192.0.2.1:5", xff, "198.51.100.7"), "192.0.2.1"},
		{"the zero value", &Proxies{}, from("127.0.0.1:5", xff, "198.51.100.7"), "127.0.0.1"},
		{"no proxy", ten, from("192.0.2.1:5", xff, "198.51.100.7"), "192.0.2.1"},
		{"one proxy", ten, from("10.0.0.1:5", xff, "198.51.100.7"), "198.51.100.7"},
		{"one that invents", ten, from("10.0.0.1:5", xff, "1.1.1.1, 198.51.100.7"), "198.51.100.7"},
		{"one that invents in a line of its own", ten, from("10.0.0.1:5", xff, "1.1.1.1", "198.51.100.7"), "198.51.100.7"},
		{"two proxies", ten, from("10.0.0.1:5", xff, "1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7"},
		{"one that invents proxies", ten, from("10.0.0.1:5", xff, "10.0.0.2,198.51.100.7"), "198.51.100.7"},
		{"a proxy asks for itself", ten, from("10.0.0.1:5", xff, "10.0.0.2"), "10.0.0.2"},
		{"a proxy that says nothing", ten, from("10.0.0.1:5", xff), "10.0.0.1"},
		{"nonsense", ten, from("10.0.0.1:5", xff, "198.51.100.7, unknown"), "10.0.0.1"},
		{"nonsense behind another proxy", ten, from("10.0.0.1:5", xff, "nonsense, 10.0.0.2"), "10.0.0.2"},
		{"empty elements", ten, from("10.0.0.1:5", xff, "198.51.100.7, ,"), "10.0.0.1"},
		{"with a port", ten, from("10.0.0.1:5", xff, "198.51.100.7:1234"), "198.51.100.7"},
		{"IPv6", v6, from("[fd00::1]:5", xff, "2001:db8::7"), "2001:db8::7"},
		{"IPv6 in brackets", v6, from("[fd00::1]:5", xff, "[2001:db8::7]:443, [fd00::2]"), "2001:db8::7"},
		{"IPv6 with a zone", v6, from("[fd00::1%eth0]:5", xff, "2001:db8::7"), "2001:db8::7"},
		{"IPv4 in IPv6", ten, from("[::ffff:10.0.0.1]:5", xff, "::ffff:198.51.100.7"), "198.51.100.7"},
		{"the other header", ten, from("10.0.0.1:5", fwd, "for=198.51.100.7"), "10.0.0.1"},
		{"the other header, again", rfc, from("10.0.0.1:5", xff, "198.51.100.7"), "10.0.0.1"},
		{"no TCP", ten, from("@", xff, "198.51.100.7"), "invalid IP"},

		{"forwarded", rfc, from("10.0.0.1:5", fwd, "for=198.51.100.7;proto=https"), "198.51.100.7"},
		{"forwarded by two", rfc, from("10.0.0.1:5", fwd, "for=1.1.1.1, for=198.51.100.7;by=10.0.0.9 , For=10.0.0.2"), "198.51.100.7"},
		{"forwarded IPv6", rfc, from("10.0.0.1:5", fwd, `host="a,b;c\"d";for="[2001:db8::7]:443"`), "2001:db8::7"},
		{"forwarded without for", rfc, from("10.0.0.1:5", fwd, "for=1.1.1.1, proto=https"), "10.0.0.1"},
		{"forwarded by somebody who hides", rfc, from("10.0.0.1:5", fwd, "for=_hidden, for=10.0.0.2"), "10.0.0.2"},
		{"forwarded twice", rfc, from("10.0.0.1:5", fwd, "for=1.1.1.1;for=198.51.100.7"), "10.0.0.1"},
		{"a quote that swallows", rfc, from("10.0.0.1:5", fwd, `for=1.1.1.1;x=", for=198.51.100.7`), "10.0.0.1"},
		{"a quote that swallows another", rfc, from("10.0.0.1:5", fwd, `for=1.1.1.1;x=", for="[2001:db8::7]"`), "10.0.0.1"},
		{"a quote in a line of its own", rfc, from("10.0.0.1:5", fwd, `for=1.1.1.1;x="`, `for=198.51.100.7`), "198.51.100.7"},
		{"forwarded nonsense", rfc, from("10.0.0.1:5", fwd, "198.51.100.7"), "10.0.0.1"},
	} {
		if got := tt.p.clientOf(tt.r).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	for a, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2:ffff::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := neighbours(plain(netip.MustParseAddr(a))); got != want {
			t.Errorf("%s counts with %s, want %s", a, got, want)
		}
	}
}

// FuzzClientOf: whatever a client writes, what the proxy in front adds decides.
func FuzzClientOf(f *testing.F) {
	for _, s := range []string{
		"", "1.1.1.1", "10.0.0.7, 10.0.0.8", "unknown", "[::1]:80", "for=1.1.1.1", `for="[2001:db8::1]:80";by=x`,
		`for=1.1.1.1;x="`, `x="\`, `x="a\"`, "for=1.1.1.1,", ";", "=", "for=10.0.0.1%eth0", strings.Repeat("for=10.0.0.2,", 100),
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, written string, rfc bool) {
		header, add := "X-Forwarded-For", ", 198.51.100.7"
		if rfc {
			header, add = "Forwarded", `, for=198.51.100.7`
		}
		p := proxies(header, "10.0.0.0/8")
		if got := p.clientOf(from("203.0.113.5:1", header, written)); got.String() != "203.0.113.5" {
			t.Errorf("%q from nobody who is trusted: %s", written, got)
		}
		// Added to the client's line: the client can make it unreadable, and is
		// then counted as the proxy; it cannot be somebody else.
		got := p.clientOf(from("10.0.0.1:1", header, written+add)).String()
		if got != "198.51.100.7" && (got != "10.0.0.1" || !rfc) {
			t.Errorf("%q and then %q: %s", written, add, got)
		}
		if got := p.clientOf(from("10.0.0.1:1", header, written, strings.TrimPrefix(add, ", "))); got.String() != "198.51.100.7" {
			t.Errorf("%q and a line with %q: %s", written, add, got)
		}
		if a := p.clientOf(from("10.0.0.1:1", header, written)); !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			t.Errorf("%q alone: %s", written, a)
		}
	})
}
