package dispatch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// TestStartsWithoutRinging: a host runs what it has free slots for and rings for
// the rest, which it hears of itself once a slot is free.
func TestStartsWithoutRinging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, meter := newFakeStore(), &fakeMeter{}
		for range 5 {
			store.add(claim())
		}
		var running, most atomic.Int32
		slow := func(context.Context, host.Task, host.Sink) (host.Report, error) {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(10 * time.Second)
			running.Add(-1)
			return host.Report{State: host.StateSucceeded}, nil
		}
		w := start(t, store, slow, func(c *dispatch.Config) { c.Slots, c.Meter = 3, meter })
		time.Sleep(100 * time.Millisecond)
		if n := running.Load(); n != 3 {
			t.Errorf("%d jobs run at once, want as many as there are slots", n)
		}
		for range 5 {
			outcomeOf(t, store)
		}
		w.end()
		if meter.rung != 2 || meter.heard != 2 || most.Load() != 3 {
			t.Errorf("rung %d, heard %d, at most %d at once; want 2, 2 and 3", meter.rung, meter.heard, most.Load())
		}
	})
}

// TestRingsWhatItCouldNotClaim: what the store did not claim at once, though
// there were free slots, is rung for, and nobody waits for a horizon.
func TestRingsWhatItCouldNotClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, meter := newFakeStore(claim(), claim()), &fakeMeter{}
		store.ClaimFunc = func(ids []host.JobID) ([]host.Claim, error) { return store.claim(ids), nil }
		began := time.Now()
		w := start(t, store, succeed, func(c *dispatch.Config) { c.Meter = meter })
		for range 2 {
			outcomeOf(t, store)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		w.end()
		if meter.rung != 2 {
			t.Errorf("rang %d times, want for both", meter.rung)
		}
	})
}
