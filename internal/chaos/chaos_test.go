package chaos_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStorm is the short one: a fixed seed, and one that nobody has tried.
func TestStorm(t *testing.T) {
	t.Parallel()
	for name, seed := range map[string]uint64{"fixed": 20, "random": rand.Uint64()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			weather(t, seed, 30, settings{}, 600*time.Millisecond, 700*time.Millisecond)
		})
	}
}

// TestLongStorm is what `make chaos` runs; without -scans it has nothing to do.
func TestLongStorm(t *testing.T) {
	if *flagScans <= 0 {
		return // not a skip: the short storm is the test that always runs
	}
	seed := rand.Uint64()
	if *flagSeed != "" {
		var err error
		if seed, err = strconv.ParseUint(*flagSeed, 10, 64); err != nil {
			t.Fatalf("-seed: %v", err)
		}
	}
	weather(t, seed, *flagScans, settings{slots: 8}, 10*time.Millisecond, 800*time.Millisecond)
}

// weather uploads scans in a storm and checks what is left after it.
func weather(t *testing.T, seed uint64, scans int, s settings, pause, pace time.Duration) {
	t.Logf("seed %d, %d scans", seed, scans)
	began := time.Now()
	c := start(t, s)
	l, storm := newLoad(c, scans, pause), newStorm(c, seed)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	watching := make(chan struct{})
	go func() { defer close(watching); l.watch(ctx) }()
	uploaded := make(chan struct{})
	go func() { defer close(uploaded); l.upload(ctx, seed)() }()
	storm.run(ctx, pace, func() bool {
		select {
		case <-uploaded:
			return true
		default:
			return false
		}
	})
	stormed := time.Since(began)
	c.settle(3 * time.Minute)
	settled := time.Since(began) - stormed
	stop()
	<-watching
	<-uploaded
	jobs, sum := c.verify(l)
	c.overHTTP(l, jobs, 300)
	c.shutDown()
	report(t, c, l, storm, jobs, sum, fmt.Sprintf("storm %v, calm after %v more", stormed.Round(time.Second), settled.Round(time.Second)))
}

// report prints the figures.
func report(t *testing.T, c *cluster, l *load, s *storm, jobs []job, sum tally, took string) {
	states, scans, codes := map[string]int{}, map[string]int{}, map[string]int{}
	byScan := map[string]string{}
	for _, j := range jobs {
		states[string(j.State)]++
		byScan[j.Scan] = string(j.ScanState)
		if j.State == "failed" {
			codes[string(j.Error.Code)]++
		}
	}
	for _, state := range byScan {
		scans[state]++
	}
	logged := map[string]int{}
	for what, text := range map[string]string{
		"result rejected by the fence":    "its lease was lost before its result was stored",
		"run stopped, its lease was lost": "its lease was lost while it ran",
		"queue found wiped":               "the queue is new or was wiped",
		"result given up":                 "job's result was not stored",
	} {
		for _, h := range c.hosts {
			logged[what] += h.Logged(text)
		}
	}
	t.Logf("%s\n  accepted:   %d, canceled %d; scans stored %d\n  uploads that failed: %s\n  scans:      %s\n  jobs:       %s\n  failed for: %s\n  attempts:   %+v\n  harm:       %s\n  logs:       %s",
		took, len(l.accepted), l.canceled, len(byScan), figures(l.failed), figures(scans), figures(states), figures(codes), sum, figures(s.count), figures(logged))
}

func figures(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(out, ", ")
}
