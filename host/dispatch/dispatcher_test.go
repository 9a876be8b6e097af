package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a dispatcher running in a bubble whose clock stands still but for
// timers.
type world struct {
	store *fakeStore
	bells *fakeBells
	log   *bytes.Buffer
	d     *dispatch.Dispatcher
	stop  context.CancelFunc
	ended chan struct{}
}

func start(t *testing.T, store *fakeStore, run runFunc, change func(*dispatch.Config)) *world {
	t.Helper()
	cfg := dispatch.Config{Owner: "me", Slots: 2, Grace: 10 * time.Second}
	if change != nil {
		change(&cfg)
	}
	w := &world{store: store, bells: newFakeBells(), log: &bytes.Buffer{}, ended: make(chan struct{})}
	log := hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Info})
	d, err := dispatch.New(store, w.bells, run, fakeWorkspaces{}, cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	w.d = d
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = cancel
	go func() {
		defer close(w.ended)
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	return w
}

// end stops the dispatcher and waits for all of it.
func (w *world) end() {
	w.stop()
	<-w.ended
}

func TestAcceptedRunsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, newFakeStore(), succeed, nil)
		defer w.end()
		time.Sleep(10 * time.Second) // of the bubble: idle, every timer has fired
		began := time.Now()
		w.store.add(claim())
		w.d.Wake()
		if o := outcomeOf(t, w.store); o.State != host.StateSucceeded {
			t.Errorf("state = %s, want succeeded", o.State)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a woken dispatcher waited %v for a timer; the normal path must not poll", took)
		}
	})
}

func TestLeaseCannotBeRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		store.HeartbeatFunc = func([]host.Beat) ([]host.Pulse, error) {
			return nil, fmt.Errorf("fake store: %w", host.ErrUnavailable)
		}
		stopped := make(chan time.Duration, 1)
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			began := time.Now()
			r, err := untilStopped(ctx, task, s)
			stopped <- time.Since(began)
			return r, err
		}, nil)
		defer w.end()
		if after := <-stopped; after > 15*time.Second {
			t.Errorf("the plugin was stopped %v after the claim; its 15s lease may have been another host's by then", after)
		}
		synctest.Wait()
		if n := len(w.store.outcomes); n != 0 {
			t.Errorf("%d outcomes were stored without a lease", n)
		}
	})
}

// TestStoreHangs: a store that does not even refuse must not let a run outlive
// its lease.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		store.HangHeartbeat = true
		stopped := make(chan time.Duration, 1)
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			began := time.Now()
			r, err := untilStopped(ctx, task, s)
			stopped <- time.Since(began)
			return r, err
		}, nil)
		defer w.end()
		if after := <-stopped; after > 15*time.Second {
			t.Errorf("the plugin was stopped %v after the claim, its lease is 15s", after)
		}
	})
}

func TestLeaseLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		store.HeartbeatFunc = func([]host.Beat) ([]host.Pulse, error) { return nil, nil }
		stopped := make(chan struct{})
		w := start(t, store, func(ctx context.Context, _ host.Task, _ host.Sink) (host.Report, error) {
			<-ctx.Done()
			close(stopped)
			return host.Report{State: host.StateSucceeded}, nil // a plugin that made it all the same
		}, nil)
		<-stopped
		w.end()
		if n := len(w.store.outcomes); n != 0 {
			t.Errorf("%d outcomes were stored after the lease was lost", n)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		store.HeartbeatFunc = func(b []host.Beat) ([]host.Pulse, error) { return pulses(b, true), nil }
		began := time.Now()
		w := start(t, store, untilStopped, nil)
		defer w.end()
		o := outcomeOf(t, store)
		if o.State != host.StateCanceled || o.Error != nil {
			t.Errorf("outcome = %s, %+v, want canceled without an error", o.State, o.Error)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a cancel took %v to reach the plugin, want a heartbeat (1s) at most", took)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := claim()
		c.Remaining = 90 * time.Second // a second attempt: part of the time is gone
		w := start(t, newFakeStore(c), untilStopped, nil)
		defer w.end()
		began := time.Now()
		o := outcomeOf(t, w.store)
		if o.State != host.StateTimedOut || o.Error == nil || o.Error.Code != host.CodeTimedOut {
			t.Fatalf("outcome = %s, %+v, want timed_out with a reason", o.State, o.Error)
		}
		if want := `stopped: it ran longer than the 10m0s that scan type "codeaudit" allows`; o.Error.Message != want {
			t.Errorf("message = %q, want %q", o.Error.Message, want)
		}
		if took := time.Since(began); took != c.Remaining {
			t.Errorf("timed out after %v, want %v", took, c.Remaining)
		}
	})
}

func TestStopGivesGraceThenReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quick, slow := claim(), claim()
		w := start(t, newFakeStore(quick, slow), func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			if task.Job == slow.Job.ID {
				return untilStopped(ctx, task, s)
			}
			time.Sleep(15 * time.Second)
			return succeed(ctx, task, s)
		}, nil)
		time.Sleep(10 * time.Second)
		began := time.Now()
		late := claim()
		w.store.add(late)
		w.end()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("stopping took %v, want the grace (10s) at most", took)
		}
		got := map[host.JobID]host.Outcome{}
		for _, o := range w.store.outcomes {
			got[o.Lease.Job] = o
		}
		if o := got[quick.Job.ID]; o.State != host.StateSucceeded {
			t.Errorf("the job that ended within the grace is %q, want succeeded", o.State)
		}
		if o := got[slow.Job.ID]; o.State != host.StateQueued || !o.Release || o.Error != nil {
			t.Errorf("the job that did not end = %+v, want released without an error", o)
		}
		if _, ran := got[late.Job.ID]; ran {
			t.Error("a job was claimed while stopping")
		}
	})
}

func TestStopWithoutGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, newFakeStore(claim()), untilStopped, func(c *dispatch.Config) { c.Grace = 0 })
		time.Sleep(time.Minute)
		began := time.Now()
		w.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("stopping without a grace took %v", took)
		}
		if o := outcomeOf(t, w.store); !o.Release {
			t.Errorf("outcome = %+v, want released", o)
		}
	})
}

// TestSetGrace: a reload that changes the grace counts when the host stops.
func TestSetGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, newFakeStore(claim()), untilStopped, func(c *dispatch.Config) { c.Grace = 0 })
		time.Sleep(time.Minute)
		w.d.SetGrace(7 * time.Second)
		began := time.Now()
		w.end()
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("stopping with a grace of 7s took %v", took)
		}
	})
}

// TestStopWhileClaiming: a claim that commits while the host is told to stop is
// given back, not left to its lease.
func TestStopWhileClaiming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		claiming := make(chan struct{})
		store.ClaimFunc = func(ids []host.JobID) ([]host.Claim, error) {
			close(claiming)
			time.Sleep(time.Second) // the host is told to stop meanwhile
			return store.claim(ids), nil
		}
		w := start(t, store, untilStopped, nil)
		<-claiming
		w.end()
		if o := outcomeOf(t, store); o.State != host.StateQueued || !o.Release {
			t.Errorf("outcome = %+v, want released", o)
		}
	})
}

// TestBadOutcomeThenOutage: what could not be stored one by one is tried again.
func TestBadOutcomeThenOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim(), claim())
		calls := 0
		store.FinishFunc = func(os []host.Outcome) ([]host.Lease, error) {
			switch calls++; {
			case len(os) > 1:
				return nil, errors.New("cached plan must not change result type")
			case calls < 6:
				return nil, fmt.Errorf("fake store: %w", host.ErrUnavailable)
			}
			return nil, nil
		}
		both := make(chan struct{}, 2)
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			both <- struct{}{}
			time.Sleep(time.Second) // so that both end at once
			return succeed(ctx, task, s)
		}, nil)
		for range 2 {
			if o := outcomeOf(t, store); o.State != host.StateSucceeded {
				t.Errorf("state = %s, want succeeded", o.State)
			}
		}
		w.end()
	})
}

func TestResultSurvivesAStoreOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		back := time.Now().Add(8 * time.Second)
		store.FinishFunc = func([]host.Outcome) ([]host.Lease, error) {
			if time.Now().Before(back) {
				return nil, fmt.Errorf("fake store: %w", host.ErrUnavailable)
			}
			return nil, nil
		}
		w := start(t, store, succeed, nil)
		defer w.end()
		if o := outcomeOf(t, store); o.State != host.StateSucceeded {
			t.Errorf("state = %s, want succeeded", o.State)
		}
	})
}

func TestOneBadOutcomeDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad, good := claim(), claim()
		store := newFakeStore(bad, good)
		store.FinishFunc = func(os []host.Outcome) ([]host.Lease, error) {
			for _, o := range os {
				if o.Lease == bad.Lease {
					return nil, errors.New("row refused")
				}
			}
			return nil, nil
		}
		w := start(t, store, succeed, nil)
		if o := outcomeOf(t, store); o.Lease != good.Lease {
			t.Errorf("stored %v, want the good one", o.Lease)
		}
		w.end()
		if !strings.Contains(w.log.String(), "result was not stored") {
			t.Errorf("the log does not tell of the bad one:\n%s", w.log)
		}
	})
}

func TestPanicFailsOneJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad, good := claim(), claim()
		w := start(t, newFakeStore(bad, good), func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			if task.Job == bad.Job.ID {
				panic("boom")
			}
			return succeed(ctx, task, s)
		}, nil)
		defer w.end()
		for range 2 {
			o := outcomeOf(t, w.store)
			switch {
			case o.Lease == good.Lease && o.State != host.StateSucceeded:
				t.Errorf("the good job is %s", o.State)
			case o.Lease == bad.Lease && (o.State != host.StateQueued || o.Error.Code != host.CodeInternal):
				t.Errorf("the bad job is %s, %+v, want a retry with an internal error", o.State, o.Error)
			}
		}
	})
}

func TestLargeResultIsStoredAsItComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 1777
		w := start(t, newFakeStore(claim()), func(ctx context.Context, _ host.Task, s host.Sink) (host.Report, error) {
			for range n {
				if err := s.Findings(ctx, []host.Finding{{ID: host.NewFindingID()}}); err != nil {
					return host.Report{}, err
				}
			}
			return host.Report{State: host.StateSucceeded}, nil
		}, nil)
		o := outcomeOf(t, w.store)
		w.end()
		if len(o.Findings) > 500 {
			t.Errorf("%d findings waited in memory for the end", len(o.Findings))
		}
		if got := len(w.store.early) + len(o.Findings); got != n {
			t.Errorf("%d findings were stored, want %d", got, n)
		}
	})
}

func TestSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs, slots = 50, 3
		store := newFakeStore()
		for range jobs {
			store.add(claim())
		}
		var running, most atomic.Int32
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			return succeed(ctx, task, s)
		}, func(c *dispatch.Config) { c.Slots = slots })
		for range jobs {
			outcomeOf(t, store)
		}
		w.end()
		if got := most.Load(); got != slots {
			t.Errorf("at most %d jobs ran at once, want %d", got, slots)
		}
	})
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]dispatch.Config{
		"no owner":   {},
		"negative":   {Owner: "a", Slots: -1},
		"slow heart": {Owner: "a", Lease: 3 * time.Second, Heartbeat: 2 * time.Second},
	} {
		if _, err := dispatch.New(newFakeStore(), newFakeBells(), runFunc(succeed), fakeWorkspaces{}, cfg, hclog.NewNullLogger()); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: New = %v, want ErrInvalid", name, err)
		}
	}
}

func TestStartStop(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, newFakeStore(claim(), claim()), succeed, nil)
			w.d.Wake()
			w.end()
		})
	}
}
