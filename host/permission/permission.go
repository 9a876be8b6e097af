package permission

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/idna"

	"github.com/securetaghq/securetag/host"
)

// Resolver looks up TXT records. [*net.Resolver] is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Config says how to decide. Zero values take the defaults.
type Config struct {
	// Times gives how long a proof holds after a check found its token, and how
	// long after a check another one is made. It is asked each time. Default 30
	// days, and one.
	Times func() (life, recheck time.Duration)
	// Timeout bounds one check; default 10 s.
	Timeout time.Duration
	// Pause is the least time between two checks of a target; default 10 s.
	Pause time.Duration
	// AtOnce is how many checks that tenants ask for are under way at once, and how
	// many of those that are made again; default 8. A tenant is refused more, and
	// what is to be checked again waits.
	AtOnce int
	// Poll is the time between two looks for proofs to check again; default 1 m.
	Poll time.Duration
	// UserAgent is sent along; default "SecureTag-Targets".
	UserAgent string
}

func (c Config) withDefaults() Config {
	if c.Times == nil {
		c.Times = func() (life, recheck time.Duration) { return 30 * 24 * time.Hour, 24 * time.Hour }
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Timeout, 10 * time.Second}, {&c.Pause, 10 * time.Second}, {&c.Poll, time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.AtOnce <= 0 {
		c.AtOnce = 8
	}
	if c.UserAgent == "" {
		c.UserAgent = "SecureTag-Targets"
	}
	return c
}

// Permission decides, and checks proofs. Safe for concurrent use.
type Permission struct {
	store    host.TargetStore
	plans    host.Plans
	resolver Resolver
	client   http.Client
	cfg      Config
	log      hclog.Logger
	checks   chan struct{} // a slot for each check that may be under way

	mu   sync.Mutex
	busy map[host.TenantID]int // of those that tenants asked for
}

// perTenant is how many checks a tenant may ask for at once: a site that answers
// slowly keeps nobody else's waiting.
const perTenant = 2

// New makes one; Run checks proofs again. transport decides what may be reached.
func New(store host.TargetStore, plans host.Plans, resolver Resolver, transport http.RoundTripper, cfg Config, log hclog.Logger) *Permission {
	cfg = cfg.withDefaults()
	p := &Permission{store: store, plans: plans, resolver: resolver, cfg: cfg, log: log.Named("permission"), checks: make(chan struct{}, cfg.AtOnce), busy: map[host.TenantID]int{}}
	p.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p
}

// Denied is why a target may not be scanned, and what to do about it, in sentences
// for the tenant. It wraps host.ErrNotPermitted.
type Denied struct{ Detail string }

func (d *Denied) Error() string { return d.Detail }

// Unwrap gives host.ErrNotPermitted.
func (d *Denied) Unwrap() error { return host.ErrNotPermitted }

// Hosts gives what a scan of a URL may call, as host.ParseTargetPattern reads it,
// when the tenant may have that URL scanned; *[Denied] when not. The tenant's terms
// are those in force now.
func (p *Permission) Hosts(ctx context.Context, t host.TenantID, rawURL string) ([]string, error) {
	name, port, err := place(rawURL)
	if err != nil {
		return nil, &Denied{Detail: "Your tenant may not have this scanned: " + err.Error() + "."}
	}
	life, _ := p.cfg.Times()
	terms, proven, err := p.store.Permit(ctx, t, life)
	if err != nil {
		return nil, fmt.Errorf("look for the permission to scan %s: %w", name, err)
	}
	// All that the tenant may have scanned: a scan may follow a link from one of its
	// hosts to another.
	all := slices.Clone(p.plans.Plan(terms).Targets)
	for _, g := range proven {
		all = append(all, covers(g)...)
	}
	if !matches(all, name, port) {
		return nil, denied(name, port)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// covers gives the patterns that a proof is worth.
func covers(g host.Target) []string {
	name, port := split(g.Host)
	switch {
	case g.Proof == host.ProofDNS:
		return []string{name, "*." + name}
	case g.Proof != host.ProofFile:
		return nil
	case port != "":
		return []string{g.Host}
	}
	return []string{name + ":80", name + ":443"}
}

func matches(patterns []string, name, port string) bool {
	return slices.ContainsFunc(patterns, func(s string) bool {
		p, err := host.ParseTargetPattern(s)
		return err == nil && p.Matches(name, port)
	})
}

// denied says how to prove a target.
func denied(name, port string) error {
	register := name
	if port != "80" && port != "443" {
		register += ":" + port
	}
	if strings.HasPrefix(name, "[") || isAddress(name) {
		return &Denied{fmt.Sprintf("Your tenant may not have %s scanned. An address cannot be proved to be yours: only the operator can permit it, in the targets of your plan. "+
			"A name can be: see POST /targets.", name)}
	}
	return &Denied{fmt.Sprintf("Your tenant has not shown that it may have %s scanned. Prove it: POST /targets with {\"host\": %q}, publish the token that it answers with "+
		"as a TXT record of %s, or as the only line of %s, then POST /targets/{id}/verify. A TXT record of a name above it, such as %s, does as well, for all below that one. "+
		"Or ask the operator to add it to the targets of your plan.", register, register, RecordName(name), FileURL(register), RecordName(above(name)))}
}

// above is the name one level up that could be somebody's, or the name itself.
func above(name string) string {
	if _, rest, ok := strings.Cut(name, "."); ok && strings.Contains(rest, ".") {
		return rest
	}
	return name
}

// RecordName is where the TXT record of a host belongs.
func RecordName(hostPort string) string {
	name, _ := split(hostPort)
	return "_securetag-challenge." + name
}

// FileURL is where the file of a host belongs. It is asked for over https alone:
// over http anybody on the way could prove the host to be theirs.
func FileURL(hostPort string) string {
	return "https://" + hostPort + "/.well-known/securetag-challenge.txt"
}

// ParseHost reads what a tenant registers: a name, perhaps with a port, in whatever
// case and alphabet. The error says what is wrong with it, for people.
func ParseHost(s string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%.100q %s", s, why)
	}
	if len(s) > 300 || strings.ContainsAny(s, "/@?#\\ \t\r\n%") {
		return bad("is no host such as shop.example.com or shop.example.com:8443: write no more than that")
	}
	name, port := split(s)
	name, err := canonical(name)
	switch {
	case err != nil:
		return bad("is no name of a host")
	case strings.HasPrefix(name, "[") || isAddress(name):
		return bad("is an address, which nobody can prove to be theirs: only the operator can permit it")
	case !strings.Contains(name, "."):
		return bad("is no name of the public name service: only the operator can permit it")
	case strings.HasSuffix(s, ":"):
		return bad("has a colon without a port")
	case port == "80" || port == "443":
		port = "" // what the name alone covers
	}
	if port != "" {
		name += ":" + port
	}
	if _, err := host.ParseTargetPattern(name); err != nil || strings.HasPrefix(name, "*") {
		return bad("is no host such as shop.example.com or shop.example.com:8443")
	}
	return name, nil
}

// split takes a port off; an address of IPv6 is in brackets.
func split(s string) (name, port string) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// place is the host of a URL, as patterns write it, and its port.
func place(rawURL string) (name, port string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return "", "", errors.New("the URL names no host")
	}
	if name, err = canonical(u.Hostname()); err != nil {
		return "", "", fmt.Errorf("the URL names %.100q, which is no name of a host", u.Hostname())
	}
	switch port = u.Port(); {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return name, strings.TrimLeft(port, "0"), nil
}

// canonical writes a host in the one way in which it is compared: as whoever dials
// it understands it.
func canonical(name string) (string, error) {
	if strings.Contains(name, ":") {
		a, err := netip.ParseAddr(strings.Trim(name, "[]"))
		if err != nil || a.Zone() != "" {
			return "", errors.New("no address")
		}
		return "[" + a.String() + "]", nil
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil { // such as one with an underscore, which resolves all the same
		ascii = name
	}
	ascii = strings.TrimSuffix(strings.ToLower(ascii), ".")
	if _, err := host.ParseTargetPattern(ascii); err != nil || ascii == "*" || strings.HasPrefix(ascii, "*.") {
		return "", errors.New("no name")
	}
	return ascii, nil
}

// isAddress reports whether a resolver may take a name for an address of IPv4:
// its last part is a number then.
func isAddress(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

var _ Resolver = (*net.Resolver)(nil)
