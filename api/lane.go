package api

import (
	"context"
	"sync"
	"time"
)

const (
	// turnEvery is the least time between two turns of a lane.
	turnEvery = 50 * time.Millisecond
	// turnMost is how many keys a turn asks for.
	turnMost = 1000
)

// lane is how keys that nobody on this host has seen to be good come to the
// store: many in one look-up, one look-up at a time, and at most one in each
// turnEvery. So whoever floods a host with keys that he made up, from however
// many addresses, costs the store twenty look-ups a second. He is kept waiting
// and refuses nobody else: a good key is in the next turn, or with n others
// before it in the turn n/turnMost later. Addresses take turns within a turn, so
// who shares none with him does not wait for those n.
//
// What waits is bounded by the connections of the host: each question has
// somebody on one who waits for the answer, or it is forgotten.
type lane struct {
	// ask gives those that are good.
	ask func(context.Context, [][32]byte) ([][32]byte, error)

	mu      sync.Mutex
	asked   map[caller]*question // what waits for its turn
	waiting map[string][]*question
	order   []string // addresses with questions that wait, each once
	working bool
	last    time.Time // when the last turn began
}

// caller is a key, and the address it comes from.
type caller struct {
	from string
	hash [32]byte
}

// question is whether a key is good. All who ask it from an address before its
// turn begins share it; who comes later asks anew, for the key may be new.
type question struct {
	caller
	askers int
	done   chan struct{} // closed with the answer
	good   bool
	err    error
}

func newLane(ask func(context.Context, [][32]byte) ([][32]byte, error)) *lane {
	return &lane{ask: ask, asked: map[caller]*question{}, waiting: map[string][]*question{}}
}

// good waits for its turn and reports whether a key is good. Errors are those of
// host.KeyStore.GoodKeys, and ctx's.
func (l *lane) good(ctx context.Context, from string, hash [32]byte) (bool, error) {
	q := l.join(ctx, caller{from, hash})
	select {
	case <-q.done:
		return q.good, q.err
	case <-ctx.Done():
		l.leave(q)
		return false, context.Cause(ctx)
	}
}

func (l *lane) join(ctx context.Context, c caller) *question {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asked[c]
	if q == nil {
		q = &question{caller: c, done: make(chan struct{})}
		l.asked[c] = q
		if len(l.waiting[c.from]) == 0 {
			l.order = append(l.order, c.from)
		}
		l.waiting[c.from] = append(l.waiting[c.from], q)
	}
	q.askers++
	if !l.working {
		l.working = true
		go l.work(context.WithoutCancel(ctx)) // ends when nobody waits
	}
	return q
}

// leave forgets a question that nobody asks any more; its place is skipped.
func (l *lane) leave(q *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.askers--; q.askers == 0 && l.asked[q.caller] == q {
		delete(l.asked, q.caller)
	}
}

// work takes turns until nobody waits.
func (l *lane) work(ctx context.Context) {
	for {
		time.Sleep(time.Until(l.last.Add(turnEvery)))
		l.last = time.Now()
		batch := l.next()
		if len(batch) > 0 {
			l.turn(ctx, batch)
		}
		l.mu.Lock()
		if len(l.order) == 0 {
			l.working = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// next takes the questions of a turn: one of each address, and again.
func (l *lane) next() (batch []*question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(batch) < turnMost && len(l.order) > 0 {
		from := l.order[0]
		q := l.waiting[from][0]
		l.order, l.waiting[from] = l.order[1:], l.waiting[from][1:]
		if len(l.waiting[from]) > 0 {
			l.order = append(l.order, from)
		} else {
			delete(l.waiting, from)
		}
		if q.askers > 0 {
			delete(l.asked, q.caller)
			batch = append(batch, q)
		}
	}
	return batch
}

// turn asks the store and answers.
func (l *lane) turn(ctx context.Context, batch []*question) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	hashes := make([][32]byte, len(batch))
	for i, q := range batch {
		hashes[i] = q.hash
	}
	found, err := l.ask(ctx, hashes)
	good := make(map[[32]byte]bool, len(found))
	for _, hash := range found {
		good[hash] = true
	}
	for _, q := range batch {
		q.good, q.err = good[q.hash], err
		close(q.done)
	}
}
