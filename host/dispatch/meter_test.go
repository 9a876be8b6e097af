package dispatch_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// fakeMeter keeps what it is told of jobs and doorbells.
type fakeMeter struct {
	host.NoMeter
	mu                   sync.Mutex
	waited               []time.Duration
	ended                []host.JobEnd
	expired, rung, heard int
	dropped              int
}

func (m *fakeMeter) JobStarted(_ string, waited time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waited = append(m.waited, waited)
}

func (m *fakeMeter) JobEnded(_ string, e host.JobEnd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = append(m.ended, e)
}

func (m *fakeMeter) LeasesExpired(n int)  { m.add(&m.expired, n) }
func (m *fakeMeter) DoorbellsRung(n int)  { m.add(&m.rung, n) }
func (m *fakeMeter) DoorbellsHeard(n int) { m.add(&m.heard, n) }
func (m *fakeMeter) EventsDropped(n int)  { m.add(&m.dropped, n) }

func (m *fakeMeter) add(to *int, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*to += n
}

func TestMeterHears(t *testing.T) {
	t.Parallel()
	crashed := &host.Fault{Code: host.CodePluginCrashed, Message: "it died", Retryable: true, Crashed: true}
	for name, tt := range map[string]struct {
		run  runFunc
		lose bool
		want host.JobEnd
	}{
		"success": {succeed, false, host.JobEnd{State: host.StateSucceeded, Ran: 2 * time.Second}},
		"retry": {func(context.Context, host.Task, host.Sink) (host.Report, error) { return host.Report{}, crashed },
			false, host.JobEnd{State: host.StateQueued, Code: host.CodePluginCrashed, Ran: 2 * time.Second}},
		"lost": {succeed, true, host.JobEnd{Ran: 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := claim()
				// Ready at 10:00:00, claimed at 10:00:03, by the store's clock.
				c.Job.RunAt = time.Date(2000, 1, 1, 10, 0, 0, 0, time.UTC)
				c.Job.DeadlineAt, c.Remaining = c.Job.RunAt.Add(10*time.Minute), 10*time.Minute-3*time.Second
				store, meter := newFakeStore(c), &fakeMeter{}
				if tt.lose {
					store.FinishFunc = func(o []host.Outcome) ([]host.Lease, error) { return []host.Lease{o[0].Lease}, nil }
				}
				slow := func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
					time.Sleep(2 * time.Second)
					return tt.run(ctx, task, s)
				}
				w := start(t, store, slow, func(c *dispatch.Config) { c.Meter = meter })
				time.Sleep(10 * time.Second)
				w.end()
				if diff := cmp.Diff([]host.JobEnd{tt.want}, meter.ended); diff != "" {
					t.Errorf("ended (-want +got):\n%s", diff)
				}
				// It ran where it was handed out, so nobody rang.
				if len(meter.waited) != 1 || meter.waited[0] != 3*time.Second || meter.rung != 0 || meter.heard != 0 {
					t.Errorf("waited %v, rung %d, heard %d; want 3s, none and none", meter.waited, meter.rung, meter.heard)
				}
			})
		})
	}
}

func TestMeterHearsOfExpiredLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, meter := newFakeStore(), &fakeMeter{}
		taken := 0
		store.ExpireFunc = func() ([]host.Taken, error) { // only the sweep calls it
			if taken++; taken == 2 {
				return make([]host.Taken, 3), nil
			}
			return nil, nil
		}
		w := start(t, store, succeed, func(c *dispatch.Config) { c.Meter = meter })
		time.Sleep(10 * time.Second)
		w.end()
		if meter.expired != 3 {
			t.Errorf("heard of %d expired leases, want 3", meter.expired)
		}
	})
}
