package host

import (
	"context"
	"fmt"
	"time"
)

// RateLimiter counts what is limited by a [Rate], each key by itself: a bucket
// of Rate.Count that is full at first and gets one back in each
// [Rate.Interval]. So Count pass at once and Count in each Per from then on;
// there is no window at whose edge they would pass twice.
type RateLimiter interface {
	// Take asks for one of each, in one round trip, and answers in the same
	// order. Each is asked for by itself; two of the same key, one after the
	// other. What is refused costs nothing. A key whose rate was changed keeps
	// what it owes, as far as the new bucket can owe it.
	//
	// It is safe for concurrent use. Time is the limiter's own. ErrInvalid for an
	// ask that [RateAsk.Check] refuses, ErrUnavailable while the server does not
	// answer: then any of them may have been taken.
	Take(ctx context.Context, asks []RateAsk) ([]RateAnswer, error)
}

// RateAsk asks for one of a key's bucket.
type RateAsk struct {
	Key  string // whose bucket, and of what: at most MaxRateKey bytes
	Rate Rate
}

// MaxRateKey bounds a key, and MaxRatePer how long a bucket may take to fill:
// so long a limiter remembers a key.
const (
	MaxRateKey = 200
	MaxRatePer = 24 * time.Hour
	// maxRateCount keeps a bucket's time within MaxRatePer where each one in it
	// has the least there is.
	maxRateCount = int(MaxRatePer / time.Microsecond)
)

// Check gives ErrInvalid for what no limiter can count.
func (a RateAsk) Check() error {
	if a.Key == "" || len(a.Key) > MaxRateKey {
		return fmt.Errorf("rate key %.50q: must have 1 to %d bytes: %w", a.Key, MaxRateKey, ErrInvalid)
	}
	if r := a.Rate; !r.countable() {
		return fmt.Errorf("rate of %d in %v: must have a count of 1 to %d, in at most %v: %w", r.Count, r.Per, maxRateCount, MaxRatePer, ErrInvalid)
	}
	return nil
}

func (r Rate) countable() bool {
	return r.Count > 0 && r.Count <= maxRateCount && r.Per > 0 && r.Per <= MaxRatePer
}

// RateAnswer says whether it was there, and how the bucket stands since.
type RateAnswer struct {
	OK   bool
	Left int // how many more would pass at this moment
	// Next is how long until one more than Left would pass, when nothing else is
	// taken until then: for what was refused, when to try again. Never 0.
	Next time.Duration
}

// Interval is the time in which a bucket gets one back, rounded up to a
// microsecond: a rate of more than a million a second counts as one of a
// million.
func (r Rate) Interval() time.Duration {
	d := r.Per / time.Duration(r.Count)
	if d*time.Duration(r.Count) < r.Per || d < time.Microsecond {
		d++
	}
	return (d + time.Microsecond - 1).Truncate(time.Microsecond)
}

// burst is the time in which an empty bucket becomes full.
func (r Rate) burst() time.Duration { return r.Interval() * time.Duration(r.Count) }

// Grant takes up to want out of a bucket that owes debt, the time that it needs
// to be full again, and returns how many there were and what it owes then. It is
// the arithmetic of every limiter (GCRA, with the debt instead of a theoretical
// arrival time); one on a server has to do the same.
func (r Rate) Grant(debt time.Duration, want int) (got int, after time.Duration) {
	debt = min(max(debt, 0), r.burst())
	got = min(want, int((r.burst()-debt)/r.Interval()))
	return got, debt + time.Duration(got)*r.Interval()
}

// Answers says it to each of want askers, of which the first got were granted
// theirs and who left the bucket with this debt.
func (r Rate) Answers(want, got int, debt time.Duration) []RateAnswer {
	out := make([]RateAnswer, want)
	for i := range out {
		slack := r.burst() - debt
		if ahead := got - 1 - i; ahead > 0 {
			slack += time.Duration(ahead) * r.Interval()
		}
		out[i] = RateAnswer{OK: i < got, Left: int(slack / r.Interval()), Next: r.Interval() - slack%r.Interval()}
	}
	return out
}
