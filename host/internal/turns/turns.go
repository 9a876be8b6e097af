// Package turns is what loops have in common that look again and again for work
// which any host may do: the time between two turns, and what is said when one
// fails.
package turns

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Trouble says once that something fails and once that it works again. It is of
// one goroutine.
type Trouble struct {
	Log  hclog.Logger
	What string // an infinitive: "cannot ", "can " and this

	failing bool
}

// Report takes what came of a turn.
func (t *Trouble) Report(err error) {
	switch {
	case err != nil && !t.failing:
		t.Log.Error("cannot "+t.What+", trying again with every turn", "error", err)
	case err == nil && t.failing:
		t.Log.Info("can " + t.What + " again")
	}
	t.failing = err != nil
}

// Jitter spreads the turns of hosts that start together: between half of d and
// one and a half.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// Sleep waits and says whether ctx let it.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
