package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies says whose word counts on where a request comes from. The zero value
// is nobody's: a request comes from where its connection does.
type Proxies struct {
	// Trusted are the proxies' addresses.
	Trusted []netip.Prefix
	// Header is the one that they all write: "X-Forwarded-For", the default, or
	// "Forwarded" (RFC 7239). Whatever stands in the other one is the client's
	// own invention, so it is not read.
	Header string
}

// headerForwarded is the name of RFC 7239's header.
const headerForwarded = "Forwarded"

// clientOf finds out where a request comes from: it follows the proxies back
// from the connection, as far as they are trusted. What an address that is not
// trusted says of those behind it may be invented, so it is the client; so is a
// proxy that says nothing that can be read. The address is invalid where the
// connection has none.
func (p *Proxies) clientOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // not over TCP
	}
	client := plain(peer.Addr())
	if !p.trusts(client) {
		return client
	}
	lines := r.Header[http.CanonicalHeaderKey("X-Forwarded-For")]
	split := splitXForwardedFor
	if p.Header == headerForwarded {
		lines, split = r.Header[headerForwarded], splitForwarded
	}
	for i := len(lines) - 1; i >= 0; i-- { // each hop adds to the end
		hops, ok := split(lines[i])
		if !ok {
			return client
		}
		for j := len(hops) - 1; j >= 0; j-- {
			hop, err := parseNode(hops[j])
			if err != nil {
				return client
			}
			if client = hop; !p.trusts(client) {
				return client
			}
		}
	}
	return client
}

func (p *Proxies) trusts(a netip.Addr) bool {
	for _, t := range p.Trusted {
		if t.Contains(a) {
			return true
		}
	}
	return false
}

// plain is an address as prefixes are compared with it: IPv4 as such, and
// without a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// neighbours is whom an address is counted with: whoever has an IPv6 address
// has at least 2^64 of them.
func neighbours(a netip.Addr) string {
	if a.Is6() {
		p, _ := a.Prefix(64) // an IPv6 address has one
		return p.String()
	}
	return a.String()
}

// parseNode reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1 or [2001:db8::1]:80. "unknown" and names are none.
func parseNode(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return plain(a), nil
	}
	a, err := netip.ParseAddrPort(s)
	return plain(a.Addr()), err
}

func splitXForwardedFor(line string) ([]string, bool) {
	hops := strings.Split(line, ",")
	for i := range hops {
		hops[i] = strings.Trim(hops[i], " \t")
	}
	return hops, true
}

// splitForwarded gives what each element of a Forwarded line has for "for", ""
// where it has nothing. A line with anything wrong is not ok as a whole: a quote
// that is not closed may have swallowed what the proxy added.
func splitForwarded(line string) (hops []string, ok bool) {
	hop, seen := "", false
	for {
		var name, value string
		if name, value, line, ok = cutPair(line); !ok {
			return nil, false
		}
		if strings.EqualFold(name, "for") {
			if seen {
				return nil, false
			}
			hop, seen = value, true
		}
		switch {
		case line == "":
			return append(hops, hop), true
		case line[0] == ',':
			hops, hop, seen = append(hops, hop), "", false
		case line[0] != ';':
			return nil, false
		}
		line = line[1:]
	}
}

// cutPair reads name=value, where value is a token or a quoted string, with the
// space around it. rest begins with what follows.
func cutPair(line string) (name, value, rest string, ok bool) {
	name, rest, ok = strings.Cut(strings.TrimLeft(line, " \t"), "=")
	if !ok || !isToken(name) {
		return "", "", "", false
	}
	if !strings.HasPrefix(rest, `"`) {
		end := strings.IndexAny(rest, ",; \t")
		if end < 0 {
			end = len(rest)
		}
		value, rest = rest[:end], rest[end:]
		return name, value, strings.TrimLeft(rest, " \t"), !strings.Contains(value, `"`)
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return name, b.String(), strings.TrimLeft(rest[i+1:], " \t"), true
		case '\\':
			if i++; i == len(rest) {
				return "", "", "", false
			}
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "", false
}

// isToken reports whether s is a name of a parameter; of RFC 9110's characters
// for it, those that such names have.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
