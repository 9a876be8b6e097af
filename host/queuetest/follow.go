package queuetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/securetaghq/securetag/host"
)

// testEventsTenant: a tenant's feed has what all its scans have, but for
// progress, and what another tenant's have it has not.
func testEventsTenant(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	a, b := host.NewTenantID(), host.NewTenantID()
	event := func(kind host.EventKind, of host.TenantID, n int) host.Event {
		return host.Event{Scan: host.NewScanID(), Tenant: of, Kind: kind, Findings: n, State: host.StateRunning}
	}
	all := []host.Event{
		event(host.EventAccepted, a, 0), event(host.EventStarted, a, 1), event(host.EventProgress, a, 2), event(host.EventStarted, b, 3),
		event(host.EventRetry, a, 4), event(host.EventEnded, a, 5), event(host.EventChanged, a, 6), event(host.EventEnded, "", 7),
	}
	publish(t, e, all...)
	want := []host.Event{all[0], all[1], all[4], all[5], all[6]}
	got, err := e.Read(t.Context(), host.Feed{Tenant: a}, "", 100, 0)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(host.Event{}, "ID", "At")); diff != "" {
		t.Errorf("the tenant's events (-want +got):\n%s", diff)
	}
	if got := read(t, e, all[0].Scan, "", 100); got != nil {
		t.Errorf("the feed of a scan that was accepted has %v, want nothing yet", got)
	}
	end, err := e.End(t.Context(), host.Feed{Tenant: a})
	if err != nil || end != got[len(got)-1].ID {
		t.Errorf("end = %q, %v, want that of the newest, %q", end, err, got[len(got)-1].ID)
	}
}

// testEventsFollow: one call hears of all feeds that have news, and of no other.
func testEventsFollow(t *testing.T, h EventsHarness) {
	e, other := h.Events(t), h.Events(t)
	a, b, c := host.NewScanID(), host.NewScanID(), host.NewScanID()
	publish(t, other, numbered(a, 0, 3)...)
	publish(t, other, numbered(b, 10, 2)...)
	seen := read(t, e, a, "", 1)[0].ID
	places := []host.Place{{Feed: feed(a), After: seen}, {Feed: feed(b)}, {Feed: feed(c)}}
	got := follow(t, e, places, 100)
	if len(got) != 2 {
		t.Fatalf("news of %d feeds, want 2: %+v", len(got), got)
	}
	for _, n := range got {
		want := numbered(a, 1, 2)
		if n.Place == places[1] {
			want = numbered(b, 10, 2)
		} else if n.Place != places[0] {
			t.Fatalf("news of %+v, which has none", n.Place)
		}
		wantNumbers(t, n.Events, want)
		if n.Gone {
			t.Errorf("%+v is gone", n.Place)
		}
	}
	if got := follow(t, e, places[:1], 1); len(got) != 1 || len(got[0].Events) != 1 {
		t.Errorf("at most one event: %+v", got)
	}
	got, err := e.Follow(t.Context(), places[2:], 100, time.Millisecond)
	if got != nil || err != nil {
		t.Errorf("follow what has no news = %v, %v", got, err)
	}
	if _, err := e.Follow(t.Context(), []host.Place{{Feed: feed(a), After: "x"}}, 100, 0); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("follow from no place = %v, want ErrInvalid", err)
	}
}

// testEventsFollowTail: whoever follows while events come misses and doubles
// nothing, of any feed.
func testEventsFollowTail(t *testing.T, h EventsHarness) {
	const feeds, n = 5, 40 // below what is kept, however slow the reader
	e, other := h.Events(t), h.Events(t)
	want, places := map[host.Feed][]host.Event{}, map[host.Feed]host.Place{}
	for range feeds {
		scan := host.NewScanID()
		want[feed(scan)] = numbered(scan, 0, n)
		places[feed(scan)] = host.Place{Feed: feed(scan)}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range n {
			for _, events := range want {
				if err := other.Publish(t.Context(), events[i:i+1]); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		}
	})
	got := map[host.Feed][]host.Event{}
	for total := 0; total < feeds*n; {
		var at []host.Place
		for _, p := range places {
			at = append(at, p)
		}
		for _, news := range follow(t, e, at, 7) {
			total += len(news.Events)
			got[news.Place.Feed] = append(got[news.Place.Feed], news.Events...)
			news.Place.After = news.Events[len(news.Events)-1].ID
			places[news.Place.Feed] = news.Place
		}
	}
	for f, events := range want {
		wantNumbers(t, got[f], events)
	}
}

// testEventsFollowGone: a hole in one feed is said of that one.
func testEventsFollowGone(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	trimmed, whole := host.NewScanID(), host.NewScanID()
	publish(t, e, numbered(trimmed, 0, 1)...)
	first := read(t, e, trimmed, "", 1)[0].ID
	publish(t, e, numbered(trimmed, 1, Kept)...)
	publish(t, e, numbered(whole, 0, 1)...)
	for _, n := range follow(t, e, []host.Place{{Feed: feed(trimmed), After: first}, {Feed: feed(whole)}}, 100) {
		if n.Gone != (n.Place.Feed == feed(trimmed)) {
			t.Errorf("%+v: gone = %v", n.Place, n.Gone)
		}
	}
}

// testEventsWake: a wake ends a Follow that waits, or the next, and so does the
// end of its context; one for another host does not.
func testEventsWake(t *testing.T, h EventsHarness) {
	e, other := h.Events(t), h.Events(t)
	places := []host.Place{{Feed: feed(host.NewScanID())}}
	for _, err := range []error{e.Wake(t.Context()), e.Wake(t.Context())} {
		if err != nil {
			t.Fatalf("wake: %v", err)
		}
	}
	if got := follow(t, e, places, 100); got != nil {
		t.Errorf("woken with %v", got)
	}
	if err := other.Wake(t.Context()); err != nil {
		t.Fatalf("wake: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := e.Follow(ctx, places, 100, time.Hour)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("follow whose context ends = %v, want context.Canceled", err)
	}
}

func follow(t *testing.T, e host.Events, places []host.Place, max int) []host.News {
	t.Helper()
	got, err := e.Follow(t.Context(), places, max, time.Minute)
	if err != nil {
		t.Fatalf("follow: %v", err)
	}
	return got
}
