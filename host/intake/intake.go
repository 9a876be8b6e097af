package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// ScanType is what the operator declared: which input it takes and which
// plugins run on it, with which limits.
type ScanType struct {
	Name     string // ^[a-z][a-z0-9-]{0,62}$
	Input    host.InputKind
	Plugins  []string      // a job each; none: requests are refused with host.ErrNoPlugin
	Timeout  time.Duration // of each job, from its first start
	Attempts int           // of each job, at least 1
	// Options is a JSON Schema of what a client may give with a scan: an object
	// with a property for each option, none of which takes an object. nil: none.
	Options json.RawMessage
}

// Summary is what the check of an archive found.
type Summary struct {
	Format        string // "zip", "tar", "tar.gz", "tar.zst"
	Files         int    // regular files that a plugin will see
	UnpackedBytes int64
	Dropped       int // links, devices and .git entries left out
}

// CheckFunc reads a stored archive through. unpacked is how many bytes it may
// have, unpacked; 0 is what this host takes from anybody. One that must not be
// unpacked it refuses with what RefuseArchive makes; any other error is this
// host's own.
type CheckFunc func(ctx context.Context, r io.ReaderAt, size, unpacked int64) (Summary, error)

// Store is what intake needs of the store.
type Store interface {
	host.ScanStore
	// Usage is that of host.QuotaStore.
	Usage(ctx context.Context, t host.TenantID) (host.Usage, error)
}

// Config bounds what is taken in.
type Config struct {
	// MaxArchive is the largest archive, packed, in bytes; 0 means 50 MiB.
	MaxArchive int64
	// Inline is the largest archive, packed, that is no blob of its own, in bytes:
	// it is kept in the store, or in a blob with others of its tenant. 0 means
	// host.InlineArchive, which is also the most; below 0 every archive is a blob.
	Inline int64
	// Packed is told of each small archive that was put into a blob with others,
	// and of its bytes, which must not be changed; nil: nobody is.
	Packed func(a *host.Archive, data []byte)
	// Permit says whether a tenant may have a URL scanned: an error that wraps
	// host.ErrNotPermitted, in sentences for the tenant, when not. nil: it may.
	Permit func(ctx context.Context, t host.TenantID, url string) error
	// Sealer keeps the secrets of scans. nil: none are taken.
	Sealer Sealer
	// SecretOptions names the options of a plugin that it calls sensitive, and says
	// whether that is known here. nil: no plugin has any.
	SecretOptions func(ctx context.Context, plugin string) (names []string, known bool)
	// Accepted is told of each scan that was accepted. It must not block; nil:
	// nobody is told.
	Accepted func(host.Scan)
	// MaxChecks is how many archives are checked at once; others wait. 0 means
	// one for each processor.
	MaxChecks int
	// AcceptTimeout bounds the transaction, and each clean-up; 0 means 15 s.
	AcceptTimeout time.Duration
}

// Intake accepts scans. Safe for concurrent use.
type Intake struct {
	store     Store
	room      room
	committer *committer
	blobs     host.BlobStore
	check     CheckFunc
	rules     atomic.Pointer[rules]
	wake      func()
	cfg       Config
	log       hclog.Logger
	checks    chan struct{} // a slot for each check that may run
}

// rules are what an operator changes while the host runs. They are replaced
// whole, and a request keeps to those that it asked for.
type rules struct {
	types      []ScanType
	maxArchive int64
	options    map[string]options // by scan type
}

// New validates the scan types and returns an Intake. wake is called after
// each accepted scan; it must not block.
func New(store Store, blobs host.BlobStore, check CheckFunc, types []ScanType, wake func(), cfg Config, log hclog.Logger) (*Intake, error) {
	if cfg.MaxArchive == 0 {
		cfg.MaxArchive = 50 << 20
	}
	if cfg.Inline == 0 || cfg.Inline > host.InlineArchive {
		cfg.Inline = host.InlineArchive
	}
	if cfg.MaxChecks == 0 {
		cfg.MaxChecks = runtime.GOMAXPROCS(0)
	}
	if cfg.AcceptTimeout == 0 {
		cfg.AcceptTimeout = 15 * time.Second
	}
	if cfg.MaxChecks < 0 || cfg.AcceptTimeout < 0 {
		return nil, errNegative
	}
	in := &Intake{
		store: store, room: room{lookup: store.Usage}, blobs: blobs, check: check, wake: wake,
		cfg: cfg, log: log, checks: make(chan struct{}, cfg.MaxChecks),
	}
	if err := in.Update(types, cfg.MaxArchive); err != nil {
		return nil, err
	}
	in.committer = &committer{store: store, blobs: blobs, remove: in.remove, packed: cfg.Packed, timeout: cfg.AcceptTimeout, log: log}
	return in, nil
}

var errNegative = errors.New("intake limits must not be negative")

// Update replaces the scan types and the largest archive, packed, in bytes, both
// at once. A scan that was accepted keeps what it was accepted with, an upload
// that was begun its limit. After an error nothing has changed.
func (in *Intake) Update(types []ScanType, maxArchive int64) error {
	options, wrong := allOptions(types)
	errs := append(validateTypes(types), wrong...)
	if maxArchive < 0 {
		errs = append(errs, errNegative)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	own := slices.Clone(types)
	for i := range own {
		own[i].Plugins = slices.Clone(own[i].Plugins)
	}
	in.rules.Store(&rules{own, maxArchive, options})
	return nil
}

// Types lists the scan types, in the order in which they were declared.
func (in *Intake) Types() []ScanType { return slices.Clone(in.rules.Load().types) }

// MaxArchive is the largest archive that is taken, in bytes.
func (in *Intake) MaxArchive() int64 { return in.rules.Load().maxArchive }

// Admit says whether a request for this scan type with this kind of input can
// be accepted at all, so that a hopeless one is refused before its body is
// read: host.ErrNotFound for an unknown type or the wrong kind of input,
// host.ErrNoPlugin when no plugin is configured for it.
func (in *Intake) Admit(name string, kind host.InputKind) error {
	_, err := in.admit(name, kind)
	return err
}

func (in *Intake) admit(name string, kind host.InputKind) (ScanType, error) {
	types := in.rules.Load().types
	i := slices.IndexFunc(types, func(t ScanType) bool { return t.Name == name })
	if i < 0 || types[i].Input != kind {
		return ScanType{}, refuse(host.ErrNotFound, "unknown_scan_type", "",
			"No scan type %.64q takes input of kind %q. The operator declares scan types in securetag.hcl.", name, kind)
	}
	if len(types[i].Plugins) == 0 {
		return ScanType{}, refuse(host.ErrNoPlugin, "", "",
			"No plugin is configured for scan type %q. The operator adds one in securetag.hcl.", name)
	}
	return types[i], nil
}

var (
	typeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	// reservedTypes would make two routes of the API the same.
	reservedTypes = []string{"scans"} //nolint:gochecknoglobals // a constant list
)

func validateTypes(types []ScanType) []error {
	var errs []error
	seen := map[string]bool{}
	for _, t := range types {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("scan type %q: %s", t.Name, fmt.Sprintf(format, args...)))
		}
		switch {
		case !typeName.MatchString(t.Name):
			fail("the name must match %s", typeName)
		case slices.Contains(reservedTypes, t.Name):
			fail("the name is reserved")
		case seen[t.Name]:
			fail("declared twice")
		}
		seen[t.Name] = true
		if t.Input != host.InputArchive && t.Input != host.InputURL {
			fail("input is %q, not %q or %q", t.Input, host.InputArchive, host.InputURL)
		}
		if t.Timeout <= 0 {
			fail("timeout must be positive, not %s", t.Timeout)
		}
		if t.Attempts < 1 {
			fail("attempts must be at least 1, not %d", t.Attempts)
		}
		sorted := slices.Sorted(slices.Values(t.Plugins))
		if len(slices.Compact(sorted)) != len(t.Plugins) {
			fail("a plugin is named twice")
		}
	}
	return errs
}
