package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// seldom leaves the relay to those who wake it.
func seldom(c *dispatch.Config) { c.Sweep = time.Hour }

// looks is how often the relay has looked.
func (s *fakeStore) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dispatches
}

// oneAtATime is a Dispatch under a cap of one.
func oneAtATime(s *fakeStore, jobs ...host.Claim) func(host.DispatchQuery) (host.Dispatched, error) {
	for _, c := range jobs {
		s.claims[c.Job.ID] = c
	}
	rung := 0
	return func(host.DispatchQuery) (out host.Dispatched, _ error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if rung < len(jobs) && rung == len(s.outcomes) {
			out.Bells = []host.Doorbell{{Plugin: "p", Job: jobs[rung].Job.ID}}
			rung++
		}
		out.Capped = rung < len(jobs)
		return out, nil
	}
}

func slow(d time.Duration) runFunc {
	return func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
		time.Sleep(d)
		return succeed(ctx, task, s)
	}
}

// TestEndedJobMakesRoomUnderACap: what a cap kept back is handed out when a job
// ends, and not with the next look.
func TestEndedJobMakesRoomUnderACap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.DispatchFunc = oneAtATime(store, claim(), claim(), claim())
		began := time.Now()
		w := start(t, store, slow(time.Second), seldom)
		defer w.end()
		for range 3 {
			outcomeOf(t, store)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three jobs of 1s under a cap of one took %v", took)
		}
	})
}

// TestJobEndsWhileTheRelayLooks: what the store kept back because of a job that
// has ended before its answer came does not wait for the next look.
func TestJobEndsWhileTheRelayLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		dispatch := oneAtATime(store, claim(), claim())
		store.DispatchFunc = func(q host.DispatchQuery) (host.Dispatched, error) {
			out, err := dispatch(q)
			if len(out.Bells) == 0 && out.Capped {
				time.Sleep(5 * time.Second) // on the way
			}
			out.Capped = out.Capped && len(out.Bells) == 0 // the second comes after the first was handed out
			return out, err
		}
		began := time.Now()
		w := start(t, store, slow(time.Second), seldom)
		defer w.end()
		for range 2 {
			outcomeOf(t, store)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the second job waited until %v for a cap that was free after 1s", took)
		}
	})
}

// TestNobodyIsWokenForNothing: neither a claim nor an end makes the relay look
// when it left nothing.
func TestNobodyIsWokenForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		w := start(t, store, slow(2*time.Second), seldom)
		defer w.end()
		time.Sleep(time.Second) // what a start looks for is looked for
		before := store.looks()
		store.add(claim())
		w.d.Wake()
		outcomeOf(t, store)
		synctest.Wait()
		if n := store.looks() - before; n != 1 {
			t.Errorf("the relay looked %d times for one job, want once", n)
		}
	})
}

// TestClaimMakesRoomInTheWindow: jobs that the window had no room for are handed
// out when others were claimed.
func TestClaimMakesRoomInTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs = 20
		store := newFakeStore()
		for range jobs {
			store.add(claim())
		}
		began := time.Now()
		w := start(t, store, succeed, func(c *dispatch.Config) { seldom(c); c.Window = 1 })
		defer w.end()
		for range jobs {
			outcomeOf(t, store)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%d jobs of no length took %v through a window of one", jobs, took)
		}
	})
}

// TestMendedLaneWakesTheRelay: a lane that was forgotten is looked at as soon as
// a sweep has found it.
func TestMendedLaneWakesTheRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := claim()
		store := newFakeStore()
		store.claims[c.Job.ID] = c
		sweeps, hidden := 0, true
		store.MendFunc = func() int {
			store.mu.Lock()
			defer store.mu.Unlock()
			if sweeps++; sweeps != 3 {
				return 0
			}
			hidden = false
			return 1
		}
		store.DispatchFunc = func(host.DispatchQuery) (out host.Dispatched, _ error) {
			store.mu.Lock()
			defer store.mu.Unlock()
			if !hidden {
				out.Bells, hidden = []host.Doorbell{{Plugin: "p", Job: c.Job.ID}}, true
			}
			return out, nil
		}
		began := time.Now()
		w := start(t, store, succeed, func(c *dispatch.Config) { c.Sweep = 10 * time.Second })
		defer w.end()
		time.Sleep(5 * time.Second)
		w.d.Wake() // its own looks come between the sweeps from now on
		time.Sleep(4 * time.Second)
		before := store.looks()
		time.Sleep(2 * time.Second) // the second sweep
		if n := store.looks() - before; n != 0 {
			t.Errorf("the relay looked %d times after a sweep that found nothing", n)
		}
		outcomeOf(t, store)
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("the job ran after %v, want 20s: with the sweep that found it", took)
		}
	})
}

// TestCapsAreAskedEachTime: a change of the caps holds from the next look on.
func TestCapsAreAskedEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		var seen []host.Caps
		store.DispatchFunc = func(q host.DispatchQuery) (host.Dispatched, error) {
			seen = append(seen, q.Caps)
			return host.Dispatched{}, nil
		}
		n := 0
		w := start(t, store, succeed, func(c *dispatch.Config) {
			seldom(c)
			c.Caps = func() host.Caps {
				n++
				return host.Caps{Tenant: n, Plugins: map[string]int{"p": 10 * n}}
			}
		})
		time.Sleep(time.Second)
		w.d.Wake()
		w.end()
		var want []host.Caps
		for i := 1; i <= len(seen); i++ {
			want = append(want, host.Caps{Tenant: i, Plugins: map[string]int{"p": 10 * i}})
		}
		if diff := cmp.Diff(want, seen); diff != "" || len(seen) < 2 {
			t.Errorf("Dispatch was given other caps (-want +got):\n%s", diff)
		}
	})
}

// TestLooksKeepTheirPace: looks that find jobs keep a distance of 4ms, in which
// jobs gather. The first after a rest is at once, and so are those that find
// nothing.
func TestLooksKeepTheirPace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bells []host.Doorbell
		want  int // looks in 42ms with a wake each millisecond
	}{
		"jobs":    {[]host.Doorbell{{Plugin: "p", Job: host.NewJobID()}}, 11},
		"nothing": {nil, 42},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var looked []time.Time
				store := newFakeStore()
				store.DispatchFunc = func(host.DispatchQuery) (host.Dispatched, error) {
					looked = append(looked, time.Now())
					return host.Dispatched{Bells: tt.bells}, nil
				}
				w := start(t, store, succeed, func(c *dispatch.Config) { seldom(c); c.Slots = 0 })
				time.Sleep(time.Second)
				began := time.Now()
				for range 42 {
					w.d.Wake()
					time.Sleep(time.Millisecond)
				}
				w.end()
				looked = slices.DeleteFunc(looked, func(at time.Time) bool { return at.Before(began) })
				if len(looked) == 0 || !looked[0].Equal(began) {
					t.Fatalf("looked at %v, want the first at once, at %v", looked, began)
				}
				if n := len(looked); n != tt.want {
					t.Errorf("looked %d times in 42ms, want %d", n, tt.want)
				}
			})
		})
	}
}
