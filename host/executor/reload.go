package executor

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// Reload takes new blocks for configured plugins, and looks at their programs
// again. A plugin whose block or program is another, or that is quarantined or
// cannot be started, begins anew: new runs get new processes, those that run
// keep theirs to their end, and those that only wait are stopped. Of the others
// nothing is touched. It gives the names of those that begin anew, sorted.
//
// Which plugins there are stays as it was: a block of another name is an error,
// and one that is missing is left alone. After an error nothing has changed.
func (e *Executor) Reload(plugins []Plugin) ([]string, error) {
	cfg := e.cfg
	cfg.Plugins = plugins
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("executor: %w", err)
	}
	for _, p := range cfg.Plugins {
		if !slices.Contains(e.names, p.Name) {
			return nil, fmt.Errorf("executor: plugin %q is new: %w", p.Name, host.ErrNoPlugin)
		}
	}
	e.reloading.Lock() // so that Serve hears of changes in their order
	defer e.reloading.Unlock()
	var begun []string
	for _, p := range cfg.Plugins {
		if e.keeper(p.Name).stale(p) && e.replace(p) {
			begun = append(begun, p.Name)
		}
	}
	slices.Sort(begun)
	return begun, nil
}

// replace puts a new keeper in the place of the one that a plugin has. It
// reports false when Serve is ending.
func (e *Executor) replace(p Plugin) bool {
	e.mu.Lock()
	c := change{begins: newKeeper(p, e.log, e.tools()), retires: e.keepers[p.Name]}
	c.begins.counts = c.retires.total()
	ending, kept := e.ending, e.kept
	if !ending {
		e.keepers[p.Name] = c.begins
	}
	e.mu.Unlock()
	switch {
	case ending:
		return false
	case kept:
		select {
		case e.changes <- c:
		case <-e.stopped: // nobody begins a run any more
			return false
		}
	}
	e.log.Info("plugin reloaded", "plugin", p.Name)
	return true
}

// change puts a keeper in the place of another.
type change struct{ begins, retires *keeper }

// stale reports whether the plugin must begin anew to be what p and the files
// on disk say.
func (k *keeper) stale(p Plugin) bool {
	now := catalog.Stamp(p.source())
	k.mu.Lock()
	defer k.mu.Unlock()
	p.Places = k.plugin.Places // lines that moved are no other block
	return !reflect.DeepEqual(p, k.plugin) || k.breaker.open != nil || k.lastErr != nil ||
		k.program != nil && now != k.stamp
}

// total is what the keeper has counted so far.
func (k *keeper) total() counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counts
}

// retire stops what only waits, and the rest when the last run that has this
// keeper ends. It returns then; keep ends soon after.
func (k *keeper) retire() {
	k.mu.Lock()
	k.retired = true
	idle := k.idle
	k.idle = nil
	k.mu.Unlock()
	k.nudge()
	var stops sync.WaitGroup
	for _, p := range idle {
		stops.Go(func() { p.stop(true) })
	}
	k.runs.Wait()
	k.leave()
	stops.Wait()
}
