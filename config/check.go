package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// checker looks at the whole: what no single value shows. Values that were
// reported already are left alone.
type checker struct {
	cfg   *Config
	w     *walker
	o     *overlay
	opts  Options
	diags hcl.Diagnostics
}

func check(cfg *Config, w *walker, o *overlay, opts Options) hcl.Diagnostics {
	c := &checker{cfg: cfg, w: w, o: o, opts: opts}
	c.paths()
	c.server()
	c.proxies()
	c.origins()
	c.database()
	c.redis()
	c.worker()
	c.limits()
	c.egress()
	c.telemetry()
	c.targets()
	for _, name := range slices.Sorted(maps.Keys(cfg.Scans)) {
		c.scan(name, cfg.Scans[name])
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		c.plugin(name, cfg.Plugins[name])
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plans)) {
		c.plan(name, cfg.Plans[name])
	}
	return c.diags
}

// bad reports a mistake in the value at path, wherever that came from.
func (c *checker) bad(path, summary, detail string, args ...any) {
	from := c.o.origins[path]
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: from.file}
	if n := c.o.schema.find(path); n != nil && n.sensitive {
		d.Extra = hidden{}
	}
	switch {
	case from.env != "":
		d.Detail += " The value comes from the environment variable " + from.env + "."
	case from.flag != "":
		d.Detail += " The value comes from the flag " + from.name() + "."
	case from.file == nil:
		d.Detail += " " + path + " has its default value."
	}
	c.diags = append(c.diags, d)
}

// badElement is bad for one element of a list.
func (c *checker) badElement(path string, i int, summary, detail string, args ...any) {
	c.bad(path, summary, detail, args...)
	if at := c.w.elements[path]; c.o.origins[path].file != nil && i < len(at) {
		c.diags[len(c.diags)-1].Subject = &at[i]
	}
}

// ok reports whether the values at all the paths were read.
func (c *checker) ok(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { return c.o.broken[p] })
}

func (c *checker) paths() {
	if dir := c.cfg.Worker.MemoryDir; c.ok("worker.memory_dir") && dir != "" && !filepath.IsAbs(dir) {
		c.bad("worker.memory_dir", "Relative path", "worker.memory_dir must be an absolute path, such as %q, or empty.", "/dev/shm")
	}
	if c.ok("data_dir") && c.cfg.DataDir == "" {
		c.bad("data_dir", "Missing directory", "data_dir must name a directory, such as %q.", "/var/lib/securetag")
	}
}

func (c *checker) server() {
	c.role()
	if c.ok("server.listen") {
		if err := checkAddress(c.cfg.Server.Listen, true); err != nil {
			c.bad("server.listen", "Invalid address", "server.listen must be an address and a port, such as %q or %q: %v.", "127.0.0.1:8080", ":8080", err)
		}
	}
}

// role checks that a host that does half the work shares the other half with
// somebody: what is embedded is this process's alone.
func (c *checker) role() {
	role := c.cfg.Server.Role
	if role == RoleAll || !c.ok("server.role", "database.url", "redis.url", "redis.addresses") {
		return
	}
	var missing []string
	if c.cfg.Database.URL.IsZero() {
		missing = append(missing, "database.url")
	}
	if c.cfg.Redis.URL.IsZero() && len(c.cfg.Redis.Addresses) == 0 {
		missing = append(missing, "redis.url or redis.addresses")
	}
	if len(missing) > 0 {
		c.bad("server.role", "Role without company", "server.role is %q, so other hosts do the rest, and this one shares nothing with them: set %s, or role %q for one host that does everything.",
			role, strings.Join(missing, " and "), RoleAll)
	}
}

// proxies checks the addresses of proxies.
func (c *checker) proxies() {
	const path = "server.trusted_proxies"
	if !c.ok(path) {
		return
	}
	for i, s := range c.cfg.Server.TrustedProxies {
		p, err := ParseNetwork(s)
		switch {
		case err != nil:
			c.badElement(path, i, "Invalid network", "%s must hold addresses and networks, such as %q or %q: %v.", path, "10.0.0.7", "10.0.0.0/8", err)
		case p.Bits() == 0:
			c.badElement(path, i, "Everybody trusted", "%s has %q in it, which is every address: any client could then say that it is another. Name the addresses of your proxies.", path, s)
		}
	}
}

// origins checks whose pages may read answers.
func (c *checker) origins() {
	const path = "server.cors_origins"
	if !c.ok(path) {
		return
	}
	for i, s := range c.cfg.Server.CORSOrigins {
		u, err := url.Parse(s)
		if s == "*" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && !strings.Contains(s, "*") && s == u.Scheme+"://"+u.Host {
			continue
		}
		c.badElement(path, i, "Invalid origin", "%s must hold origins as browsers send them, a scheme and a host and no more, such as %q, or %q for every one: %.80q is neither.",
			path, "https://dash.example.com", "*", s)
	}
}

// ParseNetwork reads an element of server.trusted_proxies: an address, or a
// network that begins at its first address.
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.64q is neither", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is a network of IPv4, which must be written as one", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has an address within it: the network is %q", s, p.Masked())
	}
	return p, nil
}

// checkAddress checks host:port. A listener may leave the host out and take
// port 0.
func checkAddress(s string, listener bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%.64q is not host:port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		return fmt.Errorf("%.32q is no port between 0 and 65535", port)
	case !listener && (host == "" || n == 0):
		return fmt.Errorf("%.64q has no host or no port", s)
	case strings.ContainsAny(host, "/@ "):
		return fmt.Errorf("%.64q is no host", host)
	}
	return nil
}

// checkURL checks the scheme and that there is a host. The URL may hold a
// password, so no message repeats it.
func checkURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

func (c *checker) database() {
	u := c.cfg.Database.URL
	if c.ok("database.url") && !u.IsZero() && !checkURL(u.Reveal(), "postgres", "postgresql") {
		c.bad("database.url", "Invalid URL", "database.url must be of the form postgres://user:password@host:port/database, with special characters in the password percent-encoded, or empty for the embedded database.")
	}
}

func (c *checker) redis() {
	r := c.cfg.Redis
	if c.ok("redis.url") && !r.URL.IsZero() && !checkURL(r.URL.Reveal(), "redis", "rediss") {
		c.bad("redis.url", "Invalid URL", "redis.url must be of the form redis://user:password@host:port/db, or rediss:// for TLS, with special characters in the password percent-encoded.")
	}
	if !c.ok("redis.url", "redis.addresses") {
		return
	}
	for i, a := range r.Addresses {
		if err := checkAddress(a, false); err != nil {
			c.badElement("redis.addresses", i, "Invalid address", "redis.addresses must be host:port each, such as %q: %v.", "redis-1:6379", err)
		}
	}
	if !r.URL.IsZero() && len(r.Addresses) > 0 {
		c.bad("redis.addresses", "Conflicting settings", "redis.url names one server and redis.addresses several: give one of the two.")
	}
	if len(r.Addresses) == 0 && r.SentinelMaster != "" {
		c.bad("redis.sentinel_master", "Missing setting", "redis.sentinel_master needs the Sentinels in redis.addresses.")
	}
	if len(r.Addresses) > 0 {
		return
	}
	for _, s := range []struct {
		path  string
		given bool
	}{{"redis.username", r.Username != ""}, {"redis.password", !r.Password.IsZero()}, {"redis.tls", r.TLS}} {
		if s.given && c.ok(s.path) {
			c.bad(s.path, "Setting without effect", "%s is only used with redis.addresses. With redis.url write it in the URL: rediss://user:password@host:port.", s.path)
		}
	}
}

func (c *checker) worker() {
	w := c.cfg.Worker
	if c.ok("worker.lease", "worker.heartbeat") && 3*w.Heartbeat > w.Lease {
		path := "worker.heartbeat"
		if c.o.origins[path] == (origin{}) {
			path = "worker.lease"
		}
		c.bad(path, "Heartbeat too slow for the lease", "worker.heartbeat is %s and must be at most a third of worker.lease, which is %s: otherwise one lost heartbeat takes a healthy host's jobs away.",
			FormatDuration(w.Heartbeat), FormatDuration(w.Lease))
	}
}

func (c *checker) limits() {
	l := c.cfg.Limits
	if c.ok("limits.file_size", "limits.unpacked_size") && l.FileSize > l.UnpackedSize {
		path := "limits.file_size"
		if c.o.origins[path] == (origin{}) {
			path = "limits.unpacked_size"
		}
		c.bad(path, "Limits contradict each other", "limits.file_size is %s and limits.unpacked_size %s: one file cannot be larger than the whole archive.", l.FileSize, l.UnpackedSize)
	}
}

func (c *checker) telemetry() {
	if a := c.cfg.Telemetry.MetricsListen; c.ok("telemetry.metrics_listen") && a != "" {
		if err := checkAddress(a, true); err != nil {
			c.bad("telemetry.metrics_listen", "Invalid address", "telemetry.metrics_listen must be an address and a port, such as %q, or empty: %v.", "127.0.0.1:9464", err)
		}
	}
}

// reservedScan is no name for a scan type: POST /scans/{type} and
// /{type}/upload would meet.
const reservedScan = "scans"

func (c *checker) scan(name string, s Scan) {
	if at, ok := c.w.blocks["scan."+name]; ok && name == reservedScan {
		c.diags = append(c.diags, problem(at, "Reserved name", "A scan type cannot be called %q: its routes would be those of the API itself.", name)...)
	}
	c.options(name, s)
	path := "scan." + name + ".plugins"
	if !c.ok(path) {
		return
	}
	declared := slices.Sorted(maps.Keys(c.cfg.Plugins))
	for i, p := range s.Plugins {
		_, known := c.cfg.Plugins[p]
		_, seen := c.w.blocks["plugin."+p] // with an invalid name, reported there
		switch {
		case !known && !seen:
			text := suggest(p, declared)
			if text == "" {
				text = fmt.Sprintf(" Declare it with a block plugin %.64q { ... }, or use one of: %s.", p, strings.Join(declared, ", "))
			}
			c.badElement(path, i, "Undeclared plugin", "scan %q names the plugin %.64q, and there is no such plugin.%s", name, p, text)
		case slices.Contains(s.Plugins[:i], p):
			c.badElement(path, i, "Duplicate plugin", "scan %q names the plugin %.64q twice: it would run twice and report everything twice.", name, p)
		}
	}
}

func (c *checker) plugin(name string, p Plugin) {
	path := "plugin." + name + ".command"
	switch {
	case !c.ok(path):
	case p.Command == "":
		c.bad(path, "Missing command", "%s must name an executable: an absolute path, or a path inside plugin_dir.", path)
	case !filepath.IsAbs(p.Command) && !filepath.IsLocal(p.Command):
		c.bad(path, "Command outside plugin_dir", "%s leads out of plugin_dir: write an absolute path if that is meant.", path)
	}
	for i, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			c.badElement("plugin."+name+".args", i, "Invalid argument", "An argument of the plugin %q has a NUL character in it.", name)
		}
	}
	c.program(name, p)
}
