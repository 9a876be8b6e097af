package egress

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Host is an entry of Config.Hosts.
type Host struct {
	// Name is one of a host, in ASCII and lower case, or an address;
	// "*.example.com" is every name below example.com, and not that itself.
	Name string
	Port uint16 // which may be dialled there; 0: those of Config.Ports
}

// ParseHost reads what an operator writes: a name, "*." before one for all names
// below it, or an address, each with a port behind it or without.
func ParseHost(s string) (Host, error) {
	var h Host
	name := s
	if host, port, err := net.SplitHostPort(s); err == nil {
		p, err := ParsePorts(port)
		if err != nil || p.First != p.Last {
			return Host{}, fmt.Errorf("%.300q has no port from 1 to 65535 at its end", s)
		}
		name, h.Port = host, p.First
	}
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && a.Zone() == "" && !a.Is4In6() {
		h.Name = a.String()
		return h, nil
	}
	below, wild := strings.CutPrefix(name, "*.")
	ascii, err := idna.Lookup.ToASCII(below)
	ascii = strings.TrimSuffix(strings.ToLower(ascii), ".")
	if err != nil || numeric(ascii) || wellFormed(ascii) != nil {
		return Host{}, fmt.Errorf("%.300q is no name of a host, no %q and no address", s, "*.name")
	}
	if h.Name = ascii; wild {
		h.Name = "*." + ascii
	}
	return h, nil
}

// String is what ParseHost reads.
func (h Host) String() string {
	switch {
	case h.Port != 0:
		return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port)))
	case strings.Contains(h.Name, ":"):
		return "[" + h.Name + "]"
	}
	return h.Name
}

// is reports whether a name, or an address as text, is meant by the entry.
func (h Host) is(name string) bool {
	end, wild := strings.CutPrefix(h.Name, "*")
	if wild {
		return strings.HasSuffix(name, end) && len(name) > len(end)
	}
	return name == h.Name
}

// wellFormed reports whether a name in ASCII may be one of a host.
func wellFormed(name string) error {
	bad := func(p string) bool { return p == "" || len(p) > 63 }
	if slices.ContainsFunc(strings.Split(name, "."), bad) || len(name) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return errors.New("it is no name of a host")
	}
	return nil
}

// checkPlace looks at a host, as it is written, and a port. It gives the name in
// ASCII, or the address that it is.
func (g *Guard) checkPlace(name string, port uint16) (ascii string, literal netip.Addr, err error) {
	if len(g.cfg.Hosts) == 0 && !g.inPorts(port) {
		return "", literal, refusePort(port)
	}
	if ascii, literal, err = g.checkHost(name); err != nil {
		return ascii, literal, err
	}
	if err := g.checkPermitted(ascii, literal, port); err != nil || len(g.cfg.Hosts) == 0 {
		return ascii, literal, err
	}
	plain := ascii
	if literal.IsValid() {
		plain = literal.String()
	}
	known := false
	for _, h := range g.cfg.Hosts {
		if !h.is(plain) {
			continue
		}
		if known = true; port != 0 && h.Port == port || h.Port == 0 && g.inPorts(port) {
			return ascii, literal, nil
		}
	}
	if known {
		return "", literal, refusePort(port)
	}
	return "", literal, refuse(RuleHost, cmp.Or(name, plain), "it is not one of the hosts that may be called")
}

func (g *Guard) inPorts(port uint16) bool {
	return port != 0 && slices.ContainsFunc(g.cfg.Ports, func(p Ports) bool { return p.First <= port && port <= p.Last })
}

func refusePort(port uint16) error {
	return refuse(RulePort, strconv.Itoa(int(port)), "it is not one of the ports that may be called")
}
