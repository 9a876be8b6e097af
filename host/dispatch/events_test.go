package dispatch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// fakeEvents keeps what is published, unless PublishFunc does something else.
type fakeEvents struct {
	PublishFunc func(ctx context.Context) error

	mu      sync.Mutex
	batches [][]host.Event
}

var _ host.Events = (*fakeEvents)(nil)

func (f *fakeEvents) Publish(ctx context.Context, events []host.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, events)
	if f.PublishFunc != nil {
		return f.PublishFunc(ctx)
	}
	return nil
}

func (*fakeEvents) End(context.Context, host.Feed) (host.EventID, error) { return "", nil }

func (*fakeEvents) Read(context.Context, host.Feed, host.EventID, int, time.Duration) ([]host.Event, error) {
	return nil, nil
}

func (*fakeEvents) Follow(context.Context, []host.Place, int, time.Duration) ([]host.News, error) {
	return nil, nil
}

func (*fakeEvents) Wake(context.Context) error                { return nil }
func (*fakeEvents) Keep(context.Context, []host.ScanID) error { return nil }

func (f *fakeEvents) all() (out []host.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.batches {
		out = append(out, b...)
	}
	return out
}

func (f *fakeEvents) rounds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.batches)
}

func TestEventsOfJobs(t *testing.T) {
	t.Parallel()
	crash := &host.Fault{Code: host.CodePluginCrashed, Message: "died", Retryable: true, Crashed: true}
	tests := []struct {
		name    string
		run     runFunc
		attempt int
		want    []host.Event
	}{
		{"success costs two", func(_ context.Context, _ host.Task, s host.Sink) (host.Report, error) {
			s.Progress(host.Progress{Phase: "one"})
			err := s.Findings(t.Context(), make([]host.Finding, 3))
			return host.Report{State: host.StateSucceeded}, err
		}, 1, []host.Event{
			{Kind: host.EventStarted, State: host.StateRunning},
			{Kind: host.EventEnded, State: host.StateSucceeded, Findings: 3},
		}},
		{"retry", func(context.Context, host.Task, host.Sink) (host.Report, error) { return host.Report{}, crash }, 1, []host.Event{
			{Kind: host.EventStarted, State: host.StateRunning},
			{Kind: host.EventRetry, State: host.StateQueued, Code: host.CodePluginCrashed},
		}},
		{"given up", func(context.Context, host.Task, host.Sink) (host.Report, error) { return host.Report{}, crash }, 3, []host.Event{
			{Kind: host.EventStarted, State: host.StateRunning},
			{Kind: host.EventEnded, State: host.StateFailed, Code: host.CodePluginCrashed},
		}},
		{"news once a beat, when there are any", func(_ context.Context, _ host.Task, s host.Sink) (host.Report, error) {
			time.Sleep(2500 * time.Millisecond) // two beats with nothing new
			for i := range 10 {
				s.Progress(host.Progress{Phase: "reading", Done: int64(i)})
			}
			if err := s.Findings(t.Context(), make([]host.Finding, 2)); err != nil {
				return host.Report{}, err
			}
			time.Sleep(3 * time.Second)
			return host.Report{State: host.StateSucceeded}, nil
		}, 1, []host.Event{
			{Kind: host.EventStarted, State: host.StateRunning},
			{Kind: host.EventProgress, State: host.StateRunning, Progress: host.Progress{Phase: "reading", Done: 9}, Findings: 2},
			{Kind: host.EventEnded, State: host.StateSucceeded, Findings: 2},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events := &fakeEvents{}
				c := claim()
				c.Job.Attempt, c.Scan.TenantID = tt.attempt, host.NewTenantID()
				w := start(t, newFakeStore(c), tt.run, func(cfg *dispatch.Config) { cfg.Events = events })
				outcomeOf(t, w.store)
				w.end()
				for i := range tt.want {
					e := &tt.want[i]
					e.Scan, e.Tenant, e.Job, e.Plugin, e.Attempt = c.Scan.ID, c.Scan.TenantID, c.Job.ID, "p", tt.attempt
				}
				if diff := cmp.Diff(tt.want, events.all()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestEventsOfALostJob: what this host may not say of a job it does not tell
// either.
func TestEventsOfALostJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := &fakeEvents{}
		store := newFakeStore(claim())
		store.FinishFunc = func(os []host.Outcome) ([]host.Lease, error) { return []host.Lease{os[0].Lease}, nil }
		w := start(t, store, succeed, func(cfg *dispatch.Config) { cfg.Events = events })
		time.Sleep(time.Minute)
		w.end()
		if got := events.all(); len(got) != 1 || got[0].Kind != host.EventStarted {
			t.Errorf("events = %+v, want only that it started", got)
		}
	})
}

// TestEventsOfScans: what others do to a scan is told by their word.
func TestEventsOfScans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := &fakeEvents{}
		w := start(t, newFakeStore(), succeed, func(cfg *dispatch.Config) { cfg.Events = events })
		w.d.Accepted(host.Scan{ID: "s", TenantID: "t", State: host.StateQueued})
		w.d.Canceled(host.Scan{ID: "s", TenantID: "t", State: host.StateCanceled})
		time.Sleep(time.Second)
		w.end()
		want := []host.Event{
			{Kind: host.EventAccepted, Scan: "s", Tenant: "t", ScanState: host.StateQueued},
			{Kind: host.EventChanged, Scan: "s", Tenant: "t", ScanState: host.StateCanceled},
		}
		if diff := cmp.Diff(want, events.all()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestEventsAreGathered: a busy host makes few round trips.
func TestEventsAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs = 1000
		events := &fakeEvents{}
		store := newFakeStore()
		for range jobs {
			store.add(claim())
		}
		store.finished = make(chan host.Outcome, jobs)
		w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
			time.Sleep(5 * time.Millisecond)
			return succeed(ctx, task, s)
		}, func(c *dispatch.Config) { c.Slots, c.Window, c.Events = 15, 100, events })
		began := time.Now()
		for range jobs {
			outcomeOf(t, store)
		}
		took := time.Since(began)
		w.end()
		if n := len(events.all()); n != 2*jobs || w.d.DroppedEvents() != 0 {
			t.Errorf("%d events and %d dropped of %d jobs, want two of each job", n, w.d.DroppedEvents(), jobs)
		}
		if n := events.rounds(); n > int(took/(20*time.Millisecond))+10 {
			t.Errorf("%d round trips in %v", n, took)
		}
	})
}

// TestEventsNeverHoldUpJobs: a Redis that hangs or refuses costs events, which
// are counted, and nothing else.
func TestEventsNeverHoldUpJobs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		jobs int
		fail func(context.Context) error
	}{
		"hangs": {4500, func(ctx context.Context) error { // more events than are kept waiting
			<-ctx.Done()
			return fmt.Errorf("fake: %w", host.ErrUnavailable)
		}},
		"refuses": {500, func(context.Context) error { return fmt.Errorf("fake: %w", host.ErrUnavailable) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				jobs := tt.jobs
				events := &fakeEvents{PublishFunc: tt.fail}
				store := newFakeStore()
				store.finished = make(chan host.Outcome, jobs)
				for range jobs {
					store.add(claim())
				}
				w := start(t, store, succeed, func(c *dispatch.Config) { c.Slots, c.Window, c.Events = 50, 1000, events })
				began := time.Now()
				for range jobs {
					outcomeOf(t, store)
				}
				// They wait for those that share a look or a commit, never for events.
				if took := time.Since(began); took > 50*time.Millisecond {
					t.Errorf("jobs that take no time took %v", took)
				}
				began = time.Now()
				w.end()
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("stopping waited %v for events", took)
				}
				if n := w.d.DroppedEvents(); n != int64(2*jobs) {
					t.Errorf("%d events are counted as dropped, want all %d", n, 2*jobs)
				}
			})
		})
	}
}

// TestEventsWhileRedisIsDown: what the doorbells have found out need not be
// tried again with events.
func TestEventsWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := &fakeEvents{}
		c := claim()
		w := start(t, newFakeStore(c), untilStopped, func(cfg *dispatch.Config) { cfg.Events = events })
		time.Sleep(time.Second)
		if n := events.rounds(); n != 1 {
			t.Fatalf("%d round trips for one event", n)
		}
		w.bells.set(true)
		time.Sleep(time.Minute)
		w.d.Canceled(host.Scan{ID: c.Scan.ID, State: host.StateRunning})
		time.Sleep(time.Second)
		if n := events.rounds(); n != 1 {
			t.Errorf("%d round trips to a Redis that is known to be down", n-1)
		}
		if n := w.d.DroppedEvents(); n != 1 {
			t.Errorf("%d events dropped, want 1", n)
		}
		w.bells.set(false)
		time.Sleep(10 * time.Second)
		w.end()
		if n := len(events.all()); n != 2 { // started; given back at the stop
			t.Errorf("events = %+v", events.all())
		}
	})
}

// What the store ends by itself is news as well.
func TestEventsOfTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		retried := host.Taken{Tenant: "t", Scan: "s1", Job: "j1", Plugin: "p", Attempt: 1, State: host.StateQueued, Code: host.CodeLeaseExpired}
		failed := host.Taken{Scan: "s2", Job: "j2", Plugin: "p", Attempt: 3, State: host.StateFailed, Code: host.CodeLeaseExpired}
		overdue := host.Taken{Scan: "s3", Job: "j3", Plugin: "p", Attempt: 2, State: host.StateTimedOut, Code: host.CodeTimedOut}
		released := host.Taken{Scan: "s4", Job: "j4", Plugin: "p", Attempt: 1, State: host.StateQueued}
		store, events := newFakeStore(), &fakeEvents{}
		var swept, looked bool
		store.ExpireFunc = func() ([]host.Taken, error) { // only the sweep calls it
			if swept {
				return nil, nil
			}
			swept = true
			return []host.Taken{retried, failed}, nil
		}
		store.DispatchFunc = func(host.DispatchQuery) (host.Dispatched, error) { // only the relay calls it
			if looked {
				return host.Dispatched{}, nil
			}
			looked = true
			return host.Dispatched{Overdue: []host.Taken{overdue}}, nil
		}
		w := start(t, store, succeed, func(c *dispatch.Config) { c.Events = events })
		w.d.Taken([]host.Taken{released})
		time.Sleep(10 * time.Second)
		w.end()
		want := map[host.JobID]host.Event{}
		for kind, jobs := range map[host.EventKind][]host.Taken{
			host.EventRetry: {retried, released}, host.EventEnded: {failed, overdue},
		} {
			for _, j := range jobs {
				want[j.Job] = host.Event{Kind: kind, Scan: j.Scan, Tenant: j.Tenant, Job: j.Job, Plugin: "p", Attempt: j.Attempt, State: j.State, Code: j.Code}
			}
		}
		got := map[host.JobID]host.Event{}
		for _, e := range events.all() {
			got[e.Job] = e
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
