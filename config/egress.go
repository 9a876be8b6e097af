package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Egress is what the host calls for its tenants.
type Egress struct {
	AllowNetworks []string `koanf:"allow_networks" doc:"Addresses and networks that are not public and may be called all the same, by every tenant. With any, names that are not public may be called, too, when they lead there. The metadata services of clouds are refused whatever stands here." example:"[\"10.20.0.0/16\"]"`
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
	const networks, ports = "egress.allow_networks", "egress.ports"
	if c.ok(networks) {
		for i, s := range c.cfg.Egress.AllowNetworks {
			p, err := ParseNetwork(s)
			switch {
			case err != nil:
				c.badElement(networks, i, "Invalid network", "%s must hold addresses and networks, such as %q or %q: %v.", networks, "10.0.0.7", "10.0.0.0/8", err)
			case p.Bits() == 0:
				c.badElement(networks, i, "Everything allowed", "%s has %q in it, which is every address: any tenant could then call this host itself and whatever it can reach. Name the networks that are meant.", networks, s)
			}
		}
	}
	if !c.ok(ports) {
		return
	}
	for i, s := range c.cfg.Egress.Ports {
		if _, _, err := ParsePorts(s); err != nil {
			c.badElement(ports, i, "Invalid port", "%s must hold ports, such as %q or %q: %v.", ports, "443", "8000-8999", err)
		}
	}
	if len(c.cfg.Egress.Ports) == 0 {
		c.bad(ports, "No port", "%s is empty, so nothing could be called: name a port, such as %q.", ports, "443")
	}
}
