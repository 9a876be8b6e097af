package dispatch

import (
	"math/rand/v2"
	"time"
)

// Backoff is the pause before another attempt: it doubles from Min to Max, and
// up to half of it is taken off at random, so that what failed together does
// not come back together.
type Backoff struct {
	Min, Max time.Duration
}

// After gives the pause after the given attempt, 1 for the first.
func (b Backoff) After(attempt int) time.Duration {
	d := b.Max
	// Beyond 32 doublings any sensible Min is over any sensible Max, and the
	// shift would overflow.
	if attempt < 32 {
		if shifted := b.Min << max(attempt-1, 0); shifted < b.Max && shifted>>max(attempt-1, 0) == b.Min {
			d = shifted
		}
	}
	if d <= 0 {
		return 0
	}
	return d - rand.N(d/2+1)
}
