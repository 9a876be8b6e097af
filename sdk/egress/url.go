package egress

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxURL bounds a URL, in bytes.
const maxURL = 2048

// ParseURL reads a URL that somebody wrote and checks it as CheckURL does.
func (g *Guard) ParseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, refuse(RuleForm, raw[:64], "it is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, refuse(RuleForm, raw, "it is not a URL")
	}
	if err := g.CheckURL(u); err != nil {
		return nil, err
	}
	return u, nil
}

// CheckURL says whether a URL may be requested, as far as it shows by itself: a
// name that resolves to an address inside only shows when it is dialled. Its
// errors are *[Refused].
func (g *Guard) CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse(RuleForm, u.Redacted(), "it must begin with https:// or http://")
	case u.Opaque != "" || u.Hostname() == "":
		return refuse(RuleForm, u.Redacted(), "it names no host")
	case u.User != nil:
		return refuse(RuleForm, u.Redacted(), "it has a user name or a password in it")
	case u.Fragment != "" || u.RawFragment != "":
		return refuse(RuleForm, u.Redacted(), "it has a fragment in it, which is never sent")
	}
	port, err := portOf(u)
	if err != nil {
		return err
	}
	_, _, err = g.checkPlace(u.Hostname(), port)
	return err
}

func portOf(u *url.URL) (uint16, error) {
	switch p := u.Port(); {
	case p != "":
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0, refuse(RuleForm, p, "it is no port")
		}
		return uint16(n), nil
	case u.Scheme == "https":
		return 443, nil
	}
	return 80, nil
}

// checkHost looks at a host as it is written. It gives the name in ASCII, or the
// address that it is.
func (g *Guard) checkHost(name string) (ascii string, literal netip.Addr, err error) {
	if strings.ContainsAny(name, "%[]") {
		return "", literal, refuse(RuleForm, name, "an address has no zone here")
	}
	if strings.Contains(name, ":") {
		literal, err := netip.ParseAddr(name)
		if err != nil || literal.Is4In6() {
			return "", literal, refuse(RuleForm, name, "it is no address of IPv6")
		}
		return "", literal, g.checkLiteral(name, literal)
	}
	// Full-width digits and dots are the plain ones to whoever resolves the name,
	// so they must be here.
	ascii, err = idna.Lookup.ToASCII(name)
	if err != nil {
		return "", literal, refuse(RuleForm, name, "it is no name of a host")
	}
	ascii = strings.TrimSuffix(strings.ToLower(ascii), ".")
	if numeric(ascii) {
		literal, err := netip.ParseAddr(ascii)
		if err != nil {
			return "", literal, refuse(RuleForm, name, "it is an address in an unusual form")
		}
		return "", literal, g.checkLiteral(name, literal)
	}
	return ascii, literal, g.checkName(name, ascii)
}

func (g *Guard) checkLiteral(name string, a netip.Addr) error {
	if err := g.CheckAddr(a); err != nil {
		return err
	}
	if !g.cfg.Literals && !g.allowed(a) && !slices.ContainsFunc(g.cfg.Hosts, func(h Host) bool { return h.Name == a.String() }) {
		return refuse(RuleLiteral, name, "it is an address: write the name of the host")
	}
	return nil
}

// numeric reports whether a system's resolver may take a name for an address of
// IPv4: then its last part is a number, as in 127.1, 0x7f000001 or 017700000001.
func numeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// metadataNames lead to the addresses of metadata.
func metadataNames() []string {
	return []string{
		"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data", "instance-data.ec2.internal",
		"metadata.tencentyun.com", "metadata.platformequinix.com",
	}
}

// insideNames end names that the public name service has not: RFC 6761, 6762,
// 7686, 8375 and 9476, what ICANN keeps free, and what networks use all the same.
func insideNames() []string {
	return []string{
		"localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa", "in-addr.arpa", "ip6.arpa",
		"invalid", "test", "example", "onion", "alt", "svc", "cluster.local",
	}
}

// checkName looks at a name of at least one character that is no address. Where
// the operator allowed networks of the inside, names of the inside may be in
// them: what they resolve to decides.
func (g *Guard) checkName(written, name string) error {
	if err := wellFormed(name); err != nil {
		return refuse(RuleForm, written, "%v", err)
	}
	if slices.Contains(metadataNames(), name) {
		return refuse(RuleMetadata, written, "it is of a cloud's metadata service")
	}
	if len(g.cfg.Allow) > 0 {
		return nil
	}
	inside := func(end string) bool { return name == end || strings.HasSuffix(name, "."+end) }
	if !strings.Contains(name, ".") || slices.ContainsFunc(insideNames(), inside) {
		return refuse(RuleName, written, "it is no public name")
	}
	return nil
}
