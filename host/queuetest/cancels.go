package queuetest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// RunCancels runs the suite of host.Cancels. fresh makes a new server and gives
// a function that gives its cancels, as one more host sees them.
func RunCancels(t *testing.T, fresh func(t *testing.T) func(*testing.T) host.Cancels) {
	tests := []struct {
		name string
		test func(*testing.T, func(*testing.T) host.Cancels)
	}{
		{"every host hears", testCancelsHeard},
		{"nobody listens", testCancelsNobody},
		{"ends with its context", testCancelsEnd},
		{"many", testCancelsMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, fresh(t))
		})
	}
}

// subscription is a Subscribe that listens.
type subscription struct {
	heard chan host.ScanID
	stop  context.CancelFunc
	ended chan error
}

func subscribe(t *testing.T, c host.Cancels) *subscription {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &subscription{heard: make(chan host.ScanID, 10_000), stop: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- c.Subscribe(ctx, func(id host.ScanID) { s.heard <- id }) }()
	select {
	case id := <-s.heard:
		if id != "" {
			t.Errorf("heard %q before it was said that it listens", id)
		}
	case err := <-s.ended:
		t.Fatalf("subscribe ended: %v", err)
	}
	return s
}

func (s *subscription) end(t *testing.T) {
	t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		t.Errorf("subscribe = %v, want nil after its context ended", err)
	}
}

func testCancelsHeard(t *testing.T, host1 func(*testing.T) host.Cancels) {
	a, b := host1(t), host1(t)
	for range 2 { // a host that was there before can come again
		one, two := subscribe(t, a), subscribe(t, b)
		want := host.NewScanID()
		if err := a.Publish(t.Context(), want); err != nil {
			t.Fatalf("publish: %v", err)
		}
		for name, s := range map[string]*subscription{"the host itself": one, "the other": two} {
			if got := <-s.heard; got != want {
				t.Errorf("%s heard %q, want %q", name, got, want)
			}
			s.end(t)
		}
	}
}

func testCancelsNobody(t *testing.T, one func(*testing.T) host.Cancels) {
	if err := one(t).Publish(t.Context(), host.NewScanID()); err != nil {
		t.Errorf("publish to nobody = %v", err)
	}
}

func testCancelsEnd(t *testing.T, one func(*testing.T) host.Cancels) {
	c := one(t)
	for range 20 {
		subscribe(t, c).end(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Subscribe(ctx, func(host.ScanID) {}); err != nil {
		t.Errorf("subscribe with an ended context = %v, want nil", err)
	}
	if err := c.Publish(ctx, host.NewScanID()); !errors.Is(err, context.Canceled) {
		t.Errorf("publish = %v, want context.Canceled", err)
	}
}

func testCancelsMany(t *testing.T, one func(*testing.T) host.Cancels) {
	c := one(t)
	s := subscribe(t, c)
	var want, got []host.ScanID
	for range 300 {
		want = append(want, host.NewScanID())
	}
	for _, id := range want {
		if err := c.Publish(t.Context(), id); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	for range want {
		got = append(got, <-s.heard)
	}
	s.end(t)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}
