package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/sdk/egress"
	"github.com/securetaghq/securetag/sdk/egress/egresstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func guard(t testing.TB, cfg egress.Config) *egress.Guard {
	t.Helper()
	if cfg.Own == nil {
		cfg.Own = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr(egresstest.Own)}, nil }
	}
	g, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestAddresses has both ends of every network that is refused, and the public
// neighbours of each.
func TestAddresses(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{})
	for _, a := range egresstest.RefusedAddresses() {
		err := g.CheckAddr(netip.MustParseAddr(a))
		if r := (*egress.Refused)(nil); !errors.As(err, &r) || !errors.Is(err, egress.ErrRefused) || r.Reason == "" {
			t.Errorf("%s: %v, want it refused", a, err)
		}
	}
	for _, a := range egresstest.PublicAddresses() {
		if err := g.CheckAddr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s is public: %v", a, err)
		}
	}
	if g.CheckAddr(netip.Addr{}) == nil {
		t.Error("no address at all is let through")
	}
}

// TestAllowed: what the operator allowed is reached, and neither what is beside
// it nor a metadata service within it.
func TestAllowed(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{Allow: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("93.184.216.0/24"), netip.MustParsePrefix("168.63.0.0/16"),
	}})
	for a, ok := range map[string]bool{
		"10.1.2.3": true, "fd12::1": true, "::ffff:10.1.2.3": true, "100.64.0.1": true, "93.184.216.98": true, "8.8.8.8": true,
		"11.0.0.1": true, "172.16.0.1": false, "127.0.0.1": false, "fc00::1": false,
		"fd00:ec2::254": false, "fd20:ce::254": false, "100.100.100.200": false, "169.254.169.254": false, "::ffff:169.254.169.254": false, "168.63.129.16": false,
	} {
		if err := g.CheckAddr(netip.MustParseAddr(a)); (err == nil) != ok {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, bad := range []egress.Config{
		{Allow: []netip.Prefix{{}}}, {Allow: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}, {Redirects: -1}, {Timeout: -1}, {MaxBody: -1},
	} {
		if _, err := egress.New(bad); err == nil {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	broken := guard(t, egress.Config{Own: func() ([]netip.Addr, error) { return nil, errors.New("no netlink") }})
	if broken.CheckAddr(netip.MustParseAddr("8.8.8.8")) == nil {
		t.Error("it dials although it does not know its own addresses")
	}
	real, err := egress.New(egress.Config{})
	if err != nil || real.CheckAddr(netip.MustParseAddr("8.8.8.8")) != nil {
		t.Errorf("with this host's interfaces: %v", err)
	}
}

// names resolves by a table, a lookup after the other.
type names struct {
	addrs [][]string
	asked atomic.Int32
	name  atomic.Value
}

func (n *names) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	n.name.Store(name)
	i := int(n.asked.Add(1)) - 1
	var out []netip.Addr
	for _, a := range n.addrs[min(i, len(n.addrs)-1)] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func TestDialRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		addrs   []string
		address string
		want    string
	}{
		"inside":           {[]string{"10.0.0.1"}, "hooks.example.com:443", "it has the address 10.0.0.1, and it is not a public address"},
		"one of several":   {[]string{"93.184.216.34", "127.0.0.1"}, "hooks.example.com:443", "127.0.0.1"},
		"mapped":           {[]string{"::ffff:127.0.0.1"}, "hooks.example.com:443", "127.0.0.1"},
		"metadata":         {[]string{"169.254.169.254"}, "hooks.example.com:80", "metadata service"},
		"this host":        {[]string{"93.184.216.99"}, "hooks.example.com:443", "it is an address of this host"},
		"nothing":          {nil, "hooks.example.com:443", "no address"},
		"a literal":        {nil, "127.0.0.1:80", "not a public address"},
		"a public literal": {nil, "8.8.8.8:80", "write the name"},
		"another port":     {[]string{"93.184.216.34"}, "hooks.example.com:6379", "not one of the ports"},
		"port 0":           {[]string{"93.184.216.34"}, "hooks.example.com:0", "not one of the ports"},
		"no port":          {nil, "hooks.example.com", "not host:port"},
		"a service's name": {nil, "hooks.example.com:https", "not a port of TCP"},
	} {
		g := guard(t, egress.Config{Resolver: &names{addrs: [][]string{tt.addrs}}})
		conn, err := g.DialContext(t.Context(), "tcp", tt.address)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %q", name, conn, err, tt.want)
		}
	}
	g := guard(t, egress.Config{})
	if _, err := g.DialContext(t.Context(), "udp", "hooks.example.com:443"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("UDP: %v", err)
	}
}

// TestDial: what is dialled is what was looked at, and a name is asked for once,
// without search domains.
func TestDial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	_, digits, _ := net.SplitHostPort(l.Addr().String())
	n := &names{addrs: [][]string{{"127.0.0.1"}, {"169.254.169.254"}}}
	g := guard(t, egress.Config{Resolver: n, Ports: []egress.Ports{{port, port}}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	conn, err := g.DialContext(t.Context(), "tcp", "Hooks.Example.COM.:"+digits)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n.asked.Load() != 1 || n.name.Load() != "hooks.example.com." {
		t.Errorf("asked %d times, for %v", n.asked.Load(), n.name.Load())
	}
	// The second answer of a name that rebinds.
	if _, err := g.DialContext(t.Context(), "tcp", "hooks.example.com:"+digits); err == nil || !strings.Contains(err.Error(), "metadata") {
		t.Errorf("rebound: %v", err)
	}
}

// TestSocket: the last look is at the address that is dialled, by itself.
func TestSocket(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Config{})
	for address, want := range map[string]string{
		"127.0.0.1:443": "not a public address", "[::1]:80": "not a public address", "169.254.169.254:80": "metadata", "93.184.216.99:443": "it is an address of this host",
		"93.184.216.34:22": "not one of the ports", "hooks.example.com:443": "it is no address",
	} {
		if err := g.Control(address); !errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if err := g.Control("93.184.216.34:443"); err != nil {
		t.Error(err)
	}
}
