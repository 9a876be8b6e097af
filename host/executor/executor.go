package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/internal/spread"
)

// Executor runs jobs in plugin processes. Safe for concurrent use.
type Executor struct {
	token    string // begins the names of this executor's directories
	cfg      Config
	log      hclog.Logger
	launcher *launcher
	names    []string                // of the plugins, sorted; never others
	runs     atomic.Uint64           // names runs to plugins
	tallies  map[string]*proxy.Tally // of each plugin, whatever keeper it has; not written after New

	serving chan struct{} // closed when Serve has begun
	stopped chan struct{} // closed when Serve is ending: no new runs, and running ones are asked to stop

	reloading sync.Mutex  // held by Reload; before mu
	changes   chan change // from Reload to Serve

	mu      sync.Mutex
	keepers map[string]*keeper // the ones that new runs get
	begun   bool
	kept    bool // Serve has taken the keepers
	ending  bool
	active  sync.WaitGroup // runs; Add only under mu and before ending
}

var _ host.Executor = (*Executor)(nil)

// errStopping is the cause with which Serve ends the runs it finds.
var errStopping = errors.New("the host is stopping")

// New checks cfg. It starts nothing: Serve does.
func New(cfg Config, log hclog.Logger) (*Executor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("executor: %w", err)
	}
	choices := containments()
	if cfg.NoPIDNamespace {
		choices = choices[len(choices)-1:]
	}
	log = log.Named("executor")
	e := &Executor{
		cfg: cfg, log: log, token: strings.ToLower(rand.Text()[:8]), launcher: &launcher{log: log, choices: choices},
		keepers: map[string]*keeper{}, serving: make(chan struct{}), stopped: make(chan struct{}),
		changes: make(chan change), tallies: map[string]*proxy.Tally{},
	}
	for _, p := range cfg.Plugins {
		e.keepers[p.Name] = newKeeper(p, log, e.tools())
		e.names, e.tallies[p.Name] = append(e.names, p.Name), &proxy.Tally{}
	}
	slices.Sort(e.names)
	return e, nil
}

func (e *Executor) tools() tools {
	return tools{
		launch: e.launch, cache: catalog.Cache{Dir: e.cfg.DescribeDir},
		open: func(s catalog.Source) (*catalog.Program, error) {
			return catalog.Open(s, e.cfg.RunDir, "p"+e.token+"-exe-")
		},
	}
}

// Serve keeps the plugin processes until ctx ends. Then it refuses new runs,
// cancels those it finds, and returns nil when no process is left, which takes
// at most the longest CancelGrace and a few seconds. It is called once; a
// plugin that cannot be started does not end it.
func (e *Executor) Serve(ctx context.Context) error {
	e.mu.Lock()
	again := e.begun
	e.begun = true
	e.mu.Unlock()
	if again {
		return errors.New("executor: served twice")
	}
	if err := os.MkdirAll(e.cfg.RunDir, 0o700); err != nil {
		return fmt.Errorf("executor: make the run directory: %w", err)
	}
	spread.Out(e.cfg.RunDir)
	e.sweep()
	e.tellSandbox()

	keepCtx, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var keeping sync.WaitGroup
	keep := func(k *keeper) {
		own, leave := context.WithCancel(keepCtx)
		k.leave = leave
		keeping.Go(func() {
			defer leave()
			k.keep(own)
		})
	}
	e.mu.Lock()
	e.kept = true
	for _, k := range e.keepers {
		keep(k)
	}
	e.mu.Unlock()
	close(e.serving)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-e.changes:
			keep(c.begins)
			keeping.Go(c.retires.retire)
		}
	}

	e.mu.Lock()
	e.ending = true
	close(e.stopped)
	e.mu.Unlock()
	e.active.Wait()
	stopKeeping()
	keeping.Wait()
	return nil
}

// sweep removes the directories that an executor before this one left behind
// when its host was killed. Its plugins died with it, and the run directory is
// no living executor's but this one's.
func (e *Executor) sweep() {
	if err := removeRuns(e.cfg.RunDir, "p"+e.token+"-"); err != nil {
		e.log.Warn("directories of a dead host's plugins are left behind", "error", err)
	}
}

// RemoveRuns removes what an executor left in its run directory when its host
// was killed. The caller knows that no living executor has that directory.
func RemoveRuns(runDir string) error { return removeRuns(runDir, "") }

// removeRuns leaves alone what begins with keep, unless that is "".
func removeRuns(runDir, keep string) error {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "p") || keep != "" && strings.HasPrefix(entry.Name(), keep) {
			continue
		}
		path := filepath.Join(runDir, entry.Name())
		if entry.IsDir() {
			err = errors.Join(err, removeDir(path))
		} else { // the private copy of an executable
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// Plugins names the configured plugins, sorted. One that cannot be started is
// among them: its jobs fail with plugin_unavailable and the reason, which is
// better than to wait for ever.
func (e *Executor) Plugins() []string { return slices.Clone(e.names) }

// Run is host.Executor's. Before Serve has begun it waits for it.
func (e *Executor) Run(ctx context.Context, t host.Task, s host.Sink) (host.Report, error) {
	k, err := e.enter(ctx, t.Plugin)
	if err != nil {
		return host.Report{}, err
	}
	defer e.active.Done()
	defer k.runs.Done()

	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	defer close(watching)
	go func() {
		select {
		case <-e.stopped:
			cancel(errStopping)
		case <-watching:
		}
	}()

	rep, err := e.runOn(runCtx, k, t, s)
	return rep, e.verdict(ctx, runCtx, t.Plugin, err)
}

// enter counts the run in, with the keeper that is to serve it, once there is
// somebody to.
func (e *Executor) enter(ctx context.Context, plugin string) (*keeper, error) {
	if !slices.Contains(e.names, plugin) {
		f := newFault(plugin, host.CodePluginUnavailable, true, "is not configured on this host")
		f.Err = host.ErrNoPlugin
		return nil, f
	}
	select {
	case <-e.serving:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return nil, stopping()
	}
	k := e.keepers[plugin]
	k.runs.Add(1)
	e.active.Add(1)
	return k, nil
}

// keeper is the one that new runs of a plugin get; nil: there is no such plugin.
func (e *Executor) keeper(plugin string) *keeper {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keepers[plugin]
}

func stopping() *host.Fault {
	return &host.Fault{Code: host.CodePluginUnavailable, Message: errStopping.Error(), Retryable: true}
}

// runOn gets a process and gives it back, or ends it.
func (e *Executor) runOn(ctx context.Context, k *keeper, t host.Task, sink host.Sink) (host.Report, error) {
	p, err := k.acquire(ctx, t)
	if err != nil {
		return host.Report{}, err
	}
	t, leave, err := p.occupy(t, fmt.Sprintf("%x", e.runs.Add(1))) //nolint:contextcheck // what watches it ends with leave
	if err != nil {
		k.release(p, true)
		return host.Report{}, err
	}
	s := &scan{
		p: p, task: t, sink: sink,
		id:  fmt.Sprintf("%s/%d/%d", t.Job, t.Attempt, e.runs.Add(1)),
		log: e.log, key: e.cfg.identityKey(t),
	}
	returned := false // stays so when run panics
	defer func() {
		leave()
		k.release(p, s.broken || !returned)
	}()
	if want := inputOf(t); !slices.Contains(p.info.Inputs, want) {
		returned = true
		return host.Report{}, p.fault(host.CodePluginRefused, false, "takes no input of the kind %q, only %q", want, p.info.Inputs)
	}
	rep, err := s.run(ctx)
	returned = true
	return rep, err
}

func inputOf(t host.Task) host.InputKind {
	if t.URL != "" {
		return host.InputURL
	}
	return host.InputArchive
}

// verdict is the error Run returns. When the caller's context ended, and the
// plugin had not had its last word before, the cause is what counts, whatever
// broke on the way.
func (e *Executor) verdict(ctx, runCtx context.Context, plugin string, err error) error {
	var f *host.Fault
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case runCtx.Err() == nil:
	case errors.Is(context.Cause(runCtx), errStopping):
		return stopping()
	default:
		err = context.Cause(runCtx)
	}
	if errors.As(err, &f) {
		return f
	}
	f = newFault(plugin, host.CodeInternal, true, "could not be run")
	f.Err = err
	return f
}

// Describe starts a plugin, asks it what it is, and stops it; Status shows how
// that went. Serve need not be running. The error is a *host.Fault; host.ErrNoPlugin is in it when there
// is no such plugin.
func (e *Executor) Describe(ctx context.Context, name string) (Info, error) {
	k := e.keeper(name)
	if k == nil {
		f := newFault(name, host.CodePluginUnavailable, false, "is not configured on this host")
		f.Err = host.ErrNoPlugin
		return Info{}, f
	}
	p, err := k.start(ctx, "")
	if err == nil {
		p.stop(true)
	}
	e.mu.Lock()
	served := e.begun
	e.mu.Unlock()
	if !served {
		k.forget()
	}
	if err != nil {
		return Info{}, err
	}
	return p.info, nil
}

// Known gives what a plugin said of itself when it was last started, and starts
// it as Describe does when nothing is remembered. With a remembered answer,
// nothing is held against the plugin's block.
func (e *Executor) Known(ctx context.Context, name string) (Info, error) {
	if k := e.keeper(name); k != nil {
		if info := k.remembered(); info != nil {
			return *info, nil
		}
	}
	return e.Describe(ctx, name)
}

// CheckSettings holds the Config of a plugin against what it said it takes when
// it was last started. It starts nothing: where nothing is remembered, it finds
// nothing.
func (e *Executor) CheckSettings(name string) []catalog.Mistake {
	k := e.keeper(name)
	if k == nil {
		return nil
	}
	info := k.remembered()
	if info == nil {
		return nil
	}
	return k.plugin.mistakes(*info)
}

// CheckOne is Check for one plugin, which must be configured.
func (e *Executor) CheckOne(ctx context.Context, name string) PluginStatus {
	info, err := e.Describe(ctx, name)
	k := e.keeper(name)
	s := k.status()
	s.State, s.Reason = StateReady, ""
	if err != nil {
		s.State, s.Reason = StateFailing, reason(err)
	} else {
		s.Info = &info
	}
	s.Containment, s.Missing = e.containment(k.plugin), e.missing(k.plugin)
	return s
}

// Check starts every plugin once, a few at a time, and says how it went. Serve
// need not be running.
func (e *Executor) Check(ctx context.Context) []PluginStatus {
	out := make([]PluginStatus, len(e.names))
	slots := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for i, name := range e.names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = e.CheckOne(ctx, name)
		})
	}
	wg.Wait()
	return out
}
