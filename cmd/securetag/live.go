package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
	"github.com/securetaghq/securetag/host/workspace"
)

// live is the configuration of a running host. What reads a setting that can
// change reads it here, from a snapshot that is replaced whole, or is told by
// apply; what needs a restart reads node.cfg.
type live struct {
	n      *node
	now    atomic.Pointer[snapshot]
	state  atomic.Pointer[host.ConfigState]
	hangup <-chan os.Signal // asks for a reload; nil: nobody does

	mu     sync.Mutex                     // one reload at a time
	loaded *config.Loaded                 // in force; nil: it does not change
	reread func() (*config.Loaded, error) // reads it again
}

var _ host.Configuration = (*live)(nil)

// snapshot is what is in force at one moment. Nobody writes to it.
type snapshot struct {
	cfg     config.Config
	archive workspace.Limits // of archives that are taken in
}

// newLive begins with cfg. limits are those of archives, which are not always
// the file's.
func newLive(n *node, cfg config.Config, limits workspace.Limits) *live {
	l := &live{n: n}
	l.now.Store(&snapshot{cfg, limits})
	l.state.Store(&host.ConfigState{})
	return l
}

// follow makes it change: loaded is what newLive began with, reread reads it
// again, and hangup asks for that. Call it before hear.
func (l *live) follow(loaded *config.Loaded, reread func() (*config.Loaded, error), hangup <-chan os.Signal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded, l.reread, l.hangup = loaded, reread, hangup
}

// config is what is in force.
func (l *live) config() config.Config { return l.now.Load().cfg }

func (l *live) archiveLimits() workspace.Limits { return l.now.Load().archive }

// jobsOf is how many jobs a scan of a type gets now. One that was accepted under
// another configuration may have more or fewer.
func (l *live) jobsOf(scanType string) int { return len(l.config().Scans[scanType].Plugins) }

func (l *live) backoff(scanType string) dispatch.Backoff {
	s, ok := l.config().Scans[scanType]
	if !ok { // accepted under a configuration that had it
		s = config.Default().Scans["codeaudit"]
	}
	return dispatch.Backoff{Min: s.Backoff.Min, Max: s.Backoff.Max}
}

// hear reloads with every hang-up until ctx ends.
func (l *live) hear(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.hangup:
			_, _ = l.Reload(ctx) // what becomes of it is in the log
		}
	}
}

// Settings implements host.Configuration.
func (l *live) Settings() []host.ConfigSetting {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []host.ConfigSetting
	if l.loaded != nil {
		for _, s := range l.loaded.Settings() {
			out = append(out, host.ConfigSetting(s))
		}
	}
	return out
}

// State implements host.Configuration.
func (l *live) State() host.ConfigState { return *l.state.Load() }

// Preview implements host.Configuration.
func (l *live) Preview(context.Context) ([]host.ConfigChange, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, err := l.read()
	if err != nil {
		return nil, err
	}
	return wireChanges(l.loaded.Diff(next)), nil
}

// Reload implements host.Configuration.
func (l *live) Reload(context.Context) (host.ConfigReload, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.take("", "")
	l.tell(r, err)
	return r, err
}

// reloadPlugins takes what the configuration says of plugins, or of one, and no
// more.
func (l *live) reloadPlugins(only string) (host.ConfigReload, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if only == "" {
		return l.take("plugin.", "")
	}
	return l.take("plugin."+only+".", only)
}

// read reads the configuration again. mu is held.
func (l *live) read() (*config.Loaded, error) {
	if l.loaded == nil {
		return nil, fmt.Errorf("read the configuration again: this host has none: %w", host.ErrNotFound)
	}
	next, err := l.reread()
	if bad := (*config.Error)(nil); errors.As(err, &bad) {
		wrong := &host.WrongConfig{}
		for _, m := range bad.Mistakes() {
			wrong.Mistakes = append(wrong.Mistakes, host.ConfigMistake(m))
		}
		return nil, wrong
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration again: %w", err)
	}
	return next, nil
}

// take puts in force what the configuration says now of paths that begin with
// scope. Of plugins it looks at the files of all, or of that one. mu is held.
// After an error nothing has changed.
func (l *live) take(scope, plugin string) (r host.ConfigReload, err error) {
	next, err := l.read()
	if err != nil {
		return r, err
	}
	if _, there := next.Config.Plugins[plugin]; plugin != "" && !there {
		if _, there = l.config().Plugins[plugin]; !there {
			return r, host.ErrNotFound
		}
	}
	taken, changes := l.loaded.Take(next, scope)
	if r.Plugins, err = l.apply(taken.Config, plugin); err != nil {
		return r, err
	}
	l.loaded = taken
	r.Changes = wireChanges(changes)
	return r, nil
}

// apply makes the parts of the host work with cfg, and gives the plugins that
// begin anew, of all or that one. What can fail comes first and is taken back, so
// that after an error all is as it was.
func (l *live) apply(cfg config.Config, plugin string) (begun []string, err error) {
	n, old := l.n, l.config()
	next := &snapshot{cfg, archiveLimits(cfg)}
	if m := n.workspaces.disk; m != nil {
		if err := m.Widen(next.archive); err != nil {
			return nil, err
		}
	}
	if n.intake != nil {
		if err := n.intake.Update(scanTypes(cfg), int64(cfg.Limits.ArchiveSize)); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, n.intake.Update(scanTypes(old), int64(old.Limits.ArchiveSize)))
			}
		}()
	}
	if err := n.sweeper.Update(sweeps(cfg)); err != nil {
		return nil, err
	}
	if begun, err = n.reloadExecutor(cfg, plugin); err != nil {
		return nil, errors.Join(err, n.sweeper.Update(sweeps(old)))
	}
	l.now.Store(next)
	n.relearn()
	n.plans.set(cfg)
	n.api.SetLimits(apiLimits(cfg))
	n.log.SetLevel(hclog.LevelFromString(cfg.Log.Level))
	n.dispatcher.SetGrace(jobGrace(cfg))
	n.dispatcher.Wake() // there may be room under a cap
	return begun, nil
}

// tell says how a reload went: in the log, the metrics and what State gives.
func (l *live) tell(r host.ConfigReload, err error) {
	s := l.State()
	if err != nil {
		s.Failed, s.Mistakes = time.Now(), 0
		var wrong *host.WrongConfig
		if errors.As(err, &wrong) {
			s.Mistakes = len(wrong.Mistakes)
		}
		l.state.Store(&s)
		l.tellFailed(err, wrong)
		return
	}
	l.state.Store(&host.ConfigState{Waiting: r.Waiting()})
	if l.n.metrics != nil {
		l.n.metrics.meter.Reloaded(r.Waiting())
	}
	taken, waiting := []string{}, []string{}
	for _, c := range r.Changes {
		if c.Restart {
			waiting = append(waiting, c.Path)
		} else {
			taken = append(taken, c.Path)
		}
	}
	l.n.log.Info("configuration reloaded", "changed", taken, "plugins", append([]string{}, r.Plugins...), "needs_restart", waiting)
}

// maxLoggedMistakes bounds the lines of one reload.
const maxLoggedMistakes = 20

func (l *live) tellFailed(err error, wrong *host.WrongConfig) {
	log := l.n.log
	if l.n.metrics != nil {
		l.n.metrics.meter.ReloadFailed()
	}
	log.Error("configuration not reloaded: what was in force before still is", "error", err)
	if wrong == nil {
		return
	}
	for i, m := range wrong.Mistakes {
		if i == maxLoggedMistakes {
			log.Error("more mistakes in the configuration: securetag config check lists them", "mistakes", len(wrong.Mistakes)-i)
			break
		}
		log.Error("mistake in the configuration", "place", m.Place, "mistake", m.Text)
	}
}

func wireChanges(changes []config.Change) []host.ConfigChange {
	out := slices.Grow([]host.ConfigChange{}, len(changes))
	for _, c := range changes {
		out = append(out, host.ConfigChange{
			Action: string(c.Action), Path: c.Path, Old: c.Old, New: c.New, Source: c.Source, Restart: c.Restart, Because: c.Because,
		})
	}
	return out
}
