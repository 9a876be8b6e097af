package executor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// steadyLife: a process that lived this long was no false start.
const steadyLife = 10 * time.Second

// keeper looks after one configured plugin: it keeps the standby processes, or
// the shared one, and knows how the plugin does.
type keeper struct {
	plugin Plugin
	log    hclog.Logger
	tools  tools
	wake   chan struct{}      // capacity 1: look again
	leave  context.CancelFunc // ends keep; set before that begins
	runs   sync.WaitGroup     // runs that have it; Add only under the executor's mu, while it is the current one

	opening sync.Mutex       // held while program is opened; before mu
	program *catalog.Program // nil: not opened; guarded by mu
	stamp   string           // of the program, before it was opened; guarded by mu

	mu       sync.Mutex
	idle     []*process                 // PerScan: ready for the next runs
	shared   *process                   // Shared: the one that takes runs now; nil: none
	tenants  map[host.TenantID]*process // PerTenant: the one that takes a tenant's runs now
	seated   map[host.TenantID]bool     // PerTenant: somebody starts one for the tenant
	info     *Info                      // of the last good start, or what was remembered of one
	lastErr  error                      // of the last start; nil after a good one
	ready    bool                       // there was a good start
	taken    time.Time                  // the first idle process since the last start; zero: none
	failures int                        // starts and early deaths in a row
	breaker  breaker
	counts   counts
	starting int           // starts now
	running  int           // runs now
	waiting  int           // runs that wait for a shared process
	retired  bool          // another has its place: it only serves the runs that it has
	since    time.Time     // of the state
	stopped  bool          // keep has ended
	changed  chan struct{} // closed and replaced when a shared process comes, goes or has a free place
}

// tools are what a keeper needs of its executor.
type tools struct {
	open   func(catalog.Source) (*catalog.Program, error)
	launch func(ctx context.Context, p Plugin, program *catalog.Program, tree string) (*process, error)
	cache  catalog.Cache
}

// counts only grow.
type counts struct {
	starts   int // that went well
	failed   int // starts that did not
	restarts int // processes replaced because they died
}

func newKeeper(p Plugin, log hclog.Logger, t tools) *keeper {
	return &keeper{
		plugin: p, log: log.With("plugin", p.Name), tools: t, breaker: breaker{limits: p.Restart},
		wake: make(chan struct{}, 1), since: time.Now(), changed: make(chan struct{}),
		tenants: map[host.TenantID]*process{}, seated: map[host.TenantID]bool{},
	}
}

// keep starts processes as they are needed until ctx ends, then stops them. A
// plugin that cannot be started is tried again, ever more slowly, and not at
// all while it is quarantined.
func (k *keeper) keep(ctx context.Context) {
	defer k.stopAll()
	for ctx.Err() == nil {
		k.bury()
		until := k.evict()
		switch {
		case k.quarantined() != nil:
			k.pause(ctx, lookEvery)
			k.look()
			continue
		case !k.wants():
			k.pause(ctx, until)
			continue
		}
		if d := k.delay(); d > 0 && !rest(ctx, d) {
			return
		}
		if p, err := k.start(ctx, ""); err == nil {
			k.offer(ctx, p)
		}
	}
}

// pause waits until there may be something to do; at most d, unless that is 0.
func (k *keeper) pause(ctx context.Context, d time.Duration) {
	var late <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ctx.Done():
	case <-k.wake:
	case <-late:
	}
}

// start launches one process and notes how it went. tree is that of the job it is
// for, which it is shown where it lies; "" for none that is known. The error is a
// *host.Fault, at once when the plugin is quarantined.
func (k *keeper) start(ctx context.Context, tree string) (*process, error) {
	k.mu.Lock()
	if err := k.breaker.blocks(time.Now()); err != nil {
		k.mu.Unlock()
		return nil, err
	}
	k.starting++
	k.taken = time.Time{}
	k.mu.Unlock()
	p, err := k.tryStart(ctx, tree)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.starting--
	if ctx.Err() != nil {
		return p, err // says nothing of the plugin
	}
	if (err == nil) != (k.lastErr == nil) || !k.ready {
		k.since = time.Now()
	}
	if err != nil {
		k.failed(err)
		return nil, err
	}
	if k.lastErr != nil || !k.ready {
		k.log.Info("plugin ready", "version", p.info.Version, "rules", len(p.info.Rules), "containment", p.runner.containment())
	}
	k.counts.starts++
	k.breaker.lift()
	info := p.info
	k.info, k.lastErr, k.ready = &info, nil, true
	return p, nil
}

// tryStart does what start does for the plugin.
func (k *keeper) tryStart(ctx context.Context, tree string) (*process, error) {
	if k.plugin.Attach != nil {
		return k.tools.launch(ctx, k.plugin, nil, tree)
	}
	program, err := k.prepare()
	if err != nil {
		return nil, err
	}
	p, err := k.tools.launch(ctx, k.plugin, program, tree)
	if err != nil {
		return nil, err
	}
	if err := k.tools.cache.Put(catalog.Key(program.SHA256(), k.plugin.Args), p.said); err != nil {
		k.log.Warn("what the plugin is will be asked again at the next start", "error", err)
	}
	p.said = nil
	return p, nil
}

// prepare opens the program, the first time, and holds what is remembered of
// it against the plugin's block.
func (k *keeper) prepare() (*catalog.Program, error) {
	k.opening.Lock()
	defer k.opening.Unlock()
	k.mu.Lock()
	program := k.program
	k.mu.Unlock()
	if program != nil {
		return program, nil
	}
	stamp := catalog.Stamp(k.plugin.source())
	program, err := k.tools.open(k.plugin.source())
	if err != nil {
		f := newFault(k.plugin.Name, host.CodePluginUnavailable, true, "could not be started: %v", err)
		f.Err = err
		return nil, f
	}
	remembered := k.recall(program.SHA256())
	if remembered != nil {
		if err := k.plugin.admit(*remembered); err != nil {
			return nil, errors.Join(err, program.Close())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.program, k.stamp = program, stamp
	if k.info == nil {
		k.info = remembered
	}
	return program, nil
}

// recall gives what a program with that hash said of itself; nil: not known.
func (k *keeper) recall(sum string) *Info {
	d := k.tools.cache.Get(catalog.Key(sum, k.plugin.Args))
	if d == nil {
		return nil
	}
	info, _, err := newInfo(d)
	if err != nil {
		return nil
	}
	return &info
}

// remembered is recall for the program as it is now, if it is the pinned one.
func (k *keeper) remembered() *Info {
	if k.plugin.Dev {
		return nil
	}
	sum, err := catalog.Sum(k.plugin.source())
	if err != nil || sum != k.plugin.SHA256 {
		return nil
	}
	return k.recall(sum)
}

// forget closes the program: the next start opens it anew.
func (k *keeper) forget() {
	k.mu.Lock()
	program := k.program
	k.program = nil
	k.mu.Unlock()
	if program == nil {
		return
	}
	if err := program.Close(); err != nil {
		k.log.Warn("copy of the plugin's executable is left behind", "error", err)
	}
}

// wants reports whether a process should be started: to fill the standby, or to
// have the shared one.
func (k *keeper) wants() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch k.plugin.Isolation {
	case Shared:
		return k.shared == nil && (!k.retired || k.waiting > 0)
	case PerTenant:
		return false // a job starts it
	default:
		return len(k.idle) < k.plugin.Standby && !k.retired
	}
}

// headStart is how long the job that took an idle process has the processor
// before its successor is started, which takes more of it than most jobs do in
// that time.
const headStart = 3 * time.Millisecond

// delay grows with the failures in a row.
func (k *keeper) delay() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures == 0 {
		return headStart - time.Since(k.taken) // long over when nothing was taken
	}
	return min(k.plugin.Restart.FirstDelay<<min(k.failures-1, 20), k.plugin.Restart.LastDelay)
}

// offer keeps a started process, and watches for its end.
func (k *keeper) offer(ctx context.Context, p *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plugin.Isolation == Shared {
		k.shared = p
		k.announce()
	} else {
		k.idle = append(k.idle, p)
	}
	go k.watch(ctx, p) // ends with the process, which stopAll or a run ends
}

// bury removes waiting processes that died.
func (k *keeper) bury() {
	k.mu.Lock()
	var dead []*process
	k.idle = slices.DeleteFunc(k.idle, func(p *process) bool {
		if p.alive() {
			return false
		}
		dead = append(dead, p)
		return true
	})
	if p := k.shared; p != nil && !p.alive() {
		k.shared = nil
		k.announce()
		k.died(p)
		if p.users == 0 {
			dead = append(dead, p)
		}
	}
	for _, p := range dead {
		if p.plugin.Isolation == PerScan {
			k.died(p)
		}
		k.count(k.ended(p))
	}
	k.mu.Unlock()
	for _, p := range dead {
		p.stop(false)
	}
}

// ended logs that a process ended while it waited, and gives it as a fault.
func (k *keeper) ended(p *process) error {
	how := p.runner.exit("unasked")
	k.log.Warn("plugin process ended while it waited", "how", how)
	return newFault(k.plugin.Name, host.CodePluginUnavailable, true, "%s", how)
}

// died notes a death; k.mu is held.
func (k *keeper) died(p *process) {
	if time.Since(p.born) > steadyLife {
		k.failures = 0
	}
	k.failures++
	k.counts.restarts++
}

// acquire gives a process for one run. The error is a *host.Fault, or ctx
// ended.
func (k *keeper) acquire(ctx context.Context, t host.Task) (*process, error) {
	switch k.plugin.Isolation {
	case Shared:
		return k.join(ctx)
	case PerTenant:
		return k.joinTenant(ctx, t.Tenant)
	}
	if p := k.takeIdle(); p != nil {
		return p, nil
	}
	p, err := k.start(ctx, t.Root)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.running++
	k.failures = 0
	k.mu.Unlock()
	return p, nil
}

// takeIdle takes the process that waited longest, nil when there is none.
func (k *keeper) takeIdle() *process {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.nudge() // for the next one, or to bury a dead one
	for i, p := range k.idle {
		if p.alive() {
			k.idle = slices.Delete(k.idle, i, i+1)
			if k.taken.IsZero() {
				k.taken = time.Now()
			}
			k.running++
			k.failures = 0
			return p
		}
	}
	return nil
}

// join waits for a place on the shared process: as long as ctx lets it when all
// are taken, StartTimeout when there is no process.
func (k *keeper) join(ctx context.Context) (*process, error) {
	patience := time.NewTimer(k.plugin.StartTimeout + describeTimeout + configureTimeout)
	defer patience.Stop()
	expired := patience.C
	k.wait(1)
	defer k.wait(-1)
	for {
		k.mu.Lock()
		p, err, changed := k.shared, cmp.Or(k.breaker.open, k.lastErr), k.changed
		free := p != nil && p.alive() && p.users < p.info.Concurrency
		if free {
			p.users++
			k.running++
		}
		k.mu.Unlock()
		switch {
		case free:
			return p, nil
		case p == nil && err != nil:
			return nil, err
		case p == nil && expired == nil:
			return nil, newFault(k.plugin.Name, host.CodePluginUnavailable, true, "is being started again and was not ready in time")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		case <-expired:
			expired = nil // only counts while there is no process
		}
	}
}

// wait counts those that wait for a shared process.
func (k *keeper) wait(n int) {
	k.mu.Lock()
	k.waiting += n
	k.mu.Unlock()
	k.nudge()
}

// release ends a run. A broken process takes no more runs, and is killed when
// the last of those it has ends.
func (k *keeper) release(p *process, broken bool) {
	k.mu.Lock()
	k.running--
	last := true
	if k.plugin.Isolation != PerScan {
		p.users--
		p.idleSince = time.Now()
		if dead := !p.alive(); (broken || dead) && !p.retired {
			p.retired = true
			if k.shared == p {
				k.shared = nil
				k.died(p)
			}
			k.drop(p)
		} else if !p.retired {
			k.failures = 0
		}
		last = p.users == 0 && p.retired
		k.announce()
	}
	k.mu.Unlock()
	if last {
		p.stop(!broken)
	}
	k.nudge()
}

// stopAll stops what waits; all runs have ended.
func (k *keeper) stopAll() {
	k.mu.Lock()
	all := k.idle
	if k.shared != nil {
		all = append(all, k.shared)
	}
	all = slices.AppendSeq(all, maps.Values(k.tenants))
	clear(k.tenants)
	k.idle, k.shared, k.stopped, k.since = nil, nil, true, time.Now()
	k.announce()
	k.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { p.stop(true) })
	}
	wg.Wait()
	k.forget()
}

// announce wakes those in join; k.mu is held.
func (k *keeper) announce() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// nudge makes keep look again.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
