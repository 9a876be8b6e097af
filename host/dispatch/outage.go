package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// outage says once that something stopped working and once that it works
// again, however often it is tried in between. One goroutine uses it.
type outage struct {
	log   hclog.Logger
	what  string
	since time.Time
}

// report takes the error of a try and says whether the try worked. An ended
// context is neither.
func (o *outage) report(ctx context.Context, err error) bool {
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil && o.since.IsZero():
		o.since = time.Now()
		o.log.Error("cannot "+o.what+", trying again until it works", "error", err)
	case err == nil && !o.since.IsZero():
		o.log.Info("can "+o.what+" again", "down_ms", time.Since(o.since).Milliseconds())
		o.since = time.Time{}
	}
	return err == nil
}

// gate keeps every loop off a Redis that does not answer: the first that fails
// shuts it, and one probe at a time looks whether it is back.
type gate struct {
	bells host.Doorbells

	mu     sync.Mutex
	status outage
	probe  time.Time // when to try next
	pause  time.Duration
}

const (
	gateMin = 100 * time.Millisecond
	gateMax = 5 * time.Second
)

func newGate(bells host.Doorbells, log hclog.Logger) *gate {
	return &gate{bells: bells, status: outage{log: log, what: "reach Redis (scans are still accepted and wait in the database)"}}
}

// report takes the error of a call to Redis.
func (g *gate) report(ctx context.Context, err error) {
	if err != nil && (ctx.Err() != nil || !errors.Is(err, host.ErrUnavailable)) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.status.report(ctx, err) {
		g.pause = 0
		return
	}
	g.pause = min(max(2*g.pause, gateMin), gateMax)
	g.probe = time.Now().Add(g.pause/2 + rand.N(g.pause/2+1))
}

// pass waits until Redis may be tried: at once while it works, else until it
// answers a probe. False when ctx ended.
func (g *gate) pass(ctx context.Context) bool {
	for {
		down, probe, wait := g.turn()
		switch {
		case !down:
			return ctx.Err() == nil
		case probe:
			pctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			err := g.bells.Ping(pctx)
			cancel()
			g.report(ctx, err)
		case !sleep(ctx, wait):
			return false
		}
	}
}

// down says whether Redis is known not to answer.
func (g *gate) down() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause > 0
}

// turn says whether Redis is down, and then whether the caller is the one to
// probe it now or how long to wait before asking again.
func (g *gate) turn() (down, probe bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause == 0 {
		return false, false, 0
	}
	if wait = time.Until(g.probe); wait > 0 {
		return true, false, wait
	}
	g.probe = time.Now().Add(g.pause) // the others wait for this probe
	return true, true, 0
}

// sleep waits and says whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// ticker spaces the turns of a loop; the first is at once.
type ticker struct {
	every time.Duration
	begun bool
}

func newTicker(every time.Duration) *ticker { return &ticker{every: every} }

func (t *ticker) wait(ctx context.Context) bool {
	if !t.begun {
		t.begun = true
		return ctx.Err() == nil
	}
	return sleep(ctx, t.every)
}
