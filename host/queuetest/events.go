package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/securetaghq/securetag/host"
)

// EventsHarness is one server with nothing on it, which keeps Kept events of a
// scan.
type EventsHarness interface {
	// Events gives the events of the server, as one more host sees them.
	Events(t *testing.T) host.Events
	// Wipe forgets everything, as FLUSHALL does.
	Wipe(t *testing.T)
}

// Kept is how many events of a scan the suite's servers keep.
const Kept = 50

// RunEvents runs the suite of host.Events; fresh gives a new harness to each
// test.
func RunEvents(t *testing.T, fresh func(t *testing.T) EventsHarness) {
	tests := []struct {
		name string
		test func(*testing.T, EventsHarness)
	}{
		{"round trip", testEventsRoundTrip},
		{"one scan is not another's", testEventsApart},
		{"pages", testEventsPages},
		{"end", testEventsEnd},
		{"waits", testEventsWait},
		{"a tail misses and doubles nothing", testEventsTail},
		{"trimmed", testEventsTrimmed},
		{"wiped", testEventsWiped},
		{"wiped under a reader that waits", testEventsWipedWaiting},
		{"too large", testEventsLarge},
		{"refused", testEventsRefused},
		{"canceled", testEventsCanceled},
		{"a tenant's feed", testEventsTenant},
		{"follow", testEventsFollow},
		{"follow a tail of many", testEventsFollowTail},
		{"follow what is gone", testEventsFollowGone},
		{"wake", testEventsWake},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, fresh(t))
		})
	}
}

func testEventsRoundTrip(t *testing.T, h EventsHarness) {
	job := host.NewJobID()
	scan := host.NewScanID()
	want := []host.Event{
		{Scan: scan, Kind: host.EventStarted, Job: job, Plugin: "p", Attempt: 1, State: host.StateRunning, ScanState: host.StateRunning},
		{Scan: scan, Kind: host.EventProgress, Job: job, Plugin: "p", Attempt: 1, State: host.StateRunning, Findings: 3,
			Progress: host.Progress{Phase: "reading", Done: 1, Total: 2, Unit: "files", Message: "a \"b\" \x00 ü </script>"}},
		{Scan: scan, Kind: host.EventRetry, Job: job, Plugin: "p", Attempt: 1, State: host.StateQueued, Code: host.CodePluginCrashed},
		{Scan: scan, Kind: host.EventEnded, Job: job, Plugin: "p", Attempt: 2, State: host.StateSucceeded, Findings: 7},
		{Scan: scan, Kind: host.EventChanged, ScanState: host.StateCanceled},
	}
	publish(t, h.Events(t), want...)
	got := read(t, h.Events(t), scan, "", 100)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(host.Event{}, "ID", "At")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	seen := map[host.EventID]bool{"": true}
	for _, e := range got {
		if seen[e.ID] || e.At.IsZero() || e.At.Location() != time.UTC {
			t.Errorf("event %q at %v: want an id of its own and a time in UTC", e.ID, e.At)
		}
		seen[e.ID] = true
	}
}

func testEventsApart(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	a, b := numbered(host.NewScanID(), 0, 3), numbered(host.NewScanID(), 10, 3)
	publish(t, e, a[0], b[0], a[1], b[1], b[2], a[2])
	for _, want := range [][]host.Event{a, b} {
		wantNumbers(t, read(t, e, want[0].Scan, "", 100), want)
	}
	if got := read(t, e, host.NewScanID(), "", 100); got != nil {
		t.Errorf("events of a scan that has none: %v", got)
	}
}

func testEventsPages(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	want := numbered(host.NewScanID(), 0, 10)
	publish(t, e, want...)
	var got []host.Event
	for after := host.EventID(""); ; {
		page := read(t, e, want[0].Scan, after, 3)
		if len(page) == 0 {
			break
		}
		if len(page) > 3 {
			t.Fatalf("%d events in a page of 3", len(page))
		}
		got, after = append(got, page...), page[len(page)-1].ID
	}
	wantNumbers(t, got, want)
}

func testEventsEnd(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	end := func() host.EventID {
		id, err := e.End(t.Context(), feed(scan))
		if err != nil {
			t.Fatalf("end: %v", err)
		}
		return id
	}
	if id := end(); id != "" {
		t.Errorf("the end of no events = %q", id)
	}
	publish(t, e, numbered(scan, 0, 3)...)
	before := end()
	if got := read(t, e, scan, before, 100); got != nil {
		t.Errorf("behind the end: %v", got)
	}
	later := numbered(scan, 3, 2)
	publish(t, e, later...)
	got := read(t, e, scan, before, 100)
	wantNumbers(t, got, later)
	if id := end(); len(got) == 2 && id != got[1].ID {
		t.Errorf("end = %q, want that of the newest, %q", id, got[1].ID)
	}
}

// testEventsWait: a reader that waits hears of what another host publishes,
// whichever comes first.
func testEventsWait(t *testing.T, h EventsHarness) {
	e, other := h.Events(t), h.Events(t)
	scan := host.NewScanID()
	for i, after := 0, host.EventID(""); i < 5; i++ {
		want := numbered(scan, i, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := other.Publish(t.Context(), want); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
		got, err := e.Read(t.Context(), feed(scan), after, 100, time.Minute)
		wg.Wait()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		wantNumbers(t, got, want)
		after = got[len(got)-1].ID
	}
	if got, err := e.Read(t.Context(), feed(scan), "", 0, time.Minute); got != nil || err != nil {
		t.Errorf("read at most none = %v, %v", got, err)
	}
}

func testEventsTail(t *testing.T, h EventsHarness) {
	const n = 500
	e, other := h.Events(t), h.Events(t)
	want := numbered(host.NewScanID(), 0, n)
	acked := make(chan struct{}, n)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range want {
			if i >= Kept/2 {
				<-acked // or the reader would fall behind what is kept
			}
			if err := other.Publish(t.Context(), want[i:i+1]); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
		}
	})
	var got []host.Event
	for after := host.EventID(""); len(got) < n; {
		page, err := e.Read(t.Context(), feed(want[0].Scan), after, 7, time.Minute)
		if err != nil || len(page) == 0 {
			t.Fatalf("read after %d events: %d, %v", len(got), len(page), err)
		}
		got, after = append(got, page...), page[len(page)-1].ID
		for range page {
			acked <- struct{}{}
		}
	}
	wantNumbers(t, got, want)
}

func testEventsTrimmed(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	publish(t, e, numbered(scan, 0, 1)...)
	first := read(t, e, scan, "", 1)[0].ID
	later := numbered(scan, 1, Kept)
	publish(t, e, later...)
	for _, after := range []host.EventID{first, ""} {
		if got, err := e.Read(t.Context(), feed(scan), after, 100, 0); !errors.Is(err, host.ErrEventsGone) {
			t.Errorf("read after %q, whose successors may be trimmed = %d events, %v, want ErrEventsGone", after, len(got), err)
		}
	}
	end, err := e.End(t.Context(), feed(scan))
	if err != nil {
		t.Fatalf("end: %v", err)
	}
	last := numbered(scan, 100, 2)
	publish(t, e, last...)
	wantNumbers(t, read(t, e, scan, end, 100), last)
}

func testEventsWiped(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	publish(t, e, numbered(scan, 0, 2)...)
	seen := read(t, e, scan, "", 100)[1].ID
	h.Wipe(t)
	for range 2 {
		if _, err := e.Read(t.Context(), feed(scan), seen, 100, time.Minute); !errors.Is(err, host.ErrEventsGone) {
			t.Errorf("read after a wipe = %v, want ErrEventsGone", err)
		}
		publish(t, e, numbered(scan, 2, 1)...) // a new stream does not continue the old
	}
}

func testEventsWipedWaiting(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	publish(t, e, numbered(scan, 0, 1)...)
	seen := read(t, e, scan, "", 1)[0].ID
	answer := make(chan error)
	go func() {
		_, err := e.Read(t.Context(), feed(scan), seen, 100, time.Minute)
		answer <- err
	}()
	h.Wipe(t) // while it waits, or just before: both must tell
	publish(t, h.Events(t), numbered(scan, 1, 1)...)
	if err := <-answer; !errors.Is(err, host.ErrEventsGone) {
		t.Errorf("read under a wipe = %v, want ErrEventsGone", err)
	}
}

// testEventsLarge: what is too large to keep still says that something changed.
func testEventsLarge(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	big := numbered(scan, 0, 1)[0]
	big.Progress.Message = strings.Repeat("x", 1<<20)
	publish(t, e, big)
	if got := read(t, e, scan, "", 100); len(got) != 1 || got[0].Kind != host.EventChanged || got[0].Progress.Message != "" {
		t.Errorf("a huge event comes as %.200v", got)
	}
}

func testEventsRefused(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	scan := host.NewScanID()
	if err := e.Publish(t.Context(), numbered(scan, 0, host.MaxEvents+1)); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("publish too many = %v, want ErrInvalid", err)
	}
	if err := e.Publish(t.Context(), nil); err != nil {
		t.Errorf("publish none = %v", err)
	}
	publish(t, e, numbered(scan, 0, 3)...)
	for _, id := range []host.EventID{"0", "x", "1-", "-1", "1-1-1", "1 1", "+", "-", "$", "01-1", "-1-1", "1--1", "99999999999999999999-0", "1-1\n"} {
		if _, err := e.Read(t.Context(), feed(scan), id, 10, 0); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("read after %q = %v, want ErrInvalid", id, err)
		}
	}
	for _, id := range []host.EventID{"0-0", "1-1", "9223372036854775807-18446744073709551615"} {
		if _, err := e.Read(t.Context(), feed(scan), id, 10, 0); !errors.Is(err, host.ErrEventsGone) {
			t.Errorf("read after %q, which never was = %v, want ErrEventsGone", id, err)
		}
	}
}

func testEventsCanceled(t *testing.T, h EventsHarness) {
	e := h.Events(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Publish(ctx, numbered(host.NewScanID(), 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("publish = %v, want context.Canceled", err)
	}
	if _, err := e.Read(ctx, feed(host.NewScanID()), "", 1, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want context.Canceled", err)
	}
}

func feed(scan host.ScanID) host.Feed { return host.Feed{Scan: scan} }

// numbered makes n events of a scan, which differ in their findings.
func numbered(scan host.ScanID, from, n int) []host.Event {
	out := make([]host.Event, n)
	for i := range out {
		out[i] = host.Event{Scan: scan, Kind: host.EventProgress, Job: host.NewJobID(), Plugin: "p", Attempt: 1, State: host.StateRunning, Findings: from + i}
	}
	return out
}

func publish(t *testing.T, e host.Events, events ...host.Event) {
	t.Helper()
	if err := e.Publish(t.Context(), events); err != nil {
		t.Fatalf("publish %d events: %v", len(events), err)
	}
}

func read(t *testing.T, e host.Events, scan host.ScanID, after host.EventID, max int) []host.Event {
	t.Helper()
	got, err := e.Read(t.Context(), feed(scan), after, max, 0)
	if err != nil {
		t.Fatalf("read after %q: %v", after, err)
	}
	return got
}

func wantNumbers(t *testing.T, got, want []host.Event) {
	t.Helper()
	numbers := func(events []host.Event) (out []string) {
		for _, e := range events {
			out = append(out, fmt.Sprint(e.Scan, " ", e.Findings))
		}
		return out
	}
	if diff := cmp.Diff(numbers(want), numbers(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
