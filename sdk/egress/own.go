package egress

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ownAge is how old what is known of the host's addresses may be. They come and
// go while it runs, and reading them costs a system call for each interface.
const ownAge = time.Second

// own are the addresses of this host. Safe for concurrent use.
type own struct {
	ask func() ([]netip.Addr, error)

	mu    sync.Mutex
	known []netip.Addr
	until time.Time
}

// addrs gives those of a moment ago at the latest.
func (o *own) addrs() ([]netip.Addr, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); !now.Before(o.until) {
		known, err := o.ask()
		if err != nil {
			return nil, err
		}
		o.known, o.until = known, now.Add(ownAge)
	}
	return o.known, nil
}

// checkOwn refuses an address that leads to this host. What a network in Allow
// has in it is meant for what else is there: the host's own address, with whatever
// it listens on for nobody else, must be named by itself.
func (g *Guard) checkOwn(a netip.Addr) error {
	own, err := g.own.addrs()
	if err != nil {
		return refuse(RuleOwn, a.String(), "the addresses of this host cannot be read")
	}
	for _, one := range []netip.Addr{a, translated(a)} {
		if one.IsLoopback() || one.IsUnspecified() || slices.Contains(own, one) {
			return refuseOwn(a)
		}
	}
	return nil
}

func refuseOwn(a netip.Addr) error {
	return refuse(RuleOwn, a.String(), "it is an address of this host, and those must be allowed by themselves, as %s, and not with a network", netip.PrefixFrom(a, a.BitLen()))
}

// opened reports whether the operator meant an address of this host: it is in
// Allow by itself, or of the loopback and in a network that is nothing else.
func (g *Guard) opened(a netip.Addr) bool {
	return slices.ContainsFunc(g.cfg.Allow, func(p netip.Prefix) bool {
		return p.Contains(a) && (p.IsSingleIP() || p.Masked().Addr().IsLoopback())
	})
}

// translated is the address of IPv4 to which a network that has a translator takes
// one of IPv6: NAT64 (RFC 6052, 8215) and 6to4 (RFC 3056). The zero value: none.
func translated(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case !a.Is6():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("64:ff9b:1::/48").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}

// checkConn refuses a connection whose two ends have one address: it leads to this
// host, although no interface has the address. Networks route such addresses to a
// machine as load balancers do, and one may have come a moment ago.
func (g *Guard) checkConn(c net.Conn) error {
	from, ok := c.LocalAddr().(*net.TCPAddr)
	to, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return nil
	}
	a := to.AddrPort().Addr().Unmap()
	if from.AddrPort().Addr().Unmap() == a && !g.opened(a) {
		return refuseOwn(a)
	}
	return nil
}

// interfaces gives the addresses of this host's interfaces.
func interfaces() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, one := range all {
		if n, ok := one.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, a.Unmap())
			}
		}
	}
	return out, nil
}
