package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParsePorts reads what an operator writes: a port ("443"), or a range with both
// ends in it ("8000-8999").
func ParsePorts(s string) (Ports, error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	a, err := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	switch {
	case err != nil || err2 != nil || a == 0 || low != strconv.FormatUint(a, 10) || high != strconv.FormatUint(b, 10):
		return Ports{}, fmt.Errorf("%.32q is no port from 1 to 65535 and no range of them", s)
	case a > b:
		return Ports{}, fmt.Errorf("%q begins behind its end", s)
	}
	return Ports{uint16(a), uint16(b)}, nil
}

// ParseNetwork reads what an operator writes: an address or a network in CIDR
// notation. A network of every address is refused: this host would be in it.
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%.64q is no address and no network such as 10.0.0.0/8", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its mask: write %q", s, p.Masked())
	case p.Bits() == 0:
		return netip.Prefix{}, errors.New("that is every address, this host among them: name the networks that are meant")
	}
	return p, nil
}
