package main

import (
	"os"
	"runtime"
	"runtime/debug"
	gometrics "runtime/metrics"
)

// Go collects garbage whenever the heap has doubled. A host's live heap is a few
// MiB, so a busy one would collect many times a second, which was a fifth of
// its CPU time; and a heap that has grown large must not be let to grow
// fivefold. So garbage gets a size and not a proportion, as long as the live
// heap is smaller than that size.
const garbage = 32 << 20

// tuneGC keeps it so, unless GOGC says otherwise. It is called once.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		(&collection{live: []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}, percent: 100}).arm()
	}
}

// collection is told of every collection by its own finalizer.
type collection struct {
	live    []gometrics.Sample
	percent int
}

// cycle is garbage at once, so that each collection finds one.
type cycle struct{ c *collection }

func (c *collection) arm() {
	runtime.SetFinalizer(&cycle{c}, func(old *cycle) {
		old.c.adjust()
		old.c.arm()
	})
}

// adjust sets the goal of the next collection. To set it stops the world, so
// small changes are left.
func (c *collection) adjust() {
	gometrics.Read(c.live)
	if c.live[0].Value.Kind() != gometrics.KindUint64 {
		return
	}
	want := gcPercent(c.live[0].Value.Uint64())
	if 10*want > 11*c.percent || 10*want < 9*c.percent {
		c.percent = want
		debug.SetGCPercent(want)
	}
}

func gcPercent(live uint64) int {
	return int(min(max(100*garbage/max(live, 1), 100), 1000))
}
