package dispatch

import (
	"context"
	"sync"
)

// slots bounds the jobs that run at once.
type slots struct {
	free chan struct{}
	wg   sync.WaitGroup
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan struct{}, n)}
	for range n {
		s.free <- struct{}{}
	}
	return s
}

// take waits for one free slot and takes all that are free, at most max.
func (s *slots) take(ctx context.Context, max int) int {
	select {
	case <-ctx.Done():
		return 0
	case <-s.free:
	}
	for n := 1; ; n++ {
		if n == max {
			return n
		}
		select {
		case <-s.free:
		default:
			return n
		}
	}
}

// give returns n slots that were taken and not used.
func (s *slots) give(n int) {
	for range n {
		s.free <- struct{}{}
	}
}

// run uses one taken slot for f.
func (s *slots) run(f func()) {
	s.wg.Go(func() {
		defer s.give(1)
		f()
	})
}

func (s *slots) busy() int { return cap(s.free) - len(s.free) }

// wait returns when nothing runs.
func (s *slots) wait() { s.wg.Wait() }
