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

func TestHowAnAttemptEnds(t *testing.T) {
	t.Parallel()
	fault := func(f host.Fault) runFunc {
		return func(context.Context, host.Task, host.Sink) (host.Report, error) { return host.Report{}, &f }
	}
	report := func(r host.Report) runFunc {
		return func(context.Context, host.Task, host.Sink) (host.Report, error) { return r, nil }
	}
	crash := host.Fault{Code: host.CodePluginCrashed, Message: "died", Retryable: true, Crashed: true}
	tests := []struct {
		name    string
		run     runFunc
		attempt int
		crashes int
		state   host.State
		code    host.ErrorCode
		dead    bool
	}{
		{"succeeded", succeed, 1, 0, host.StateSucceeded, "", false},
		{"partial", report(host.Report{State: host.StatePartial, Reason: "a file"}), 1, 0, host.StatePartial, host.CodePartial, false},
		{"failed for good", report(host.Report{State: host.StateFailed, Reason: "no"}), 1, 0, host.StateFailed, host.CodePluginFailed, false},
		{"failed for now", report(host.Report{State: host.StateFailed, Reason: "no", Retryable: true}), 1, 0, host.StateQueued, host.CodePluginFailed, false},
		{"canceled though nobody asked", report(host.Report{State: host.StateCanceled, Reason: "bored", Retryable: true}), 1, 0, host.StateFailed, host.CodePluginFailed, false},
		{"crashed", fault(crash), 1, 0, host.StateQueued, host.CodePluginCrashed, false},
		{"crashed on its last attempt", fault(crash), 3, 0, host.StateFailed, host.CodePluginCrashed, true},
		{"third crash is poison", fault(crash), 1, 2, host.StateFailed, host.CodePluginCrashed, true},
		{"refused", fault(host.Fault{Code: host.CodePluginRefused, Message: "bad option"}), 1, 0, host.StateFailed, host.CodePluginRefused, false},
		{"hung", fault(host.Fault{Code: host.CodePluginHung, Message: "silent", Retryable: true}), 1, 2, host.StateQueued, host.CodePluginHung, false},
		{"refused on its last attempt", fault(host.Fault{Code: host.CodePluginRefused, Message: "bad option"}), 3, 0, host.StateFailed, host.CodePluginRefused, false},
		{"no archive", fault(host.Fault{Code: host.CodeInputUnusable, Message: "not there", Retryable: true}), 3, 0, host.StateFailed, host.CodeInputUnusable, true},
		{"a bad archive", fault(host.Fault{Code: host.CodeInputUnusable, Message: "cut off"}), 3, 0, host.StateFailed, host.CodeInputUnusable, false},
		{"broke the contract", fault(host.Fault{Code: host.CodePluginProtocol, Message: "malformed"}), 1, 0, host.StateFailed, host.CodePluginProtocol, true},
		{"failed on its last attempt", report(host.Report{State: host.StateFailed, Reason: "no", Retryable: true}), 3, 0, host.StateFailed, host.CodePluginFailed, true},
		{"no fault named", func(context.Context, host.Task, host.Sink) (host.Report, error) {
			return host.Report{}, errors.New("secret path /var/x")
		}, 1, 0, host.StateQueued, host.CodeInternal, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := claim()
				c.Job.Attempt, c.Job.Crashes, c.Job.MaxAttempts = tt.attempt, tt.crashes, 3
				w := start(t, newFakeStore(c), tt.run, nil)
				defer w.end()
				o := outcomeOf(t, w.store)
				var code host.ErrorCode
				if o.Error != nil {
					code = o.Error.Code
					if strings.Contains(o.Error.Message, "/var/x") {
						t.Errorf("the message for the tenant shows an internal error: %q", o.Error.Message)
					}
				}
				if o.State != tt.state || code != tt.code || o.Dead != tt.dead {
					t.Errorf("outcome = %s %q, dead %v; want %s %q, %v", o.State, code, o.Dead, tt.state, tt.code, tt.dead)
				}
				if retry := o.State == host.StateQueued; retry != (o.RetryAfter > 0) {
					t.Errorf("state %s with a pause of %v", o.State, o.RetryAfter)
				}
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := dispatch.Backoff{Min: time.Second, Max: time.Minute}
	for attempt, full := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 7: time.Minute, 40: time.Minute, 1 << 30: time.Minute,
	} {
		for range 100 {
			if d := b.After(attempt); d < full/2 || d > full {
				t.Errorf("After(%d) = %v, want between %v and %v", attempt, d, full/2, full)
			}
		}
	}
	if d := (dispatch.Backoff{}).After(3); d != 0 {
		t.Errorf("the zero Backoff waits %v", d)
	}
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
