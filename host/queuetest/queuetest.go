// Package queuetest is the conformance suite of the ports that hosts talk to
// each other through: host.Doorbells, host.Events and host.Cancels. Every
// implementation, and every server that one runs against, passes it.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// Harness is one server with nothing on it.
type Harness interface {
	// Listener gives doorbells as the named host hears them.
	Listener(t *testing.T, consumer string) host.Doorbells
	// Wipe forgets everything, as FLUSHALL does.
	Wipe(t *testing.T)
	// Idle makes what was heard so far count as left unsilenced for too long.
	Idle(t *testing.T)
}

// Run runs the suite; fresh gives a new harness to each test.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	tests := []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"rung before anyone listens", testRungBefore},
		{"one plugin is not another's", testPlugins},
		{"each doorbell is heard by one host", testOneHost},
		{"silenced is gone", testSilenced},
		{"unsilenced goes to another host", testTakeover},
		{"restarted host", testRestarted},
		{"leaving loses nothing", testLeave},
		{"doubled doorbells", testDoubled},
		{"wiped", testWiped},
		{"wiped under a blocked listener", testWipedBlocked},
		{"many at once", testMany},
		{"foreign entries", testNothingToDo},
		{"cancelled", testCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, fresh(t))
		})
	}
}

func testRungBefore(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	want := bells("p", 3)
	ring(t, d, want...)
	got := hear(t, d, []string{"p"}, 3)
	if diff := cmp.Diff(want, doorbells(got)); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}

func testPlugins(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	p, q := bells("p", 2), bells("q", 2)
	ring(t, d, append(slices.Clone(p), q...)...)
	if diff := cmp.Diff(p, doorbells(hear(t, d, []string{"p"}, 2))); diff != "" {
		t.Errorf("listening for p (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(q, doorbells(hear(t, d, []string{"p", "q"}, 2))); diff != "" {
		t.Errorf("listening for both after p's were heard (-want +got):\n%s", diff)
	}
}

func testOneHost(t *testing.T, h Harness) {
	const n = 200
	ring(t, h.Listener(t, "ringer"), bells("p", n)...)
	var (
		mu   sync.Mutex
		seen = map[host.JobID]int{}
		wg   sync.WaitGroup
	)
	for i := range 4 {
		d := h.Listener(t, fmt.Sprint("host-", i))
		wg.Go(func() {
			for {
				mu.Lock()
				done := len(seen) == n
				mu.Unlock()
				if done {
					return
				}
				heard, err := d.Listen(t.Context(), []string{"p"}, 7)
				if err != nil && !errors.Is(err, host.ErrQueueLost) {
					t.Errorf("listen: %v", err)
					return
				}
				mu.Lock()
				for _, r := range heard {
					seen[r.Job]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for job, times := range seen {
		if times != 1 {
			t.Errorf("job %s was heard %d times, want once", job, times)
		}
	}
}

func testSilenced(t *testing.T, h Harness) {
	a, b := h.Listener(t, "a"), h.Listener(t, "b")
	ring(t, a, bells("p", 2)...)
	heard := hear(t, a, []string{"p"}, 2)
	if err := a.Silence(t.Context(), heard); err != nil {
		t.Fatalf("silence: %v", err)
	}
	if err := a.Silence(t.Context(), heard); err != nil {
		t.Errorf("silence a second time: %v", err)
	}
	h.Idle(t)
	last := bells("p", 1)
	ring(t, a, last...)
	if diff := cmp.Diff(last, doorbells(hear(t, b, []string{"p"}, 1))); diff != "" {
		t.Errorf("another host hears only what came later (-want +got):\n%s", diff)
	}
}

func testTakeover(t *testing.T, h Harness) {
	a, b := h.Listener(t, "a"), h.Listener(t, "b")
	want := bells("p", 3)
	ring(t, a, want...)
	hear(t, a, []string{"p"}, 3)
	h.Idle(t)
	got := doorbells(hear(t, b, []string{"p"}, 3))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the second host takes over (-want +got):\n%s", diff)
	}
}

func testRestarted(t *testing.T, h Harness) {
	want := bells("p", 3)
	ring(t, h.Listener(t, "a"), want...)
	hear(t, h.Listener(t, "a"), []string{"p"}, 3)
	got := doorbells(hear(t, h.Listener(t, "a"), []string{"p"}, 3))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a host that is restarted hears what it had not silenced (-want +got):\n%s", diff)
	}
}

// testLeave: a host that leaves with something unsilenced takes nothing with it,
// and one that left can come back.
func testLeave(t *testing.T, h Harness) {
	a, b := h.Listener(t, "a"), h.Listener(t, "b")
	leave := func() {
		t.Helper()
		if err := a.Leave(t.Context()); err != nil {
			t.Fatalf("leave: %v", err)
		}
	}
	leave() // before it ever listened
	want := bells("p", 3)
	ring(t, a, want...)
	heard := hear(t, a, []string{"p"}, 3)
	leave()
	h.Idle(t)
	got := hear(t, b, []string{"p"}, 3)
	if diff := cmp.Diff(want, doorbells(got)); diff != "" {
		t.Errorf("what the host that left had heard goes to another (-want +got):\n%s", diff)
	}
	if err := b.Silence(t.Context(), append(got, heard...)); err != nil {
		t.Fatalf("silence: %v", err)
	}
	leave()
	leave()
	again := bells("p", 1)
	ring(t, b, again...)
	if diff := cmp.Diff(again, doorbells(hear(t, a, []string{"p"}, 1))); diff != "" {
		t.Errorf("it hears again (-want +got):\n%s", diff)
	}
	h.Wipe(t)
	leave() // of a server that knows nothing any more
}

func testDoubled(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	b := bells("p", 1)
	ring(t, d, b...)
	ring(t, d, b...)
	got := hear(t, d, []string{"p"}, 2)
	if got[0].Receipt == got[1].Receipt {
		t.Errorf("both copies have the receipt %q", got[0].Receipt)
	}
	if err := d.Silence(t.Context(), got); err != nil {
		t.Errorf("silence both: %v", err)
	}
}

func testWiped(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	ring(t, d, bells("p", 2)...)
	heard := hear(t, d, []string{"p"}, 1)
	h.Wipe(t)
	if err := d.Silence(t.Context(), heard); err != nil {
		t.Errorf("silence after a wipe: %v", err)
	}
	if _, err := d.Listen(t.Context(), []string{"p"}, 1); !errors.Is(err, host.ErrQueueLost) {
		t.Errorf("the first listen after a wipe = %v, want ErrQueueLost", err)
	}
	want := bells("p", 1)
	ring(t, d, want...)
	if diff := cmp.Diff(want, doorbells(hear(t, d, []string{"p"}, 1))); diff != "" {
		t.Errorf("after a wipe (-want +got):\n%s", diff)
	}
}

func testWipedBlocked(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	ring(t, d, bells("p", 1)...)
	if err := d.Silence(t.Context(), hear(t, d, []string{"p"}, 1)); err != nil {
		t.Fatal(err)
	}
	want := bells("p", 1)
	got := make(chan []host.Ringing)
	go func() { got <- hear(t, d, []string{"p"}, 1) }()
	h.Wipe(t) // while it blocks, or just before or after: all three must work
	ring(t, d, want...)
	if diff := cmp.Diff(want, doorbells(<-got)); diff != "" {
		t.Errorf("after a wipe (-want +got):\n%s", diff)
	}
}

func testMany(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	const n = 5000
	ring(t, d, bells("p", n)...)
	seen := map[host.JobID]bool{}
	for len(seen) < n {
		heard := hear(t, d, []string{"p"}, 1)
		if len(heard) == 0 {
			return // hear has failed the test
		}
		for _, r := range heard {
			seen[r.Job] = true
		}
		if err := d.Silence(t.Context(), heard); err != nil {
			t.Fatalf("silence: %v", err)
		}
	}
}

func testNothingToDo(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	if err := d.Ring(t.Context(), nil); err != nil {
		t.Errorf("ring none: %v", err)
	}
	if err := d.Silence(t.Context(), nil); err != nil {
		t.Errorf("silence none: %v", err)
	}
	if got, err := d.Listen(t.Context(), nil, 5); err != nil || got != nil {
		t.Errorf("listen for no plugin = %v, %v, want none", got, err)
	}
	if got, err := d.Listen(t.Context(), []string{"p"}, 0); err != nil || got != nil {
		t.Errorf("listen for at most none = %v, %v, want none", got, err)
	}
	if err := d.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func testCancelled(t *testing.T, h Harness) {
	d := h.Listener(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Ring(ctx, bells("p", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("ring = %v, want context.Canceled", err)
	}
}

func bells(plugin string, n int) []host.Doorbell {
	out := make([]host.Doorbell, n)
	for i := range out {
		out[i] = host.Doorbell{Plugin: plugin, Job: host.NewJobID()}
	}
	return out
}

func ring(t *testing.T, d host.Doorbells, b ...host.Doorbell) {
	t.Helper()
	if err := d.Ring(t.Context(), b); err != nil {
		t.Fatalf("ring %d doorbells: %v", len(b), err)
	}
}

// hear listens until at least n came.
func hear(t *testing.T, d host.Doorbells, plugins []string, n int) []host.Ringing {
	t.Helper()
	var heard []host.Ringing
	for len(heard) < n {
		got, err := d.Listen(t.Context(), plugins, max(n, 100))
		if err != nil && !errors.Is(err, host.ErrQueueLost) { // the group of a new stream is not there yet
			t.Errorf("listen: %v", err)
			return heard
		}
		heard = append(heard, got...)
	}
	return heard
}

func doorbells(heard []host.Ringing) []host.Doorbell {
	out := make([]host.Doorbell, len(heard))
	for i, r := range heard {
		out[i] = r.Doorbell
	}
	return out
}
