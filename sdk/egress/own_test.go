package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/sdk/egress"
	"github.com/securetaghq/securetag/sdk/egress/egresstest"
)

func networks(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func ownInside() (out []netip.Addr, _ error) {
	for _, s := range egresstest.OwnInside() {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// TestOwn: a network that is allowed does not open this host's own addresses in
// it, and one that is allowed by itself is open.
func TestOwn(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{Allow: networks(egresstest.Inside()...), Own: ownInside})
	for _, a := range egresstest.RefusedInside() {
		err := g.CheckAddr(netip.MustParseAddr(a))
		if r := (*egress.Refused)(nil); !errors.As(err, &r) || r.Rule != egress.RuleOwn && r.Rule != egress.RuleMetadata {
			t.Errorf("%s: %v, want it refused", a, err)
		}
	}
	for _, a := range egresstest.AllowedInside() {
		if err := g.CheckAddr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s is in a network that is allowed: %v", a, err)
		}
	}
	want := `"10.1.2.3" is refused: it is an address of this host, and those must be allowed by themselves, as 10.1.2.3/32, and not with a network`
	if err := g.CheckAddr(netip.MustParseAddr("10.1.2.3")); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	named := guard(t, egress.Config{Own: ownInside, Allow: append(networks(egresstest.Inside()...), networks("10.1.2.3/32", "fd12::1:2:3/128", "93.184.216.99/32", "127.0.0.0/8", "::1/128")...)})
	for a, ok := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd12::1:2:3": true, "93.184.216.99": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"10.255.255.255": false, "64:ff9b::10.1.2.3": false, "::": false,
	} {
		if err := named.CheckAddr(netip.MustParseAddr(a)); (err == nil) != ok {
			t.Errorf("%s, of which some are named: %v", a, err)
		}
	}

	// What is written, and what a name leads to, are looked at as well.
	leads := guard(t, egress.Config{Allow: networks("10.0.0.0/8"), Own: ownInside, Resolver: &names{addrs: [][]string{{"10.9.9.9", "10.1.2.3"}}}})
	if _, err := leads.DialContext(t.Context(), "tcp", "shop.example.com:80"); err == nil || !strings.Contains(err.Error(), "it has the address 10.1.2.3, and it is an address of this host") {
		t.Errorf("by its name: %v", err)
	}
	if _, err := g.ParseURL("http://10.1.2.3/"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("by its address: %v", err)
	}
	if err := g.Control("10.1.2.3:80"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("at the socket: %v", err)
	}
}

// TestInterfaces: without a word about it the addresses are those of the
// interfaces, each of which is refused in the widest network that has it.
func TestInterfaces(t *testing.T) {
	t.Parallel()
	all, err := net.InterfaceAddrs()
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, one := range all {
		p, err := netip.ParsePrefix(one.String())
		if err != nil {
			t.Fatal(err)
		}
		a := p.Addr().Unmap()
		for bits, want := range map[int]bool{1: false, a.BitLen() - 1: a.IsLoopback() && a.Is4(), a.BitLen(): true} {
			p, _ := a.Prefix(bits)
			g, err := egress.New(egress.Config{Allow: []netip.Prefix{p}})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.CheckAddr(a); (err == nil) != want {
				t.Errorf("%s with %s allowed: %v", a, p, err)
			}
		}
	}
}

// TestOwnChanges: an address that this host gets is refused a second later at the
// latest, one that it had is not, and it is asked once a second however much is
// looked at.
func TestOwnChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.4.5.6")
		now, broken, asked := []netip.Addr{a}, error(nil), 0
		g := guard(t, egress.Config{Allow: networks("10.0.0.0/8"), Own: func() ([]netip.Addr, error) { asked++; return slices.Clone(now), broken }})
		other := g.Permitting([]string{"*"})
		for range 100 {
			if g.CheckAddr(a) == nil || other.CheckAddr(b) != nil {
				t.Fatal("at first")
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		now = []netip.Addr{b}
		time.Sleep(time.Second)
		if g.CheckAddr(a) != nil || other.CheckAddr(b) == nil {
			t.Error("after it moved")
		}
		broken = errors.New("no netlink")
		time.Sleep(time.Second)
		if g.CheckAddr(a) == nil {
			t.Error("it dials although it does not know its own addresses")
		}
		if broken = nil; g.CheckAddr(a) != nil {
			t.Error("it stays as it was when it did not know")
		}
	})
}

// ends is a connection between two addresses.
type ends struct {
	net.Conn
	from, to net.Addr
}

func (e ends) LocalAddr() net.Addr  { return e.from }
func (e ends) RemoteAddr() net.Addr { return e.to }

// TestItself: an address that no interface has may lead to this host all the same.
func TestItself(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{Allow: networks("10.0.0.0/8", "10.7.7.7/32", "127.0.0.0/8")})
	at := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"10.1.1.1:5000", "10.2.2.2:80", true}, {"10.2.2.2:5000", "10.2.2.2:80", false}, {"[::ffff:10.2.2.2]:5000", "10.2.2.2:80", false},
		{"34.1.1.1:5000", "34.1.1.1:443", false}, {"10.7.7.7:5000", "10.7.7.7:80", true}, {"127.0.0.1:5000", "127.0.0.1:80", true},
	} {
		if err := g.CheckConn(ends{from: at(tt.from), to: at(tt.to)}); (err == nil) != tt.ok || err != nil && !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s to %s: %v", tt.from, tt.to, err)
		}
	}
}
