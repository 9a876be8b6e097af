// Package tracking has the store find out which findings of an ended scan are
// which of its project's. Every host runs it and no leader is needed: the store
// gives each scan to one of them (host.ProjectStore), and a host that dies
// leaves its scan to the next. It is apart from what ends jobs, which waits for
// nothing that is not a job's.
package tracking

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/turns"
)

// Store is what tracking needs of the store.
type Store interface {
	// Track is that of host.ProjectStore.
	Track(ctx context.Context, most int) (*host.Tracking, error)
}

// Config tunes a Tracker.
type Config struct {
	// Every is the time between two looks for scans that ended; default 1s.
	Every time.Duration
	// Most says how many findings a project may hold now; required.
	Most func() int
}

// Tracker looks for scans that ended.
type Tracker struct {
	store Store
	cfg   Config
	log   hclog.Logger
	wake  chan struct{}
}

// New makes a tracker; Run starts it.
func New(store Store, cfg Config, log hclog.Logger) *Tracker {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	return &Tracker{store: store, cfg: cfg, log: log.Named("tracking"), wake: make(chan struct{}, 1)}
}

// Wake makes it look at once: somebody waits for what a scan came to. It never
// blocks.
func (t *Tracker) Wake() {
	select {
	case t.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run looks until ctx ends. What waits then is tracked by another host, or after
// the next start.
func (t *Tracker) Run(ctx context.Context) error {
	trouble := turns.Trouble{Log: t.log, What: "compare the findings of scans with those before"}
	for t.pause(ctx) {
		err := t.drain(ctx)
		if ctx.Err() != nil {
			return nil
		}
		trouble.Report(err)
	}
	return nil
}

// drain tracks all that waits.
func (t *Tracker) drain(ctx context.Context) error {
	for {
		got, err := t.store.Track(ctx, t.cfg.Most())
		if err != nil || got == nil {
			return err
		}
		t.log.Debug("compared the findings of a scan", "scan", got.Scan, "new", got.New, "absent", got.Absent)
		if got.Untracked > 0 {
			t.log.Warn("a project is full: findings of a scan were not kept", "scan", got.Scan, "findings", got.Untracked)
		}
	}
}

// pause waits for the next look, which hosts that start together do not take
// together. It reports whether there is one.
func (t *Tracker) pause(ctx context.Context) bool {
	timer := time.NewTimer(turns.Jitter(t.cfg.Every))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.wake:
	case <-timer.C:
	}
	return true
}
