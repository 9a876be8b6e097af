package host

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxTargetPatterns bounds the targets of a plan.
const MaxTargetPatterns = 1000

// TargetPattern says which hosts may be scanned. The zero value is none.
type TargetPattern struct {
	name  string // "": any; a name, or an address in brackets if it is of IPv6
	below bool   // only names below it
	port  string // "": any
	set   bool
}

// ParseTargetPattern reads a host ("shop.example.com", "192.0.2.7", "[2001:db8::1]"),
// every name below one ("*.example.com") or every host ("*"), each alone, for any
// port, or with one (":8443"). The error wraps ErrInvalid.
func ParseTargetPattern(s string) (TargetPattern, error) {
	bad := func(why string) (TargetPattern, error) {
		return TargetPattern{}, fmt.Errorf("%.80q is no target such as shop.example.com, *.example.com, localhost:8080 or *: %s: %w", s, why, ErrInvalid)
	}
	p := TargetPattern{name: s, set: true}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		p.name, p.port = s[:i], s[i+1:]
		if n, err := strconv.ParseUint(p.port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != p.port {
			return bad("its port is none")
		}
	}
	if p.name == "*" {
		p.name = ""
		return p, nil
	}
	p.name, p.below = strings.CutPrefix(p.name, "*.")
	if p.name == "" {
		return bad("it names no host")
	}
	if inside, ok := strings.CutPrefix(p.name, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		if err != nil || p.below || !a.Is6() || a.Zone() != "" || "["+a.String()+"]" != p.name {
			return bad("what stands in brackets must be an address of IPv6, in its short form")
		}
		return p, nil
	}
	if !hostName(p.name) {
		return bad("a host is written in lower case, an international name as it is in DNS (xn--)")
	}
	return p, nil
}

// hostName reports whether s may be a name in ASCII and lower case, or an address
// of IPv4.
func hostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// Matches reports whether it covers a host, as [TargetPattern] writes names, at a
// port.
func (p TargetPattern) Matches(host, port string) bool {
	switch {
	case !p.set || p.port != "" && p.port != port:
		return false
	case p.name == "":
		return true
	case p.below:
		return strings.HasSuffix(host, "."+p.name)
	}
	return host == p.name
}
