package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/sdk/wire"
)

// Isolation says who shares a plugin process.
type Isolation string

const (
	// PerScan gives every job a fresh process. The default.
	PerScan Isolation = "per_scan"
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
}

// Plugin is one configured plugin.
type Plugin struct {
	Name    string // must be what the plugin calls itself
	Command string // absolute path of the executable
	Args    []string
	// Env is the whole environment but for the handshake, HOME, TMPDIR and the
	// process marker. There is no PATH unless it is given here.
	Env    map[string]string
	Config json.RawMessage // for Configure; nil means {}

	Isolation Isolation // default PerScan
	// Standby is how many processes wait, configured, for the next job: 0 to
	// 64, with PerScan only. 0 starts one when a job comes, and so nobody
	// hears of a plugin that cannot start before that, unless Check is called.
	Standby int

	Sandbox Confinement    // default Unconfined without Config.Sandbox, else Required
	Limits  sandbox.Limits // of a confined process; 0 is no limit
	Disk    int64          // bytes a confined process may have on disk; 0: no limit
	Network bool           // a confined process shares the host's network
	Read    []string       // what a confined process may read beside the system and its own directory

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
	case PerScan, Shared:
	default:
		bad("isolation %q is none of %q and %q", p.Isolation, PerScan, Shared)
	}
	switch p.Sandbox {
	case "":
		p.Sandbox = Required
	case Required, BestEffort, Unconfined:
	default:
		bad("sandbox %q is none of %q, %q and %q", p.Sandbox, Required, BestEffort, Unconfined)
	}
	for _, path := range p.Read {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			bad("read: %q must be a clean absolute path, and not the root", path)
		}
	}
	if p.Standby < 0 || p.Standby > maxStandby || (p.Isolation == Shared && p.Standby != 0) {
		bad("standby %d: 0 to %d, and only with %s", p.Standby, maxStandby, PerScan)
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
