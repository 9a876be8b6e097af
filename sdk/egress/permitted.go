package egress

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkPermitted says whether Config.Permitted has a place: a name in ASCII, or
// the address that it is.
func (g *Guard) checkPermitted(ascii string, literal netip.Addr, port uint16) error {
	host := ascii
	if literal.IsValid() {
		host = literal.String()
		if literal.Is6() {
			host = "[" + host + "]"
		}
	}
	if len(g.cfg.Permitted) == 0 || slices.ContainsFunc(g.cfg.Permitted, func(pattern string) bool { return covers(pattern, host, port) }) {
		return nil
	}
	return refuse(RulePermitted, net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(port))), "it is not one of the hosts that this scan may call")
}

// Permitting gives a guard with another Config.Permitted and the same rules.
func (g *Guard) Permitting(hosts []string) *Guard {
	other := *g
	other.cfg.Permitted = slices.Clone(hosts)
	return &other
}

// Permits reports whether Config.Permitted has the host of a URL. Of what it has,
// that which may not be reached for another reason is not permitted either;
// without a list all is, and it is for CheckURL to say the rest.
func (g *Guard) Permits(u *url.URL) bool {
	if len(g.cfg.Permitted) == 0 {
		return true
	}
	port, err := portOf(u)
	if err != nil {
		return false
	}
	_, _, err = g.checkPlace(u.Hostname(), port)
	return err == nil
}

// covers reports whether an element of Config.Permitted has a host.
func covers(pattern, host string, port uint16) bool {
	if i := strings.LastIndexByte(pattern, ':'); i >= 0 && !strings.HasSuffix(pattern, "]") {
		if pattern[i+1:] != strconv.Itoa(int(port)) {
			return false
		}
		pattern = pattern[:i]
	}
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+below)
	}
	return pattern == "*" || pattern == host
}
