package host_test

import (
	"slices"
	"testing"

	"github.com/securetaghq/securetag/host"
)

// TestTransitions writes the whole table down again, by hand, so that a change
// of it is seen.
func TestTransitions(t *testing.T) {
	t.Parallel()
	want := map[host.State]string{
		host.StateQueued:  "running canceled timed_out",
		host.StateRunning: "queued succeeded partial failed canceled timed_out",
		host.StateFailed:  "queued", // an operator's requeue
	}
	legal := 0
	for _, from := range host.States() {
		for _, to := range host.States() {
			expected := slices.Contains(split(want[from]), string(to))
			if got := from.CanBecome(to); got != expected {
				t.Errorf("%s to %s: %v, want %v", from, to, got, expected)
			}
			if from.CanBecome(to) {
				legal++
				if requeue := from == host.StateFailed && to == host.StateQueued; from.Final() && !requeue {
					t.Errorf("%s is final and can become %s", from, to)
				}
			}
		}
	}
	if legal != 10 {
		t.Errorf("%d legal changes, want 10", legal)
	}
	for _, s := range host.States() {
		if host.State("made up").CanBecome(s) || s.CanBecome("made up") || s.CanBecome("") {
			t.Errorf("%s takes part in changes of states that do not exist", s)
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	if n := len(host.States()); n != 7 {
		t.Fatalf("%d states", n)
	}
	for _, s := range host.States() {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
		if open := s == host.StateQueued || s == host.StateRunning; s.Final() == open {
			t.Errorf("%s: final %v", s, s.Final())
		}
	}
	for _, s := range []host.State{"", "Queued", "done"} {
		if s.Valid() {
			t.Errorf("%q is valid", s)
		}
	}
	host.States()[0] = "broken"
	if host.States()[0] != host.StateQueued {
		t.Error("a caller can change the list of states")
	}
}

// TestDeriveState compares with the sentences of its documentation, over every
// combination of up to five jobs.
func TestDeriveState(t *testing.T) {
	t.Parallel()
	var jobs []host.State
	cases := 0
	var try func(int)
	try = func(left int) {
		if len(jobs) > 0 {
			cases++
			got, want := host.DeriveState(jobs), documented(jobs)
			if got != want {
				t.Fatalf("%v: %s, want %s", jobs, got, want)
			}
			if final := !slices.ContainsFunc(jobs, func(s host.State) bool { return !s.Final() }); got.Final() != final {
				t.Fatalf("%v: %s, and the jobs are final: %v", jobs, got, final)
			}
			if got == host.StateSucceeded && slices.ContainsFunc(jobs, func(s host.State) bool { return s != host.StateSucceeded }) {
				t.Fatalf("%v: a clean result", jobs)
			}
		}
		if left == 0 {
			return
		}
		for _, s := range host.States() {
			jobs = append(jobs, s)
			try(left - 1)
			jobs = jobs[:len(jobs)-1]
		}
	}
	try(5)
	if want := 7 + 49 + 343 + 2401 + 16807; cases != want {
		t.Errorf("%d combinations, want %d", cases, want)
	}
	if got := host.DeriveState(nil); got != host.StateFailed {
		t.Errorf("of no jobs: %s", got)
	}
}

// documented reads the list in the documentation of DeriveState from the top.
func documented(jobs []host.State) host.State {
	all := func(s host.State) bool {
		return !slices.ContainsFunc(jobs, func(j host.State) bool { return j != s })
	}
	any := func(states ...host.State) bool {
		return slices.ContainsFunc(jobs, func(j host.State) bool { return slices.Contains(states, j) })
	}
	if all(host.StateQueued) {
		return host.StateQueued
	}
	if any(host.StateQueued, host.StateRunning) {
		return host.StateRunning
	}
	if any(host.StateCanceled) {
		return host.StateCanceled
	}
	if all(host.StateSucceeded) {
		return host.StateSucceeded
	}
	if !any(host.StateSucceeded, host.StatePartial) {
		if all(host.StateTimedOut) {
			return host.StateTimedOut
		}
		return host.StateFailed
	}
	return host.StatePartial
}
