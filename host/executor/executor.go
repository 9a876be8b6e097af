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
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// Executor runs jobs in plugin processes. Safe for concurrent use.
type Executor struct {
	token    string // begins the names of this executor's directories
	cfg      Config
	log      hclog.Logger
	launcher *launcher
	keepers  map[string]*keeper
	names    []string
	runs     atomic.Uint64 // names runs to plugins

	serving chan struct{} // closed when Serve has begun
	stopped chan struct{} // closed when Serve is ending: no new runs, and running ones are asked to stop

	mu     sync.Mutex
	begun  bool
	ending bool
	active sync.WaitGroup // runs; Add only under mu and before ending
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
	}
	for _, p := range cfg.Plugins {
		e.keepers[p.Name] = newKeeper(p, log, e.launch)
		e.names = append(e.names, p.Name)
	}
	slices.Sort(e.names)
	return e, nil
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
	e.sweep()
	e.tellSandbox()

	keepCtx, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var keepers sync.WaitGroup
	for _, k := range e.keepers {
		keepers.Go(func() { k.keep(keepCtx) })
	}
	close(e.serving)
	<-ctx.Done()

	e.mu.Lock()
	e.ending = true
	close(e.stopped)
	e.mu.Unlock()
	e.active.Wait()
	stopKeeping()
	keepers.Wait()
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
		err = errors.Join(err, removeDir(filepath.Join(runDir, entry.Name())))
	}
	return err
}

// Plugins names the configured plugins, sorted. One that cannot be started is
// among them: its jobs fail with plugin_unavailable and the reason, which is
// better than to wait for ever.
func (e *Executor) Plugins() []string { return slices.Clone(e.names) }

// Run is host.Executor's. Before Serve has begun it waits for it.
func (e *Executor) Run(ctx context.Context, t host.Task, s host.Sink) (host.Report, error) {
	k, ok := e.keepers[t.Plugin]
	if !ok {
		f := newFault(t.Plugin, host.CodePluginUnavailable, true, "is not configured on this host")
		f.Err = host.ErrNoPlugin
		return host.Report{}, f
	}
	if err := e.enter(ctx); err != nil {
		return host.Report{}, err
	}
	defer e.active.Done()

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

// enter counts the run in, once there is somebody to serve it.
func (e *Executor) enter(ctx context.Context) error {
	select {
	case <-e.serving:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return stopping()
	}
	e.active.Add(1)
	return nil
}

func stopping() *host.Fault {
	return &host.Fault{Code: host.CodePluginUnavailable, Message: errStopping.Error(), Retryable: true}
}

// runOn gets a process and gives it back, or ends it.
func (e *Executor) runOn(ctx context.Context, k *keeper, t host.Task, sink host.Sink) (host.Report, error) {
	p, err := k.acquire(ctx)
	if err != nil {
		return host.Report{}, err
	}
	t, leave, err := p.occupy(t, fmt.Sprintf("%x", e.runs.Add(1)))
	if err != nil {
		k.release(p, true)
		return host.Report{}, err
	}
	s := &scan{
		p: p, task: t, sink: sink,
		id:  fmt.Sprintf("%s/%d/%d", t.Job, t.Attempt, e.runs.Add(1)),
		log: e.log,
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
	k, ok := e.keepers[name]
	if !ok {
		f := newFault(name, host.CodePluginUnavailable, false, "is not configured on this host")
		f.Err = host.ErrNoPlugin
		return Info{}, f
	}
	p, err := k.start(ctx)
	if err != nil {
		return Info{}, err
	}
	p.stop(true)
	return p.info, nil
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
			info, err := e.Describe(ctx, name)
			out[i] = PluginStatus{Name: name, Isolation: e.keepers[name].plugin.Isolation, Since: time.Now(), State: StateReady}
			if err != nil {
				out[i].State, out[i].Reason = StateFailing, reason(err)
			} else {
				out[i].Info = &info
			}
			out[i].Containment = e.containment(e.keepers[name].plugin)
		})
	}
	wg.Wait()
	return out
}
