package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

const (
	firstDelay = 500 * time.Millisecond // between attempts to start a plugin
	maxDelay   = time.Minute
	steadyLife = 10 * time.Second // a process that lived this long was no false start
)

// keeper looks after one configured plugin: it keeps the standby processes, or
// the shared one, and knows how the plugin does.
type keeper struct {
	plugin Plugin
	log    hclog.Logger
	launch func(context.Context, Plugin) (*process, error)
	wake   chan struct{} // capacity 1: look again

	mu       sync.Mutex
	idle     []*process    // PerScan: ready for the next runs
	shared   *process      // Shared: the one that takes runs now; nil: none
	info     *Info         // of the last good start
	lastErr  error         // of the last start; nil after a good one
	failures int           // starts and early deaths in a row
	restarts int           // processes replaced because they died
	running  int           // runs now
	since    time.Time     // of the state
	stopped  bool          // keep has ended
	changed  chan struct{} // closed and replaced when a shared process comes, goes or has a free place
}

func newKeeper(p Plugin, log hclog.Logger, launch func(context.Context, Plugin) (*process, error)) *keeper {
	return &keeper{
		plugin: p, log: log.With("plugin", p.Name), launch: launch,
		wake: make(chan struct{}, 1), since: time.Now(), changed: make(chan struct{}),
	}
}

// keep starts processes as they are needed until ctx ends, then stops them. A
// plugin that cannot be started is tried again, ever more slowly.
func (k *keeper) keep(ctx context.Context) {
	defer k.stopAll()
	for ctx.Err() == nil {
		k.bury()
		if !k.wants() {
			select {
			case <-ctx.Done():
			case <-k.wake:
			}
			continue
		}
		if d := k.delay(); d > 0 {
			t := time.NewTimer(d)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
		}
		if p, err := k.start(ctx); err == nil {
			k.offer(p)
		}
	}
}

// start launches one process and notes how it went.
func (k *keeper) start(ctx context.Context) (*process, error) {
	p, err := k.launch(ctx, k.plugin)
	if ctx.Err() != nil {
		return p, err // says nothing of the plugin
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if (err == nil) != (k.lastErr == nil) || k.info == nil {
		k.since = time.Now()
	}
	if err != nil {
		if k.lastErr == nil || k.lastErr.Error() != err.Error() {
			k.log.Error("plugin cannot be started", "error", err)
		}
		k.lastErr = err
		k.failures++
		k.announce()
		return nil, err
	}
	if k.lastErr != nil || k.info == nil {
		k.log.Info("plugin ready", "version", p.info.Version, "rules", len(p.info.Rules), "containment", p.runner.containment())
	}
	info := p.info
	k.info, k.lastErr = &info, nil
	return p, nil
}

// wants reports whether a process should be started: to fill the standby, or to
// have the shared one.
func (k *keeper) wants() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plugin.Isolation == Shared {
		return k.shared == nil
	}
	return len(k.idle) < k.plugin.Standby
}

// delay grows with the failures in a row.
func (k *keeper) delay() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures == 0 {
		return 0
	}
	return min(firstDelay<<min(k.failures-1, 10), maxDelay)
}

// offer keeps a started process, and watches for its end.
func (k *keeper) offer(p *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plugin.Isolation == Shared {
		k.shared = p
		k.announce()
	} else {
		k.idle = append(k.idle, p)
	}
	go func() { // ends with the process, which stopAll or a run ends
		<-p.runner.done
		k.nudge()
	}()
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
	}
	k.mu.Unlock()
	for _, p := range dead {
		k.log.Warn("plugin process ended while it waited", "how", p.runner.exit("unasked"))
		p.stop(false)
	}
}

// died counts a death; k.mu is held.
func (k *keeper) died(p *process) {
	if time.Since(p.born) > steadyLife {
		k.failures = 0
	}
	k.failures++
	k.restarts++
}

// acquire gives a process for one run. The error is a *host.Fault, or ctx
// ended.
func (k *keeper) acquire(ctx context.Context) (*process, error) {
	if k.plugin.Isolation == Shared {
		return k.join(ctx)
	}
	if p := k.takeIdle(); p != nil {
		return p, nil
	}
	p, err := k.start(ctx)
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
	for {
		k.mu.Lock()
		p, err, changed := k.shared, k.lastErr, k.changed
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

// release ends a run. A broken process takes no more runs, and is killed when
// the last of those it has ends.
func (k *keeper) release(p *process, broken bool) {
	k.mu.Lock()
	k.running--
	last := true
	if k.plugin.Isolation == Shared {
		p.users--
		if dead := !p.alive(); (broken || dead) && !p.retired {
			p.retired = true
			if k.shared == p {
				k.shared = nil
				k.died(p)
			}
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
	k.idle, k.shared, k.stopped, k.since = nil, nil, true, time.Now()
	k.announce()
	k.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { p.stop(true) })
	}
	wg.Wait()
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
