package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Plugin is the executable under test.
type Plugin struct {
	Command string // absolute path
	Args    []string
	Env     map[string]string // as env in the plugin's block: there is nothing else, and no PATH
	// Config is the settings, one JSON object; nil means {}. A required setting
	// that it lacks gets a value made up from the schema.
	Config json.RawMessage
}

// Options say how to test. The zero value of a field means its default.
type Options struct {
	// Only names the checks to run, by id or group; empty: all.
	Only []string
	// Sample is a directory whose scan is expected to find something, scanned
	// beside the kit's own; "": none.
	Sample string
	// HostVersion is told to the plugin in Describe.
	HostVersion string
	// ResultFunc hears of each result as it comes.
	ResultFunc func(Result)

	ScanTimeout time.Duration // one scan of a tree; default 2 min
	MaxSilence  time.Duration // without an event; default 30 s
	// StartTimeout is from the start to the handshake; default 10 s.
	StartTimeout    time.Duration
	DescribeTimeout time.Duration // default 5 s, as the host's
	Grace           time.Duration // of cancels, deadlines and drains; default 5 s, as the host's
	StopTimeout     time.Duration // to end after Shutdown, SIGTERM or the host's death; default 2 s
	Pause           time.Duration // for which a plugin is stopped by SIGSTOP; default 500 ms

	Memory    int64 // bytes of resident memory; default what it requires, else 512 MiB
	HugeFile  int64 // bytes of the huge file; default 32 MiB
	LongLine  int64 // bytes of the long line; default 4 MiB
	Files     int   // files of the tree with many; default 10,000
	LeakScans int   // scans to look for leaks over; default 20

	trees []string // for tests of the kit: all that are scanned; nil: all there are
}

func (o Options) withDefaults() Options {
	def(&o.ScanTimeout, 2*time.Minute)
	def(&o.MaxSilence, 30*time.Second)
	def(&o.StartTimeout, 10*time.Second)
	def(&o.DescribeTimeout, 5*time.Second)
	def(&o.Grace, 5*time.Second)
	def(&o.StopTimeout, 2*time.Second)
	def(&o.Pause, 500*time.Millisecond)
	def(&o.HugeFile, 32<<20)
	def(&o.LongLine, 4<<20)
	def(&o.Files, 10_000)
	def(&o.LeakScans, 20)
	return o
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// subject is what the kit calls the plugin before it knows its name.
const subject = "under-test"

// Run tests a plugin. The error says that nothing could be tested: a wrong
// option, no place for the trees, or ctx ended. What is wrong with the plugin is
// in the report.
func Run(ctx context.Context, p Plugin, o Options) (rep Report, err error) {
	wanted, err := Select(o.Only)
	if err != nil {
		return rep, err
	}
	k, err := newKit(p, o.withDefaults())
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	began := time.Now()
	k.begin(ctx)
	for _, c := range all() {
		if !slices.Contains(wanted, c.Check) {
			continue
		}
		from := time.Now()
		out := k.judge(ctx, c)
		if ctx.Err() != nil {
			return rep, context.Cause(ctx)
		}
		if k.err != nil {
			return rep, fmt.Errorf("check %s: %w", c.ID, k.err)
		}
		res := Result{Check: c.Check, Status: out.status, Saw: out.saw, Took: time.Since(from)}
		if res.Status == Fail && c.Level == Should {
			res.Status = Warn
		}
		rep.Results = append(rep.Results, res)
		if o.ResultFunc != nil {
			o.ResultFunc(res)
		}
	}
	rep.Name, rep.Version, rep.Took = k.desc.GetName(), k.desc.GetVersion(), time.Since(began)
	return rep, nil
}

// kit is one run of the tests. Only one goroutine uses it.
type kit struct {
	plugin Plugin
	opts   Options
	base   string // everything it makes is below
	host   *executor.Executor

	first       *proc // the process that was described first
	startErr    error // why it did not start
	desc        *pluginv1.DescribeResponse
	descErr     error // why there is no description, or none that the host takes
	descTook    time.Duration
	config      []byte // the settings in use: the author's, and what is made up
	configErr   error  // why the settings were refused
	worker      *proc  // configured, for scans; nil: none
	trees       map[string]*tree
	err         error // that is not the plugin's: Run ends with it
	seen        *seen // transcripts of all trees; nil: not scanned yet
	stderr      lines // of all processes
	strays      lines // what was written on standard output after the handshake
	nextWorkDir int
}

func newKit(p Plugin, o Options) (*kit, error) {
	if info, err := os.Stat(p.Command); err != nil {
		return nil, fmt.Errorf("look at the plugin: %w", err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("the plugin %s is a directory", p.Command)
	}
	if o.Sample != "" {
		var err error
		if o.Sample, err = filepath.Abs(o.Sample); err != nil {
			return nil, fmt.Errorf("look at the sample: %w", err)
		}
		if info, err := os.Stat(o.Sample); err != nil {
			return nil, fmt.Errorf("look at the sample: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("the sample %s is not a directory", o.Sample)
		}
	}
	base, err := executor.MkdirTemp("stp-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the tests: %w", err)
	}
	k := &kit{plugin: p, opts: o, base: base, trees: map[string]*tree{}}
	for _, dir := range []string{"run", "work", "trees", "outside"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make a directory for the tests: %w", err), k.close())
		}
	}
	k.host, err = executor.New(executor.Config{
		RunDir: filepath.Join(base, "run"), HostVersion: o.HostVersion,
		Plugins: []executor.Plugin{{
			Name: subject, Dev: true, Command: p.Command, Args: p.Args, Env: p.Env,
			StartTimeout: o.StartTimeout, CancelGrace: o.Grace, MaxSilence: o.MaxSilence,
		}},
	}, hclog.NewNullLogger())
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// begin brings the plugin as far as it comes: started, described, configured.
func (k *kit) begin(ctx context.Context) {
	if k.first, k.startErr = k.start(ctx); k.startErr != nil {
		return
	}
	if k.desc, k.descTook, k.descErr = k.first.describe(ctx); k.descErr != nil {
		return
	}
	if _, err := executor.CheckDescription(k.desc); err != nil {
		k.descErr = fmt.Errorf("the host does not take its description: %w", err)
		return
	}
	if k.config, k.configErr = k.settings(); k.configErr != nil {
		return
	}
	k.configErr = k.first.configure(ctx, k.config)
}

// judge runs a check, when the plugin has come far enough for it.
func (k *kit) judge(ctx context.Context, c check) outcome {
	switch {
	case c.stage >= started && k.startErr != nil:
		return notApplicable("the plugin does not start")
	case c.stage >= described && k.descErr != nil:
		return notApplicable("the plugin has no usable description")
	case c.stage >= configured && k.configErr != nil:
		return notApplicable("the plugin is not configured")
	case c.stage == treeStage && !k.takes(pluginv1.Input_INPUT_TREE):
		return notApplicable("the plugin takes no trees")
	case c.stage == urlStage && !k.takes(pluginv1.Input_INPUT_URL):
		return notApplicable("the plugin takes no URLs")
	}
	return c.run(k, ctx)
}

func (k *kit) takes(in pluginv1.Input) bool { return slices.Contains(k.desc.GetConsumes(), in) }

func (k *kit) close() error {
	for _, p := range []*proc{k.first, k.worker} {
		if p != nil {
			p.stop()
		}
	}
	if err := removeAll(k.base); err != nil {
		return fmt.Errorf("remove the tests' directory: %w", err)
	}
	return nil
}
