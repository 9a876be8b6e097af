package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

func TestRedisDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, newFakeStore(), succeed, nil)
		w.bells.set(true)
		time.Sleep(5 * time.Second) // until the listener has found out
		c := claim()
		w.store.add(c)
		w.d.Wake()
		time.Sleep(5 * time.Minute)
		if n := w.bells.pinged(); n > 5*60/2 {
			t.Errorf("%d pings in 5 minutes of outage: no backoff", n)
		}
		w.bells.set(false)
		began := time.Now()
		if o := outcomeOf(t, w.store); o.State != host.StateSucceeded {
			t.Errorf("state = %s, want succeeded", o.State)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the doorbell followed %v after Redis came back, want the backoff (5s) at most", took)
		}
		w.end()
		if n := strings.Count(w.log.String(), "cannot reach Redis"); n != 1 {
			t.Errorf("%d log lines say that Redis is down, want 1:\n%s", n, w.log)
		}
		if n := strings.Count(w.log.String(), "can reach Redis"); n != 1 {
			t.Errorf("%d log lines say that Redis is back, want 1:\n%s", n, w.log)
		}
	})
}

func TestRingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := claim()
		store := newFakeStore()
		w := start(t, store, succeed, func(cfg *dispatch.Config) { cfg.Slots = 0 })
		synctest.Wait()
		w.bells.set(true) // between the dispatcher's probe and its ring
		store.add(c)
		w.d.Wake()
		synctest.Wait()
		store.mu.Lock()
		if len(store.undone) != 1 || store.undone[0] != c.Job.ID {
			t.Errorf("undispatched %v, want %v: a job whose doorbell was not rung would wait for the horizon", store.undone, c.Job.ID)
		}
		store.mu.Unlock()
		w.end()
	})
}

func TestQueueLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		c := claim()
		store.claims[c.Job.ID] = c // rung before, and forgotten by the queue
		first := true
		store.DispatchFunc = func(q host.DispatchQuery) (host.Dispatched, error) {
			if !q.Again || first {
				first = false
				return host.Dispatched{}, nil // not lost yet, for all the store knows
			}
			return host.Dispatched{Bells: []host.Doorbell{{Plugin: "p", Job: c.Job.ID}}}, nil
		}
		w := start(t, store, succeed, nil)
		defer w.end()
		time.Sleep(10 * time.Second)
		began := time.Now()
		w.bells.mu.Lock()
		w.bells.lost = true
		w.bells.mu.Unlock()
		outcomeOf(t, store)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a wiped queue cost %v, want one turn of the listener (1s) at most", took)
		}
	})
}

func TestStartRingsForWhatWasMarked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		c := claim()
		store.claims[c.Job.ID] = c // marked by a host that died before it rang
		store.DispatchFunc = func(q host.DispatchQuery) (host.Dispatched, error) {
			if !q.Again {
				return host.Dispatched{}, nil
			}
			return host.Dispatched{Bells: []host.Doorbell{{Plugin: "p", Job: c.Job.ID}}}, nil
		}
		began := time.Now()
		w := start(t, store, succeed, nil)
		defer w.end()
		outcomeOf(t, store)
		if took := time.Since(began); took != 0 {
			t.Errorf("a host that starts waited %v before it rang for what was marked", took)
		}
	})
}

func TestClaimFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		store.ClaimFunc = func([]host.JobID) ([]host.Claim, error) {
			return nil, fmt.Errorf("fake store: %w", host.ErrUnavailable)
		}
		w := start(t, store, succeed, nil)
		time.Sleep(time.Minute)
		w.end()
		if n := len(w.bells.silenced); n != 0 {
			t.Errorf("%d doorbells were silenced though their claim failed: another host could not take over", n)
		}
		if n := strings.Count(w.log.String(), "cannot claim jobs"); n != 1 {
			t.Errorf("%d log lines, want 1:\n%s", n, w.log)
		}
	})
}

func TestUnknownJobIsSilenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, newFakeStore(), succeed, nil)
		w.bells.rung <- host.Doorbell{Plugin: "p", Job: host.NewJobID()}
		synctest.Wait()
		w.end()
		if n := len(w.bells.silenced); n != 1 {
			t.Errorf("%d doorbells silenced, want the one that names no job", n)
		}
	})
}
