package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
)

// madeUp is the hash of a key that there is not.
func madeUp(n int) (hash [32]byte) {
	binary.BigEndian.PutUint64(hash[1:], uint64(n))
	return hash
}

// keysOf answers as a store does that has these keys and takes so long, and
// counts the look-ups.
func keysOf(asked *[]int, took time.Duration, good ...[32]byte) func(context.Context, [][32]byte) ([][32]byte, error) {
	return func(_ context.Context, hashes [][32]byte) (out [][32]byte, err error) {
		*asked = append(*asked, len(hashes))
		time.Sleep(took)
		for _, hash := range hashes {
			if slices.Contains(good, hash) {
				out = append(out, hash)
			}
		}
		return out, nil
	}
}

// TestLaneUnderFlood: for ten seconds an address sends 8,000 made-up keys a
// second, each once. Good keys of the same address and of another get through in
// the time that the documentation says, and so often the store is asked.
func TestLaneUnderFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := [32]byte{1}
		var asked []int
		l := newLane(keysOf(&asked, 2*time.Millisecond, good))
		began := time.Now()
		const perTick, ticks = 80, 1000 // of 10 ms
		for tick := range ticks {
			for i := range perTick {
				go func() {
					if ok, err := l.good(t.Context(), "192.0.2.1", madeUp(tick*perTick+i)); ok || err != nil {
						t.Errorf("a key that was made up: %v, %v", ok, err)
					}
				}()
			}
			if tick%50 == 25 {
				for _, from := range []string{"192.0.2.1", "198.51.100.1"} {
					go func() {
						sent := time.Now()
						ok, err := l.good(t.Context(), from, good)
						if took := time.Since(sent); !ok || err != nil || took > 2*turnEvery {
							t.Errorf("a good key from %s after %v: %v, %v", from, took, ok, err)
						}
					}()
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		most := int(time.Since(began)/turnEvery) + 1
		if len(asked) > most || slices.Max(asked) > turnMost {
			t.Errorf("the store was asked %d times, for up to %d keys; want at most %d times, for %d", len(asked), slices.Max(asked), most, turnMost)
		}
		time.Sleep(turnEvery)
		synctest.Wait()
		if l.working || len(l.asked)+len(l.waiting)+len(l.order) > 0 {
			t.Errorf("behind the flood: working %v, %d questions, %d addresses, %d in turn", l.working, len(l.asked), len(l.waiting), len(l.order))
		}
	})
}

// TestLaneTurns: of more than a turn takes at once, each address has its part of
// it, and who came first in an address is first.
func TestLaneTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := [32]byte{1}
		var asked []int
		l := newLane(keysOf(&asked, time.Millisecond, good))
		var answered atomic.Int32
		began := time.Now()
		for i := range 5 * turnMost {
			go func() {
				_, _ = l.good(t.Context(), "192.0.2.1", madeUp(i))
				answered.Add(1)
			}()
		}
		synctest.Wait() // the first turn has begun with some of them
		for range 3 {   // who asks the same shares the answer
			go func() {
				if ok, err := l.good(t.Context(), "198.51.100.1", good); !ok || err != nil || time.Since(began) > turnEvery+time.Millisecond {
					t.Errorf("another address after %v: %v, %v", time.Since(began), ok, err)
				}
			}()
		}
		if ok, err := l.good(t.Context(), "192.0.2.1", good); !ok || err != nil || time.Since(began) > 6*turnEvery+time.Millisecond { // when the first turn had but one
			t.Errorf("behind %d others after %v: %v, %v", 5*turnMost, time.Since(began), ok, err)
		}
		synctest.Wait()
		if answered.Load() != 5*turnMost || len(asked) > 7 {
			t.Errorf("%d were answered in %d look-ups: %v", answered.Load(), len(asked), asked)
		}
	})
}

// TestLaneHangUp: who hangs up is forgotten, and costs no place in a turn.
func TestLaneHangUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		l := newLane(keysOf(&asked, 0))
		_, _ = l.good(t.Context(), "a", madeUp(0)) // the next turn is a while away
		ctx, hangUp := context.WithCancel(t.Context())
		for i := range 100 {
			go func() {
				if _, err := l.good(ctx, "a", madeUp(1+i)); !errors.Is(err, context.Canceled) {
					t.Errorf("one that hung up: %v", err)
				}
			}()
		}
		stays := make(chan error, 1)
		go func() { _, err := l.good(t.Context(), "a", madeUp(1)); stays <- err }()
		synctest.Wait()
		hangUp()
		if err := <-stays; err != nil {
			t.Errorf("one that stays: %v", err)
		}
		if fmt.Sprint(asked) != "[1 1]" || len(l.asked) != 0 {
			t.Errorf("asked for %v keys, %d questions are left", asked, len(l.asked))
		}
	})
}

// TestLaneFails: what the store cannot answer is said to all who wait, and the
// next are asked for again.
func TestLaneFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		l := newLane(func(ctx context.Context, hashes [][32]byte) ([][32]byte, error) {
			if down {
				<-ctx.Done() // it hangs
				return nil, host.ErrUnavailable
			}
			return hashes, nil
		})
		began := time.Now()
		if _, err := l.good(t.Context(), "a", madeUp(1)); !errors.Is(err, host.ErrUnavailable) || time.Since(began) > lookupTimeout {
			t.Errorf("while the store hangs: %v after %v", err, time.Since(began))
		}
		down = false
		if ok, err := l.good(t.Context(), "a", madeUp(1)); !ok || err != nil {
			t.Errorf("afterwards: %v, %v", ok, err)
		}
	})
}
