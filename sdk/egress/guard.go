package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// What errors of this package wrap.
var (
	// ErrRefused: the target is not one that may be reached.
	ErrRefused = errors.New("refused")
	// ErrTooLarge: an answer has more bytes than allowed. What was read until then
	// is good.
	ErrTooLarge = errors.New("larger than allowed")
)

// Ports is a range of ports, both ends in it.
type Ports struct{ First, Last uint16 }

// Resolver finds the addresses of a name. [*net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error)
}

// Config says what may be reached. Zero values take the defaults.
type Config struct {
	// Allow are networks that are not public and may be reached all the same. The
	// host's own addresses are reached when one of Allow is that address alone; those
	// of the loopback, when one is a network of the loopback.
	Allow []netip.Prefix
	// Ports that may be dialled; default 80 and 443.
	Ports []Ports
	// Hosts are the only ones that may be called; nil: any that the rest allows.
	Hosts []Host
	// Permitted are those that a scan may call, of what the rest allows:
	// "shop.example.com", "*.example.com" for every name below example.com, "*" for
	// every host, each on any port or with one, ":8443". Names are in ASCII and
	// lower case, addresses of IPv6 in brackets. Empty: every host.
	Permitted []string
	// Proxy is the socket of a proxy that resolves names, looks at their addresses
	// and dials, as that of a host that confines this process: see [HostProxy]. ""
	// dials from here. What can be seen of a target without its addresses is
	// looked at here in any case.
	Proxy string
	// Literals lets URLs name public addresses instead of hosts. Those in Allow
	// may always be written so.
	Literals bool
	// Redirects is how many a Client follows; 0: none, the redirect is the
	// answer.
	Redirects int
	// Timeout bounds one exchange of a Client, from the name's lookup to the end
	// of the answer; default 30 s.
	Timeout time.Duration
	// MaxBody bounds an answer, in bytes, as it was sent and as it is read; default
	// 1 MiB.
	MaxBody int64
	// Decompress asks for gzip and takes it apart, within MaxBody. Without it an
	// answer is read as it was sent.
	Decompress bool
	// KeepAlive keeps a connection for the next request to the same place, which
	// is then not resolved anew: it stays what it was when it was looked at. Call
	// CloseIdleConnections of the Client at the end.
	KeepAlive bool
	// TLS is for connections to https; nil: Go's defaults. It is copied.
	TLS *tls.Config
	// Resolver defaults to the system's.
	Resolver Resolver
	// Own gives the host's own addresses, which are refused; default: those of
	// its interfaces. It is asked again when an answer is a second old.
	Own func() ([]netip.Addr, error)
}

// Guard decides what may be reached. Safe for concurrent use.
type Guard struct {
	cfg   Config
	check *ssrf.Guardian
	own   *own
}

// New makes a guard. Its errors say which part of cfg makes no sense.
func New(cfg Config) (*Guard, error) {
	if len(cfg.Ports) == 0 {
		cfg.Ports = []Ports{{80, 80}, {443, 443}}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Own == nil {
		cfg.Own = interfaces
	}
	if cfg.Redirects < 0 || cfg.Timeout < 0 || cfg.MaxBody < 0 {
		return nil, errors.New("egress: no bound may be negative")
	}
	var v4, v6 []netip.Prefix
	for _, p := range cfg.Allow {
		switch {
		case !p.IsValid() || p.Addr().Is4In6():
			return nil, fmt.Errorf("egress: allow network %s: not a network", p)
		case p.Addr().Is4():
			v4 = append(v4, p)
		default:
			v6 = append(v6, p)
		}
	}
	return &Guard{cfg: cfg, own: &own{ask: cfg.Own}, check: ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))}, nil
}

// Rule is the kind of reason for which a target is refused: what would have to
// be allowed to reach it.
type Rule string

const (
	RuleForm     Rule = "form"     // it is written as nothing that may be called: no setting changes that
	RuleMetadata Rule = "metadata" // nor this
	RuleHost     Rule = "host"     // it is none of Config.Hosts
	RulePort     Rule = "port"     // it is none of Config.Ports
	RuleName     Rule = "name"     // the name is not public, and nothing is in Config.Allow
	RuleAddress  Rule = "address"  // the address is not public, and not in Config.Allow
	RuleOwn      Rule = "own"      // it is this host's, and not in Config.Allow by itself
	RuleLiteral  Rule = "literal"  // an address is written, and Config.Literals is not set

	RulePermitted Rule = "permitted" // it is none of Config.Permitted
)

// Refused is why a target is not reached. It wraps ErrRefused.
type Refused struct {
	Target string // a host, an address or a port, as it was written
	Rule   Rule
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("%.255q is refused: %s", r.Target, r.Reason) }

// Unwrap gives ErrRefused.
func (r *Refused) Unwrap() error { return ErrRefused }

func refuse(rule Rule, target, reason string, args ...any) error {
	return &Refused{target, rule, fmt.Sprintf(reason, args...)}
}

// metadata are addresses at which clouds tell a machine its credentials, or
// steer it. Some are in networks that an operator may well allow, and one is a
// public address that no route can keep away.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{169, 254, 169, 254}), // AWS, GCP, Azure, DigitalOcean, ...
		netip.AddrFrom4([4]byte{169, 254, 170, 2}),   // AWS ECS tasks
		netip.AddrFrom4([4]byte{169, 254, 170, 23}),  // AWS EKS pods
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),   // Azure WireServer
		netip.AddrFrom4([4]byte{100, 100, 100, 200}), // Alibaba
		netip.AddrFrom4([4]byte{192, 0, 0, 192}),     // Oracle
		netip.MustParseAddr("fd00:ec2::254"),         // AWS
		netip.MustParseAddr("fd00:ec2::23"),          // AWS EKS pods
		netip.MustParseAddr("fd20:ce::254"),          // GCP
	}
}

// CheckAddr says whether an address may be dialled: *[Refused] when not.
func (g *Guard) CheckAddr(a netip.Addr) error {
	plain := a.Unmap()
	switch {
	case !a.IsValid() || a.Zone() != "":
		return refuse(RuleForm, a.String(), "it is no address of a network")
	case slices.Contains(metadata(), plain), slices.Contains(metadata(), translated(plain)):
		return refuse(RuleMetadata, a.String(), "it is of a cloud's metadata service")
	case g.opened(plain):
		return nil
	}
	if !g.allowed(plain) && g.check.SafeAddr(plain) != nil {
		return refuse(RuleAddress, a.String(), "it is not a public address")
	}
	return g.checkOwn(plain)
}

func (g *Guard) allowed(a netip.Addr) bool {
	return slices.ContainsFunc(g.cfg.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// DialContext connects to host:port as net.Dialer does, when it may. Its errors
// are *[Refused] or the network's.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	name, digits, err := net.SplitHostPort(address)
	if err != nil {
		return nil, refuse(RuleForm, address, "it is not host:port")
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, refuse(RuleForm, address, "it is not a port of TCP")
	}
	ascii, literal, err := g.checkPlace(name, uint16(port))
	if err != nil {
		return nil, err
	}
	if g.cfg.Proxy != "" {
		return g.dialProxy(ctx, net.JoinHostPort(cmp.Or(ascii, literal.String()), digits))
	}
	addrs := []netip.Addr{literal}
	if !literal.IsValid() {
		if addrs, err = g.resolve(ctx, ascii); err != nil {
			return nil, err
		}
	}
	dialer := net.Dialer{Control: g.control}
	var failed error
	for _, a := range addrs {
		conn, err := dialer.DialContext(ctx, network, netip.AddrPortFrom(a, uint16(port)).String())
		if err == nil {
			if err = g.checkConn(conn); err == nil {
				return conn, nil
			}
			_ = conn.Close() // nothing was sent
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// maxAddrs bounds how many addresses of a name are tried.
const maxAddrs = 8

// resolve gives the addresses of a name, all of which may be dialled.
func (g *Guard) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	// The dot at the end keeps the system's search domains out of it: they would
	// make a public name one of the inside.
	found, err := g.cfg.Resolver.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: name, IsNotFound: true}
	}
	for i, a := range found {
		if err := g.CheckAddr(a); err != nil {
			var r *Refused
			errors.As(err, &r)
			return nil, refuse(r.Rule, name, "it has the address %s, and %s", r.Target, r.Reason)
		}
		found[i] = a.Unmap()
	}
	return found[:min(len(found), maxAddrs)], nil
}

// control is what the dialer asks with the address that it is about to connect
// to.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse(RuleForm, address, "it is no address")
	}
	if !g.inPorts(to.Port()) && !slices.ContainsFunc(g.cfg.Hosts, func(h Host) bool { return h.Port == to.Port() }) {
		return refusePort(to.Port())
	}
	return g.CheckAddr(to.Addr())
}
