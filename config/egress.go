package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Egress is what the host calls for its tenants.
type Egress struct {
	AllowNetworks []string `koanf:"allow_networks" doc:"Addresses and networks that are not public and may be called all the same, by every tenant. With any, names that are not public may be called, too, when they lead there. This host's own addresses are opened one by one and by no network, but for the loopback's. The metadata services of clouds are refused whatever stands here." example:"[\"10.20.0.0/16\"]"`
	Ports         []string `koanf:"ports" doc:"Ports that may be called, and ranges of them." example:"[\"443\", \"8000-8999\"]"`
}

// ParsePorts reads an element of egress.ports: a port, or a range with both ends
// in it.
func ParsePorts(s string) (first, last uint16, err error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	a, err := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	switch {
	case err != nil || err2 != nil || a == 0 || low != strconv.FormatUint(a, 10) || high != strconv.FormatUint(b, 10):
		return 0, 0, fmt.Errorf("%.32q is no port from 1 to 65535 and no range of them", s)
	case a > b:
		return 0, 0, fmt.Errorf("%q begins behind its end", s)
	}
	return uint16(a), uint16(b), nil
}

func (c *checker) egress() {
	c.networks("egress.allow_networks", c.cfg.Egress.AllowNetworks)
	c.ports("egress.ports", c.cfg.Egress.Ports)
}

func (c *checker) networks(path string, list []string) {
	if !c.ok(path) {
		return
	}
	for i, s := range list {
		p, err := ParseNetwork(s)
		switch {
		case err != nil:
			c.badElement(path, i, "Invalid network", "%s must hold addresses and networks, such as %q or %q: %v.", path, "10.0.0.7", "10.0.0.0/8", err)
		case p.Bits() == 0:
			c.badElement(path, i, "Everything allowed", "%s has %q in it, which is every address: any tenant could then call this host itself and whatever it can reach. Name the networks that are meant.", path, s)
		}
	}
}

func (c *checker) ports(path string, list []string) {
	if !c.ok(path) {
		return
	}
	for i, s := range list {
		if _, _, err := ParsePorts(s); err != nil {
			c.badElement(path, i, "Invalid port", "%s must hold ports, such as %q or %q: %v.", path, "443", "8000-8999", err)
		}
	}
	if len(list) == 0 {
		c.bad(path, "No port", "%s is empty, so nothing could be called: name a port, such as %q.", path, "443")
	}
}

// pluginEgress checks what a plugin may call.
func (c *checker) pluginEgress(name string, p Plugin) {
	path := "plugin." + name + "."
	c.networks(path+"egress_networks", p.EgressNetworks)
	c.ports(path+"egress_ports", p.EgressPorts)
	if c.ok(path + "egress_hosts") {
		for i, s := range p.EgressHosts {
			if err := CheckHost(s); err != nil {
				c.badElement(path+"egress_hosts", i, "Invalid host", "%segress_hosts must hold names and addresses, such as %q, %q or %q: %v.", path, "api.example.com", "*.example.com", "api.example.com:8443", err)
			}
		}
	}
	if p.Network == "egress" || !c.ok(path+"network") {
		return
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"egress_hosts", len(p.EgressHosts) > 0}, {"egress_networks", len(p.EgressNetworks) > 0},
		{"egress_literals", p.EgressLiterals}, {"limits.egress_bytes", p.Limits.EgressBytes > 0},
	} {
		if s.set && c.ok(path+s.name) {
			c.bad(path+s.name, "Setting without effect", "%s%s is about what the plugin calls through the host's proxy, and with network = %q it does not: set network = %q.", path, s.name, p.Network, "egress")
		}
	}
}

// CheckHost says what is wrong with an element of egress_hosts.
func CheckHost(s string) error {
	name := s
	if host, port, err := net.SplitHostPort(s); err == nil {
		if first, last, err := ParsePorts(port); err != nil || first != last {
			return fmt.Errorf("%.300q has no port from 1 to 65535 at its end", s)
		}
		name = host
	}
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && a.Zone() == "" && !a.Is4In6() {
		return nil
	}
	name, _ = strings.CutPrefix(name, "*.")
	ascii, err := idna.Lookup.ToASCII(name)
	ascii = strings.TrimSuffix(ascii, ".")
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if err != nil || !hostName.MatchString(ascii) || len(ascii) > 253 || numberAtEnd.MatchString(last) {
		return fmt.Errorf("%.300q is neither", s)
	}
	return nil
}

var (
	hostName    = regexp.MustCompile(`^(?i:[a-z0-9-]{1,63}\.)*(?i:[a-z0-9-]{1,63})$`)
	numberAtEnd = regexp.MustCompile(`^(?i:0x[0-9a-f]*|[0-9]+)$`)
)
