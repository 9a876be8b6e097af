package executor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-version"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/sdk/wire"
)

// Isolation says who shares a plugin process.
type Isolation string

const (
	// PerScan gives every job a fresh process. The default.
	PerScan Isolation = "per_scan"
	// PerTenant runs the jobs of one tenant in one process, and those of no
	// other: for plugins that are slow to start.
	PerTenant Isolation = "per_tenant"
	// Shared runs all jobs in one process: only for plugins that are trusted
	// to keep tenants apart themselves.
	Shared Isolation = "shared"
)

// Config is what an Executor needs to know. The zero value of a field means
// its default.
type Config struct {
	Plugins []Plugin
	// RunDir holds a directory for each living process (socket, HOME, TMPDIR).
	// Absolute, at most 70 bytes long because a unix socket path must be short,
	// and this executor's alone while it lives: what it finds there at its start
	// was left by one that is dead. It is made when missing.
	RunDir string
	// HostVersion is told to plugins in Describe.
	HostVersion string
	// DescribeDir is where descriptions are kept, so that a plugin's settings
	// are checked before it is started; "" keeps none. Hosts may share it.
	DescribeDir string
	// IdentityKey is that from which each plugin and tenant gets the key of its
	// identities (ScanRequest.identity_key); nil: nothing is compared.
	IdentityKey []byte
	// NoPIDNamespace does without a pid namespace even where there could be
	// one; see the package comment for what is lost.
	NoPIDNamespace bool

	// Sandbox confines the plugins that ask for it; nil: none does.
	Sandbox *sandbox.Sandbox
	// SlotDirs are directories on other file systems than RunDir, in which trees
	// lie: each process gets a place in each, where its job's tree is moved to.
	// They are made when missing and are this executor's alone.
	SlotDirs []string
	// TreeDirs are the directories in which the trees of all jobs lie. Only
	// confined processes that are Shared see them.
	TreeDirs []string
	// Hide are directories of which confined processes see nothing but what is
	// theirs, also where a plugin lives in a directory above one.
	Hide []string
}

// identityKey is the key of a task's tenant and plugin: neither another tenant's
// identities nor another plugin's tell anything of theirs.
func (c Config) identityKey(t host.Task) []byte {
	if len(c.IdentityKey) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, c.IdentityKey)
	_, _ = mac.Write([]byte("identity\x00" + string(t.Tenant) + "\x00" + t.Plugin)) // never fails
	return mac.Sum(nil)
}

// Plugin is one configured plugin.
type Plugin struct {
	Name    string // must be what the plugin calls itself
	Command string // absolute path of the executable
	Args    []string
	// SHA256, Dir, Files and Dev pin the program: see catalog.Source. One of
	// SHA256 and Dev must be given.
	SHA256 string
	Dir    string
	Files  []string
	Dev    bool
	// Version constrains the version that it gives, such as "~> 1.2"; "": any.
	Version string
	// Env is the whole environment but for the handshake, HOME, TMPDIR and the
	// process marker. There is no PATH unless it is given here.
	Env    map[string]string
	Config json.RawMessage // for Configure; nil means {}
	// Places says where people find each setting of Config: "securetag.hcl:12".
	Places map[string]string
	// Literals are the settings of Config that are written out where Places says.
	// One that the plugin calls sensitive must not be, and is refused.
	Literals map[string]bool

	// Attach is a process to dial instead of starting Command; nil: none. There
	// is then no Standby, and MaxSilence does not count.
	Attach *Attach

	Isolation Isolation // default PerScan
	// Standby is how many processes wait, configured, for the next job: 0 to
	// 64, with PerScan only. 0 starts one when a job comes, and so nobody
	// hears of a plugin that cannot start before that, unless Check is called.
	Standby int

	Sandbox Confinement    // default Unconfined without Config.Sandbox, else Required
	Limits  sandbox.Limits // of a confined process; 0 is no limit
	Disk    int64          // bytes a confined process may have on disk; 0: no limit
	Network bool           // a confined process shares the host's network
	// Egress lets a confined process call what this says, through a proxy of the
	// host's and no other way; nil: it does not. Not with Network. Where the machine
	// cannot hold that, Required refuses it, and otherwise it has the host's network.
	Egress *proxy.Config
	Read   []string // what a confined process may read beside the system and its own directory

	MaxFindings      int   // default 25,000: a scan ends partial there
	MaxFindingsBytes int64 // default 64 MiB, as received
	// MaxFindingsRule is how many findings of one rule are kept, so that a noisy
	// one does not hide the others; the scan goes on. Default 5,000.
	MaxFindingsRule   int
	MaxArtifacts      int           // default and most host.MaxArtifacts: the rest is left out
	MaxArtifactsBytes int64         // default 64 MiB, together
	MaxSilence        time.Duration // default 60 s without an event: hung
	CancelGrace       time.Duration // default 5 s from Cancel to the kill
	StartTimeout      time.Duration // default 10 s from exec to the handshake

	// TenantIdle is how long a process without a job is kept with PerTenant,
	// default 5 min, and TenantProcesses how many without one at most, default 16.
	TenantIdle      time.Duration
	TenantProcesses int

	Restart Restart
}

// Restart says what follows when a plugin fails by itself: cannot be started,
// or ends while it waits. A process that dies of a scan is not counted, because
// whoever can send a scan could take the plugin from everybody else with it.
type Restart struct {
	FirstDelay  time.Duration // default 0.5 s before the next start; doubles
	LastDelay   time.Duration // default 1 min
	MaxFailures int           // default 3 within Window: quarantined
	Window      time.Duration // default 10 min
}

// source is what catalog needs to know.
func (p Plugin) source() catalog.Source {
	return catalog.Source{Command: p.Command, Dir: p.Dir, Files: p.Files, SHA256: p.SHA256, Dev: p.Dev}
}

const (
	maxRunDir  = 70
	maxStandby = 64
)

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// withDefaults copies c, fills in the defaults and reports every mistake.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if !filepath.IsAbs(c.RunDir) || filepath.Clean(c.RunDir) != c.RunDir {
		errs = append(errs, fmt.Errorf("run directory %q must be a clean absolute path", c.RunDir))
	}
	if len(c.RunDir) > maxRunDir {
		errs = append(errs, fmt.Errorf("run directory %q is %d bytes long, and socket paths leave room for %d: choose a shorter one", c.RunDir, len(c.RunDir), maxRunDir))
	}
	c.Plugins = slices.Clone(c.Plugins)
	seen := map[string]bool{}
	for i := range c.Plugins {
		if c.Sandbox == nil {
			c.Plugins[i].Sandbox = Unconfined
		}
		p, err := c.Plugins[i].withDefaults()
		if err != nil {
			errs = append(errs, fmt.Errorf("plugin %q: %w", p.Name, err))
		}
		if seen[p.Name] {
			errs = append(errs, fmt.Errorf("plugin %q is configured twice", p.Name))
		}
		seen[p.Name], c.Plugins[i] = true, p
	}
	return c, errors.Join(errs...)
}

func (p Plugin) withDefaults() (Plugin, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !pluginName.MatchString(p.Name) {
		bad("the name must match %s", pluginName)
	}
	if !filepath.IsAbs(p.Command) {
		bad("command %q must be an absolute path", p.Command)
	}
	if (p.SHA256 == "") != p.Dev {
		bad("it needs a sha256, or dev, and not both")
	}
	if len(p.Files) > 0 && !filepath.IsAbs(p.Dir) {
		bad("the directory of its files %q must be an absolute path", p.Dir)
	}
	if p.Version != "" {
		if _, err := version.NewConstraint(p.Version); err != nil {
			bad("%q is no version constraint", p.Version)
		}
	}
	p.Files, p.Places, p.Literals = slices.Clone(p.Files), maps.Clone(p.Places), maps.Clone(p.Literals)
	p.Args, p.Env = slices.Clone(p.Args), maps.Clone(p.Env)
	for k, v := range p.Env {
		switch {
		case !envName.MatchString(k) || strings.ContainsRune(v, 0):
			bad("environment variable %q is not one", k)
		case strings.HasPrefix(k, "PLUGIN_"), k == wire.MagicCookieKey, k == markerKey:
			bad("environment variable %s belongs to the handshake", k)
		}
	}
	if p.Config = slices.Clone(p.Config); len(p.Config) == 0 {
		p.Config = json.RawMessage("{}")
	} else if !json.Valid(p.Config) {
		bad("its configuration is not JSON")
	}
	switch p.Isolation {
	case "":
		p.Isolation = PerScan
	case PerScan, PerTenant, Shared:
	default:
		bad("isolation %q is none of %q, %q and %q", p.Isolation, PerScan, PerTenant, Shared)
	}
	switch p.Sandbox {
	case "":
		p.Sandbox = Required
	case Required, BestEffort, Unconfined:
	default:
		bad("sandbox %q is none of %q, %q and %q", p.Sandbox, Required, BestEffort, Unconfined)
	}
	if p.Egress != nil {
		if p.Network {
			bad("it has the host's network, and a way out beside it would hold nothing")
		}
		own := *p.Egress
		if own.Plugin = p.Name; own.Check() != nil {
			bad("egress: %w", own.Check())
		}
		p.Egress = &own
	}
	for _, path := range p.Read {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			bad("read: %q must be a clean absolute path, and not the root", path)
		}
	}
	if p.Standby < 0 || p.Standby > maxStandby || (p.Isolation != PerScan && p.Standby != 0) {
		bad("standby %d: 0 to %d, and only with %s", p.Standby, maxStandby, PerScan)
	}
	if p.Attach != nil {
		// Its author stops and starts it as often as they like.
		p.Standby, p.MaxSilence, p.Restart.MaxFailures = 0, patience, math.MaxInt
	}
	if p.Attach != nil && !p.Dev {
		bad("it can be attached to only with dev = true: nothing has checked what the process runs")
	}
	fill(&p.MaxFindings, 25_000, "max findings", bad)
	fill(&p.MaxFindingsBytes, 64<<20, "max findings bytes", bad)
	fill(&p.MaxFindingsRule, 5_000, "max findings of a rule", bad)
	fill(&p.MaxArtifacts, host.MaxArtifacts, "max artifacts", bad)
	fill(&p.MaxArtifactsBytes, 64<<20, "max artifacts bytes", bad)
	if p.MaxArtifacts > host.MaxArtifacts {
		bad("max artifacts must be at most %d", host.MaxArtifacts)
	}
	fill(&p.MaxSilence, time.Minute, "max silence", bad)
	fill(&p.CancelGrace, 5*time.Second, "cancel grace", bad)
	fill(&p.StartTimeout, 10*time.Second, "start timeout", bad)
	fill(&p.TenantIdle, 5*time.Minute, "tenant idle", bad)
	fill(&p.TenantProcesses, 16, "tenant processes", bad)
	fill(&p.Restart.FirstDelay, 500*time.Millisecond, "first delay", bad)
	fill(&p.Restart.LastDelay, max(time.Minute, p.Restart.FirstDelay), "last delay", bad)
	fill(&p.Restart.MaxFailures, 3, "max failures", bad)
	fill(&p.Restart.Window, 10*time.Minute, "window", bad)
	return p, errors.Join(errs...)
}

// fill puts a default where nothing was given.
func fill[T ~int | ~int64](v *T, def T, name string, bad func(string, ...any)) {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		bad("%s must not be negative", name)
	}
}
