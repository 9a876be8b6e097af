package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// fakeCancels is one host's end of a pub/sub that can be down.
type fakeCancels struct {
	heard chan host.ScanID

	mu         sync.Mutex
	down       bool
	published  []host.ScanID
	subscribed int
}

var _ host.Cancels = (*fakeCancels)(nil)

func newFakeCancels() *fakeCancels { return &fakeCancels{heard: make(chan host.ScanID)} }

func (f *fakeCancels) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeCancels) Publish(_ context.Context, id host.ScanID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published = append(f.published, id)
	return nil
}

func (f *fakeCancels) Subscribe(ctx context.Context, heard func(host.ScanID)) error {
	f.mu.Lock()
	f.subscribed++
	down := f.down
	f.mu.Unlock()
	if down {
		return fmt.Errorf("fake: %w", host.ErrUnavailable)
	}
	heard("")
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-f.heard:
			if id == "the connection breaks" {
				return fmt.Errorf("fake: %w", host.ErrUnavailable)
			}
			heard(id)
		}
	}
}

// patientWorld runs one job under a heartbeat that nobody would wait for, in a
// store that says whether its scan is canceled.
func patientWorld(t *testing.T, c host.Claim, run runFunc, cancels host.Cancels) (w *world, canceled *atomic.Bool, beats *atomic.Int32) {
	t.Helper()
	canceled, beats = &atomic.Bool{}, &atomic.Int32{}
	store := newFakeStore(c)
	store.HeartbeatFunc = func(b []host.Beat) ([]host.Pulse, error) {
		beats.Add(1)
		return pulses(b, canceled.Load()), nil
	}
	w = start(t, store, run, func(cfg *dispatch.Config) {
		cfg.Lease, cfg.Heartbeat, cfg.Cancels = 10*time.Minute, 3*time.Minute, cancels
	})
	synctest.Wait()
	return w, canceled, beats
}

// wantCanceledNow waits for the outcome, which must need no timer.
func wantCanceledNow(t *testing.T, w *world) {
	t.Helper()
	began := time.Now()
	if o := outcomeOf(t, w.store); o.State != host.StateCanceled || o.Error != nil {
		t.Errorf("outcome = %s, %+v, want canceled without an error", o.State, o.Error)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the cancel took %v to reach the plugin", took)
	}
}

func TestCancelFromAfar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancels := claim(), newFakeCancels()
		w, canceled, _ := patientWorld(t, c, untilStopped, cancels)
		defer w.end()
		canceled.Store(true)
		cancels.heard <- c.Scan.ID
		wantCanceledNow(t, w)
	})
}

// TestCancelHere: the host that stores a cancel stops its own run without
// hearing of it, and tells the others.
func TestCancelHere(t *testing.T) {
	t.Parallel()
	for _, cancels := range []*fakeCancels{nil, newFakeCancels()} {
		synctest.Test(t, func(t *testing.T) {
			var port host.Cancels
			if cancels != nil {
				port = cancels
				cancels.heard = make(chan host.ScanID) // of this bubble
			}
			c := claim()
			w, canceled, _ := patientWorld(t, c, untilStopped, port)
			defer w.end()
			canceled.Store(true)
			w.d.Canceled(host.Scan{ID: c.Scan.ID, State: host.StateRunning})
			wantCanceledNow(t, w)
			w.d.Canceled(host.Scan{ID: host.NewScanID(), State: host.StateCanceled}) // nothing of it runs anywhere
			synctest.Wait()
			if cancels != nil && (len(cancels.published) != 1 || cancels.published[0] != c.Scan.ID) {
				t.Errorf("published %v, want %v", cancels.published, c.Scan.ID)
			}
		})
	}
}

// TestForgedCancel: a message stops nothing that the store does not call
// canceled, and a flood of them costs the store little.
func TestForgedCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancels := claim(), newFakeCancels()
		w, _, beats := patientWorld(t, c, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			select {
			case <-ctx.Done():
				return host.Report{}, context.Cause(ctx)
			case <-time.After(time.Minute):
				return succeed(ctx, task, s)
			}
		}, cancels)
		defer w.end()
		for range 2_000 {
			cancels.heard <- c.Scan.ID
			time.Sleep(time.Millisecond)
		}
		for range 2_000 {
			cancels.heard <- host.NewScanID() // nothing of it runs here
		}
		if n := beats.Load(); n > 2_000/50+10 {
			t.Errorf("%d heartbeats for 2 s of forged messages", n)
		}
		if o := outcomeOf(t, w.store); o.State != host.StateSucceeded {
			t.Errorf("outcome = %s, %+v, want succeeded", o.State, o.Error)
		}
	})
}

// TestCancelDuringClaim: the message overtakes the answer to the claim.
func TestCancelDuringClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancels := claim(), newFakeCancels()
		store := newFakeStore(c)
		claiming, answer := make(chan struct{}), make(chan struct{})
		store.ClaimFunc = func(ids []host.JobID) ([]host.Claim, error) {
			close(claiming)
			<-answer
			return store.claim(ids), nil
		}
		store.HeartbeatFunc = func(b []host.Beat) ([]host.Pulse, error) { return pulses(b, true), nil }
		w := start(t, store, untilStopped, func(cfg *dispatch.Config) {
			cfg.Lease, cfg.Heartbeat, cfg.Cancels = 10*time.Minute, 3*time.Minute, cancels
		})
		defer w.end()
		<-claiming
		cancels.heard <- c.Scan.ID
		close(answer)
		wantCanceledNow(t, w)
	})
}

// TestCancelsComeBack: while nothing can be heard it is tried with a pause, and
// what was missed meanwhile is made up for.
func TestCancelsComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancels := claim(), newFakeCancels()
		w, canceled, _ := patientWorld(t, c, untilStopped, cancels)
		defer w.end()
		cancels.set(true)
		cancels.heard <- "the connection breaks"
		time.Sleep(time.Minute)
		cancels.mu.Lock()
		if n := cancels.subscribed; n < 5 || n > 30 {
			t.Errorf("subscribed %d times in a minute", n)
		}
		cancels.mu.Unlock()
		canceled.Store(true) // and nobody hears
		cancels.set(false)
		began := time.Now()
		if o := outcomeOf(t, w.store); o.State != host.StateCanceled {
			t.Errorf("outcome = %s, want canceled", o.State)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %v, want the longest pause at most", took)
		}
	})
}

// TestAskedWhileTheStoreHangs: beats out of turn must not make the host trust a
// lease for longer.
func TestAskedWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, young, cancels := claim(), claim(), newFakeCancels()
		store := newFakeStore(old)
		store.HangHeartbeat = true
		stopped := make(chan time.Duration, 2)
		began := time.Now()
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			r, err := untilStopped(ctx, task, s)
			if task.Job == old.Job.ID {
				stopped <- time.Since(began)
			}
			return r, err
		}, func(cfg *dispatch.Config) { cfg.Cancels = cancels })
		defer w.end()
		time.Sleep(8 * time.Second)
		store.add(young)
		w.d.Wake()
		synctest.Wait()
		for range 12 {
			cancels.heard <- young.Scan.ID
			time.Sleep(500 * time.Millisecond)
		}
		if after := <-stopped; after > 15*time.Second {
			t.Errorf("the first job's plugin was stopped %v after its claim, its lease is 15s", after)
		}
	})
}

// TestCanceledNeverRetries: however the plugin takes it.
func TestCanceledNeverRetries(t *testing.T) {
	t.Parallel()
	crash := &host.Fault{Code: host.CodePluginCrashed, Message: "died", Retryable: true, Crashed: true}
	for name, ending := range map[string]struct {
		report host.Report
		err    error
	}{
		"says so":          {report: host.Report{State: host.StateCanceled}},
		"fails for now":    {report: host.Report{State: host.StateFailed, Retryable: true}},
		"crashes":          {err: crash},
		"breaks otherwise": {err: errors.New("no fault")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, canceled, _ := patientWorld(t, claim(), func(ctx context.Context, _ host.Task, _ host.Sink) (host.Report, error) {
					<-ctx.Done()
					return ending.report, ending.err
				}, nil)
				canceled.Store(true)
				if o := outcomeOf(t, w.store); o.State != host.StateCanceled || o.Error != nil || o.Crashed {
					t.Errorf("outcome = %+v, want canceled", o)
				}
				w.end()
			})
		})
	}
}

func TestLeavesTheListeners(t *testing.T) {
	t.Parallel()
	for slots, want := range map[int]int{0: 0, 2: 1} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, newFakeStore(), succeed, func(c *dispatch.Config) { c.Slots = slots })
			synctest.Wait()
			w.end()
			if w.bells.left != want {
				t.Errorf("with %d slots it left %d times, want %d", slots, w.bells.left, want)
			}
		})
	}
}
