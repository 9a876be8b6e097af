package redisstream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

// servers runs a test on both kinds.
func servers(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newHarness(t, embedded(t)))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()}))
	})
}

// TestLeaveRemovesTheName: a host that leaves with nothing pending is not
// remembered, and one with something pending is.
func TestLeaveRemovesTheName(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, h *harness) {
		a, b := h.listener(t, redisstream.Config{Consumer: "a"}), h.listener(t, redisstream.Config{Consumer: "b"})
		h.hear(t, a, "p", 1)
		heard := h.hear(t, b, "p", 1)
		h.wantConsumers(t, "p", "a", "b")
		for _, d := range []host.Doorbells{a, b} {
			if err := d.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		h.wantConsumers(t, "p", "a", "b")
		if err := b.Silence(t.Context(), heard); err != nil {
			t.Fatal(err)
		}
		if err := b.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.wantConsumers(t, "p", "a")
	})
}

// TestAbsentHostsAreForgotten: but not while something waits for them. Only a
// real server is looked at: the embedded one does not know how long a consumer
// has been idle, so it keeps the names, and it has one host.
func TestAbsentHostsAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()})
	busy, gone := h.listener(t, redisstream.Config{Consumer: "busy"}), h.listener(t, redisstream.Config{Consumer: "gone"})
	h.hear(t, busy, "p", 1)
	if err := gone.Silence(t.Context(), h.hear(t, gone, "p", 1)); err != nil {
		t.Fatal(err)
	}
	patient := h.listener(t, redisstream.Config{Consumer: "patient", Absent: time.Hour})
	if err := patient.Silence(t.Context(), h.hear(t, patient, "p", 1)); err != nil {
		t.Fatal(err)
	}
	h.wantConsumers(t, "p", "busy", "gone", "patient")

	hasty := h.listener(t, redisstream.Config{Consumer: "hasty", Absent: time.Millisecond})
	for slices.Contains(h.consumers(t, "p"), "gone") {
		if _, err := hasty.Listen(t.Context(), []string{"p"}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if names := h.consumers(t, "p"); !slices.Contains(names, "busy") {
		t.Errorf("consumers %v: one with something pending was deleted", names)
	}
}

// TestReapingLosesNothing: hosts that reap at each turn, where everybody counts
// as absent at once, they themselves too, hear everything.
func TestReapingLosesNothing(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, h *harness) {
		a := h.listener(t, redisstream.Config{Consumer: "a", Absent: time.Millisecond})
		b := h.listener(t, redisstream.Config{Consumer: "b", Absent: time.Millisecond})
		for range 100 {
			if err := a.Silence(t.Context(), h.hear(t, a, "p", 1)); err != nil {
				t.Fatal(err)
			}
			if err := b.Silence(t.Context(), h.hear(t, b, "p", 2)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestDeletedWhileItListens: a blocked reader whose name is removed hears what
// comes next all the same.
func TestDeletedWhileItListens(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, h *harness) {
		d := h.listener(t, redisstream.Config{Consumer: "d", Block: 2 * time.Second})
		if err := d.Silence(t.Context(), h.hear(t, d, "p", 1)); err != nil {
			t.Fatal(err)
		}
		heard := make(chan int)
		go func() {
			for n := 0; n == 0; {
				got, err := d.Listen(t.Context(), []string{"p"}, 1)
				if err != nil {
					t.Error(err)
					break
				}
				n = len(got)
			}
			heard <- 1
		}()
		for range 500 { // some of them while it is blocked
			if err := h.admin.XGroupDelConsumer(t.Context(), "{securetag}:doorbell:p", "hosts", "d").Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Ring(t.Context(), []host.Doorbell{{Plugin: "p", Job: host.NewJobID()}}); err != nil {
			t.Fatal(err)
		}
		<-heard
	})
}

func (h *harness) consumers(t *testing.T, plugin string) []string {
	t.Helper()
	all, err := h.admin.XInfoConsumers(t.Context(), "{securetag}:doorbell:"+plugin, "hosts").Result()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

func (h *harness) wantConsumers(t *testing.T, plugin string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, h.consumers(t, plugin)); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
}

// hear rings n times and listens until the host has heard as many.
func (h *harness) hear(t *testing.T, d host.Doorbells, plugin string, n int) (heard []host.Ringing) {
	t.Helper()
	for range n {
		if err := d.Ring(t.Context(), []host.Doorbell{{Plugin: plugin, Job: host.NewJobID()}}); err != nil {
			t.Fatal(err)
		}
	}
	for len(heard) < n {
		got, err := d.Listen(t.Context(), []string{plugin}, n)
		if err != nil && len(h.groups(t, plugin)) == 0 {
			t.Fatal(err)
		}
		heard = append(heard, got...)
	}
	return heard
}

func (h *harness) groups(t *testing.T, plugin string) []string {
	t.Helper()
	all, err := h.admin.XInfoGroups(t.Context(), "{securetag}:doorbell:"+plugin).Result()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range all {
		names = append(names, g.Name)
	}
	return names
}
