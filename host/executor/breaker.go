package executor

import (
	"errors"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// lookEvery is how often the files of a quarantined plugin are looked at.
const lookEvery = 2 * time.Second

// breaker decides when a plugin is left alone: quarantined. That is when it
// failed too often within a time, until another such time has passed, when its
// program changes or when somebody says so; and when nothing but a change can
// help. Its keeper guards it.
type breaker struct {
	limits Restart
	recent []time.Time // failures within the window
	open   error       // what a start is answered with, a *host.Fault; nil: not quarantined
	until  time.Time   // when one start is let through; zero: when something changed
	stamp  string      // of the program when it was quarantined
}

// blocks gives the reason why nothing may be started now; nil: start. When the
// time is over it lets one start through, whose outcome decides.
func (b *breaker) blocks(now time.Time) error {
	if b.open == nil || b.until.IsZero() || now.Before(b.until) {
		return b.open
	}
	b.until = now.Add(b.limits.Window)
	return nil
}

// fail counts a failure and reports whether it was one too many.
func (b *breaker) fail(now time.Time) bool {
	kept := b.recent[:0]
	for _, t := range b.recent {
		if now.Sub(t) < b.limits.Window {
			kept = append(kept, t)
		}
	}
	b.recent = append(kept, now)
	return b.open != nil || len(b.recent) >= b.limits.MaxFailures
}

// lift ends a quarantine.
func (b *breaker) lift() {
	if b.open != nil {
		b.open, b.recent, b.until = nil, nil, time.Time{}
	}
}

// failed notes a start that did not go well; k.mu is held.
func (k *keeper) failed(err error) {
	if k.lastErr == nil || k.lastErr.Error() != err.Error() {
		k.log.Error("plugin cannot be started", "error", err)
	}
	k.lastErr = err
	k.failures++
	k.counts.failed++
	var pin *catalog.PinError
	if errors.Is(err, errMustChange) || errors.As(err, &pin) {
		k.quarantine(err, time.Time{})
	} else {
		k.count(err)
	}
	k.announce()
}

// count holds a failure against the plugin; k.mu is held.
func (k *keeper) count(err error) {
	now := time.Now()
	if !k.breaker.fail(now) {
		return
	}
	why := strings.TrimPrefix(reason(err), newFault(k.plugin.Name, "", false, "").Message+" ")
	failures := "failures"
	if len(k.breaker.recent) == 1 {
		failures = "failure"
	}
	f := newFault(k.plugin.Name, host.CodePluginUnavailable, true, "is quarantined after %d %s within %s: %s",
		len(k.breaker.recent), failures, k.breaker.limits.Window, why)
	k.quarantine(f, now.Add(k.breaker.limits.Window))
}

// quarantine leaves the plugin alone; k.mu is held.
func (k *keeper) quarantine(err error, until time.Time) {
	if k.breaker.open == nil {
		k.since = time.Now()
		k.log.Error("plugin quarantined: its jobs fail until it changes, or is reloaded", "reason", reason(err))
	}
	k.breaker.open, k.breaker.until = err, until
	k.breaker.stamp = catalog.Stamp(k.plugin.source())
	k.announce()
}

// quarantined gives the reason, when nothing may be started now.
func (k *keeper) quarantined() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b := &k.breaker; b.until.IsZero() || time.Now().Before(b.until) {
		return b.open
	}
	return nil
}

// look lifts a quarantine when the program is another now.
func (k *keeper) look() {
	now := catalog.Stamp(k.plugin.source())
	k.mu.Lock()
	lift := k.breaker.open != nil && now != k.breaker.stamp
	if lift {
		k.breaker.lift()
		k.failures = 0
	}
	k.mu.Unlock()
	if lift {
		k.log.Info("plugin changed, it is tried again")
		k.forget()
	}
}
