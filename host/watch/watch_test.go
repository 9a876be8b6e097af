package watch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/watch"
)

const tenant host.TenantID = "01a20a02-0000-7000-8000-000000000001"

func want(t *testing.T, what string, e *eyes, items ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(items, e.seen()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func later(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

// TestFromBeginToEnd: a snapshot, each event, and the end as soon as it is
// told; a reader that comes later has the same behind its own snapshot.
func TestFromBeginToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, sc := newServer(), running(tenant, 2)
		st := newStore(sc)
		h, _ := start(t, srv, st, watch.Config{})
		srv.publish(progress(sc, 1))
		a := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		want(t, "at first", a, "snapshot@1-0 running")
		srv.publish(progress(sc, 2), progress(sc, 3))
		later(50 * time.Millisecond)
		b := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		want(t, "then", a, "progress@2-0 2", "progress@3-0 3")
		want(t, "who comes later", b, "snapshot@3-0 running")
		srv.publish(st.end(sc, 0))
		later(50 * time.Millisecond)
		want(t, "one of two ended", a, "ended@4-0 0")
		began := time.Now()
		srv.publish(st.end(sc, 1))
		<-a.ended
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("the end took %v", d)
		}
		want(t, "at last", a, "ended@5-0 0", "ended@end succeeded")
		want(t, "who came later", b, "ended@4-0 0", "ended@5-0 0", "ended@end succeeded")
		if err := a.r.Err(); err != nil {
			t.Errorf("the end = %v", err)
		}
		for _, tt := range []struct {
			ask   watch.Ask
			items []string
		}{
			{watch.Ask{}, []string{"snapshot succeeded", "ended@end succeeded"}},
			{watch.Ask{Resume: true, After: "4-0"}, []string{"ended@5-0 0", "ended@end succeeded"}},
			{watch.Ask{Resume: true, After: "77-0"}, []string{"reset", "snapshot@5-0 succeeded", "ended@end succeeded"}},
		} {
			tt.ask.Tenant, tt.ask.Scan = tenant, sc.ID
			c := look(t, h, tt.ask)
			<-c.ended
			want(t, fmt.Sprintf("afterwards, %+v", tt.ask), c, tt.items...)
		}
		if _, err := h.Watch(t.Context(), watch.Ask{Tenant: tenant, Scan: sc.ID, Resume: true, After: watch.Ended}); !errors.Is(err, watch.ErrEnded) {
			t.Errorf("resume behind the end = %v, want ErrEnded", err)
		}
		if n := h.Readers(); n != 0 {
			t.Errorf("%d readers are left", n)
		}
	})
}

// TestOneReadForAll: 500 readers cost the server what one does.
func TestOneReadForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const readers, events = 500, 20
		srv, sc := newServer(), running(tenant, 1)
		st := newStore(sc)
		h, _ := start(t, srv, st, watch.Config{})
		all := make([]*eyes, readers)
		for i := range all {
			all[i] = look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		}
		before, _ := srv.count()
		for i := range events {
			srv.publish(progress(sc, i))
			later(time.Second)
		}
		after, reads := srv.count()
		if n := after - before; n > events+1 || reads > 0 {
			t.Errorf("%d events cost %d reads that wait and %d others", events, n, reads)
		}
		if st.reads > 2*readers+events {
			t.Errorf("the store was read %d times", st.reads)
		}
		srv.publish(st.end(sc, 0))
		for _, e := range all {
			<-e.ended
			if got := e.seen(); len(got) != events+3 {
				t.Fatalf("a reader saw %d items: %v", len(got), got)
			}
		}
	})
}

// TestResumeAnywhere: readers that go from host to host, at any moment, see each
// event once and in order.
func TestResumeAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const readers, events = 30, 300 // more than a host remembers
		srv, sc := newServer(), running(tenant, 1)
		st := newStore(sc)
		hubs := make([]*watch.Hub, 3)
		for i := range hubs {
			hubs[i], _ = start(t, srv, st, watch.Config{})
		}
		var wg sync.WaitGroup
		for n := range readers {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			wg.Go(func() { wander(t, hubs, rnd, sc, events) })
		}
		for i := range events {
			srv.publish(progress(sc, i))
			time.Sleep(5 * time.Millisecond)
		}
		srv.publish(st.end(sc, 0))
		wg.Wait()
	})
}

// wander reads a bit here and a bit there, with pauses.
func wander(t *testing.T, hubs []*watch.Hub, rnd *rand.Rand, sc host.Scan, events int) {
	ask := watch.Ask{Tenant: tenant, Scan: sc.ID}
	next := -1 // the event's number
	for {
		r, err := hubs[rnd.IntN(len(hubs))].Watch(t.Context(), ask)
		if err != nil {
			t.Errorf("watch %+v: %v", ask, err)
			return
		}
		left := 1 + rnd.IntN(40)
		items := slices.Clone(r.First)
		for len(items) < left {
			item, ok := <-r.Items()
			if !ok {
				break
			}
			items = append(items, item)
		}
		for _, i := range items[:min(left, len(items))] {
			ask.Resume, ask.After = true, i.ID
			switch {
			case i.Kind == watch.KindEnded:
				if next != events {
					t.Errorf("the end came before event %d of %d", next, events)
				}
				r.Close()
				return
			case i.Kind == watch.KindSnapshot && next < 0:
				_, _ = fmt.Sscanf(string(i.ID), "%d-0", &next) // events are numbered from 0, ids from 1
				next = max(next, 0)
			case i.Kind == watch.KindEvent && i.Event.Kind == host.EventEnded:
			case i.Kind != watch.KindEvent || i.Event.Findings != next:
				t.Errorf("%s, want event %d", say(i), next)
				r.Close()
				return
			default:
				next++
			}
		}
		r.Close()
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
	}
}

// TestEndWithoutEvents: nobody needs an event to hear of the end, nor waits for
// one that does not come; one that comes late is not missed.
func TestEndWithoutEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, lost, late := newServer(), running(tenant, 1), running(tenant, 2)
		st := newStore(lost, late)
		h, _ := start(t, srv, st, watch.Config{Check: 10 * time.Second, Settle: time.Second})
		a, b := look(t, h, watch.Ask{Tenant: tenant, Scan: lost.ID}), look(t, h, watch.Ask{Tenant: tenant, Scan: late.ID})
		later(time.Second)
		st.end(lost, 0) // its event is lost
		srv.publish(st.end(late, 0))
		second := st.end(late, 1)
		later(500 * time.Millisecond)
		want(t, "the second end was not told yet", b, "snapshot@ running", "ended@1-0 0")
		srv.publish(second)
		later(100 * time.Millisecond)
		want(t, "now it was", b, "ended@2-0 0", "ended@end succeeded")
		later(12 * time.Second)
		want(t, "an end that no event told", a, "snapshot@ running", "ended@end succeeded")
	})
}

// TestLostEvent: what an event did not say, the next look at the store does.
func TestLostEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, sc := newServer(), running(tenant, 1)
		sc.State, sc.Jobs[0].State = host.StateQueued, host.StateQueued
		st := newStore(sc)
		h, _ := start(t, srv, st, watch.Config{})
		a := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		later(time.Second)
		st.change(sc.ID, func(s *host.Scan) { s.State, s.Jobs[0].State = host.StateRunning, host.StateRunning })
		later(20 * time.Second)
		want(t, "a start that no event told", a, "snapshot@ queued", "snapshot running")
		later(time.Minute)
		want(t, "nothing new", a)
		if srv.kept == 0 {
			t.Error("nobody keeps the events of a scan that is watched")
		}
	})
}

// TestAway: while events are away the store is asked, and nothing is taken for
// an end that is none.
func TestAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, sc := newServer(), running(tenant, 1)
		st := newStore(sc)
		h, _ := start(t, srv, st, watch.Config{})
		srv.publish(progress(sc, 1))
		a := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		all := look(t, h, watch.Ask{Tenant: tenant})
		later(time.Second)
		srv.setDown(true)
		later(5 * time.Second)
		want(t, "it went away", a, "snapshot@1-0 running", "away")
		st.change(sc.ID, func(s *host.Scan) { s.Jobs[0].Progress.Done = 7 })
		later(5 * time.Second)
		want(t, "the store is asked", a, "snapshot running")
		st.set(func(s *store) { s.err = host.ErrUnavailable })
		later(time.Minute)
		want(t, "the store is away too", a)
		st.set(func(s *store) { s.err = nil })
		b := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		c := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID, Resume: true, After: "1-0"})
		srv.setDown(false)
		srv.publish(progress(sc, 2))
		later(5 * time.Second)
		want(t, "it is back", a, "progress@2-0 2")
		want(t, "who came meanwhile has a place now", b, "away", "snapshot running", "reset", "snapshot@2-0 running")
		want(t, "who resumed meanwhile too", c, "away", "snapshot running", "reset", "snapshot@2-0 running")
		want(t, "a tenant's begin anew", all, "snapshot@1-0 of 1", "away", "reset", "snapshot@2-0 of 1")
		srv.setDown(true)
		later(5 * time.Second)
		st.end(sc, 0)
		<-a.ended
		want(t, "it ends nevertheless", a, "away", "ended@end succeeded")
	})
}

// TestWiped: whoever was where nothing is any more begins anew.
func TestWiped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, sc := newServer(), running(tenant, 1)
		h, _ := start(t, srv, newStore(sc), watch.Config{})
		srv.publish(progress(sc, 1))
		a := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		want(t, "at first", a, "snapshot@1-0 running")
		srv.wipe()
		srv.publish(progress(sc, 2), progress(sc, 3))
		later(time.Second)
		want(t, "after a wipe", a, "reset", "snapshot@3-0 running")
		srv.publish(progress(sc, 4))
		later(time.Second)
		want(t, "then", a, "progress@4-0 4")
		for _, after := range []host.EventID{"1-0", "x", watch.Ended} {
			b := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID, Resume: true, After: after})
			want(t, fmt.Sprintf("resumed behind %q", after), b, "reset", "snapshot@4-0 running")
		}
	})
}

// TestSlowReader: one that reads nothing is dropped, and can go on from where it
// was; the others notice nothing.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, sc := newServer(), running(tenant, 1)
		h, _ := start(t, srv, newStore(sc), watch.Config{Buffer: 10})
		slow, err := h.Watch(t.Context(), watch.Ask{Tenant: tenant, Scan: sc.ID})
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		quick := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		for i := range 30 {
			srv.publish(progress(sc, i))
			later(time.Second)
		}
		if got := quick.seen(); len(got) != 31 {
			t.Errorf("beside a slow reader another saw %d items: %v", len(got), got)
		}
		got := slices.Clone(slow.First)
		for item := range slow.Items() {
			got = append(got, item)
		}
		if !errors.Is(slow.Err(), watch.ErrSlow) || len(got) != 11 {
			t.Errorf("the slow one had %d items and ended with %v", len(got), slow.Err())
		}
		again := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID, Resume: true, After: place(got)})
		synctest.Wait()
		if got := again.seen(); len(got) != 20 || got[0] != "progress@11-0 10" {
			t.Errorf("resumed, it saw %v", got)
		}
	})
}

// TestTenantFeed: all scans of a tenant, with how they stand when a job ended.
func TestTenantFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, one, two := newServer(), running(tenant, 1), running(tenant, 2)
		st := newStore(one, two, running("another", 1))
		h, _ := start(t, srv, st, watch.Config{})
		a := look(t, h, watch.Ask{Tenant: tenant})
		want(t, "at first", a, "snapshot@ of 2")
		srv.publish(host.Event{Kind: host.EventStarted, Scan: one.ID, Tenant: tenant}, host.Event{Kind: host.EventStarted, Scan: "x", Tenant: "another"})
		srv.publish(st.end(one, 0), st.end(two, 0))
		later(time.Second)
		want(t, "then", a, "started@1-0 0", "ended@3-0 0 succeeded", "ended@4-0 0 running")
		// Another host that nobody watched it at says the same.
		h2, _ := start(t, srv, st, watch.Config{})
		b := look(t, h2, watch.Ask{Tenant: tenant, Resume: true, After: "1-0"})
		want(t, "resumed", b, "ended@3-0 0 succeeded", "ended@4-0 0 running")
	})
}

// TestRefused: bounds, another tenant's scan, and one that is no more.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const other host.TenantID = "01a20a02-0000-7000-8000-000000000002"
		srv, sc, theirs := newServer(), running(tenant, 1), running(other, 1)
		st := newStore(sc, theirs)
		h, _ := start(t, srv, st, watch.Config{Readers: 3, TenantReaders: 2})
		watchErr := func(ask watch.Ask, wanted error) {
			t.Helper()
			if _, err := h.Watch(t.Context(), ask); !errors.Is(err, wanted) {
				t.Errorf("watch %+v = %v, want %v", ask, err, wanted)
			}
		}
		watchErr(watch.Ask{Tenant: tenant, Scan: theirs.ID}, host.ErrNotFound)
		watchErr(watch.Ask{Tenant: tenant, Scan: theirs.ID, Resume: true, After: "1-0"}, host.ErrNotFound)
		a := look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID})
		b := look(t, h, watch.Ask{Tenant: tenant})
		watchErr(watch.Ask{Tenant: tenant, Scan: sc.ID}, watch.ErrTenantFull)
		c := look(t, h, watch.Ask{Tenant: other})
		watchErr(watch.Ask{Tenant: other}, watch.ErrHostFull)
		st.set(func(s *store) { delete(s.scans, sc.ID) })
		<-a.ended
		want(t, "it was removed", a, "snapshot@ running", "removed@end")
		d := look(t, h, watch.Ask{Tenant: other})
		for _, e := range []*eyes{b, c, d} {
			e.stop()
		}
		if n := h.Readers(); n != 0 {
			t.Errorf("%d readers are left", n)
		}
		if _, err := watch.New(srv.host(), st, watch.Config{Buffer: -1}, nil); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("a negative bound = %v", err)
		}
	})
}

// TestStop: all readers end at once, whatever they wait for, and no more come.
func TestStop(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			srv, sc := newServer(), running(tenant, 1)
			h, stop := start(t, srv, newStore(sc), watch.Config{})
			var all []*eyes
			for range 5 {
				all = append(all, look(t, h, watch.Ask{Tenant: tenant, Scan: sc.ID}), look(t, h, watch.Ask{Tenant: tenant}))
			}
			go srv.publish(progress(sc, 1))
			stop()
			for _, e := range all {
				<-e.ended
				if !errors.Is(e.r.Err(), watch.ErrStopping) {
					t.Errorf("a reader ended with %v", e.r.Err())
				}
			}
			if _, err := h.Watch(t.Context(), watch.Ask{Tenant: tenant}); !errors.Is(err, watch.ErrStopping) {
				t.Errorf("watch after the stop = %v", err)
			}
		})
	}
}

// TestComeAndGo: hosts start and stop while readers come and go; nothing is left
// behind, and nobody waits for ever.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	srv, st := newServer(), newStore()
	var scans []host.Scan
	for range 5 {
		sc := running(tenant, 1)
		scans, st.scans[sc.ID] = append(scans, sc), sc
	}
	h, stop := start(t, srv, st, watch.Config{Pace: time.Millisecond})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				sc := scans[(n+i)%len(scans)]
				r, err := h.Watch(ctx, watch.Ask{Tenant: tenant, Scan: sc.ID})
				if err == nil {
					srv.publish(progress(sc, i))
					<-r.Items()
					r.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := h.Readers(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
	stop()
}
