package dispatch

import (
	"context"
	"sync"
)

// slots bounds the jobs that run at once. Each slot has a goroutine, from its
// first job on: a new one for each job would grow its stack anew each time.
type slots struct {
	free    chan struct{}
	jobs    chan func() // has room for all that can be taken, so sending never blocks
	workers sync.WaitGroup

	mu      sync.Mutex
	started int // goroutines
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan struct{}, n), jobs: make(chan func(), n)}
	s.give(n)
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

// tryTake takes the slots that are free now, at most max.
func (s *slots) tryTake(max int) (n int) {
	for n < max {
		select {
		case <-s.free:
			n++
		default:
			return n
		}
	}
	return n
}

// give returns n slots that were taken and not used.
func (s *slots) give(n int) {
	for range n {
		s.free <- struct{}{}
	}
}

// run uses one taken slot for f. Nobody calls it after wait.
func (s *slots) run(f func()) {
	s.jobs <- f
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started == cap(s.jobs) {
		return
	}
	s.started++
	s.workers.Go(func() {
		for f := range s.jobs {
			f()
			s.give(1)
		}
	})
}

func (s *slots) busy() int { return cap(s.free) - len(s.free) }

// wait returns when nothing runs any more; then no job can.
func (s *slots) wait() {
	close(s.jobs)
	s.workers.Wait()
}
