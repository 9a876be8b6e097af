package watch

import (
	"context"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

// state is how a topic stands to the server of events.
type state int

const (
	searching state = iota // it has no place in the feed: at first, and after a hole
	following              // the hub follows its feed
	away                   // it has a place, and the server does not answer
)

// topic is a feed that somebody watches. Its goroutine alone reads the store and
// hands out; the hub only leaves what it heard.
type topic struct {
	hub    *Hub
	tenant host.TenantID
	feed   host.Feed
	cancel context.CancelFunc // ends run
	kick   chan struct{}      // run has something to do
	ready  chan struct{}      // closed when it was tried to find a place
	once   sync.Once          // closes it
	refs   int                // readers, and those that join; guarded by the hub's mu

	mu      sync.Mutex
	state   state
	over    bool // no reader gets anything any more
	readers map[*Reader]struct{}
	at      host.EventID // up to where it was followed
	inbox   []host.Event // followed and not handed out
	ring    ring         // handed out; its end is where the readers are

	told    bool      // the readers know that events are away; of run alone
	retryAt time.Time // when to look for them again; of run alone
	scan    scan      // of run alone
}

// maxInbox bounds what waits to be handed out; more is a hole.
const maxInbox = 4 * host.MaxEvents

func newTopic(h *Hub, tenant host.TenantID, feed host.Feed, cancel context.CancelFunc) *topic {
	return &topic{
		hub: h, tenant: tenant, feed: feed, cancel: cancel, kick: make(chan struct{}, 1), ready: make(chan struct{}),
		readers: map[*Reader]struct{}{}, scan: scan{ends: map[host.JobID]int{}},
	}
}

// attend makes run look at once. It never blocks.
func (t *topic) attend() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// follows is where the hub is to follow the feed.
func (t *topic) follows() (host.Place, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return host.Place{Feed: t.feed, After: t.at}, t.state == following && !t.over
}

// take takes what the hub heard. What does not go on from here is of before a
// reset, or was read by run meanwhile.
func (t *topic) take(n host.News) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == following && n.Place.After == t.at {
		t.accept(n.Events, n.Gone)
	}
}

// accept is take of what goes on from here; mu is held.
func (t *topic) accept(events []host.Event, gone bool) {
	if n := len(events); n > 0 {
		t.inbox, t.at = append(t.inbox, events...), events[n-1].ID
	}
	if gone || len(t.inbox) > maxInbox {
		t.state = searching
	}
	t.attend()
}

// lose says that the server does not answer.
func (t *topic) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == following {
		t.state = away
	}
	t.attend()
}

func (t *topic) remove(r *Reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers, r)
}

// stop ends all readers because the host stops.
func (t *topic) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endAll(ErrStopping)
	t.cancel()
}

// endAll ends all readers; mu is held.
func (t *topic) endAll(err error) {
	t.over = true
	for r := range t.readers {
		r.end(err)
	}
	clear(t.readers)
}

// tell gives an item to all readers that are to have it; mu is held.
func (t *topic) tell(item *Item) {
	for r := range t.readers {
		if item.Kind != KindEvent || r.placed {
			t.give(r, item)
		}
	}
}

// give drops a reader that has no room for its item; mu is held.
func (t *topic) give(r *Reader, item *Item) bool {
	select {
	case r.items <- item:
		return true
	default:
		r.end(ErrSlow)
		delete(t.readers, r)
		return false
	}
}

// run does what there is to do until ctx ends.
func (t *topic) run(ctx context.Context) {
	defer t.arrived()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.kick:
		case <-timer.C:
		}
		timer.Reset(t.step(ctx))
	}
}

func (t *topic) arrived() { t.once.Do(func() { close(t.ready) }) }

// step does what is due and returns when to look again.
func (t *topic) step(ctx context.Context) time.Duration {
	t.handOut(ctx)
	here := t.find(ctx)
	t.arrived()
	if here {
		here = t.seatAll(ctx)
	}
	next := t.hub.cfg.Check
	if !here {
		next = max(time.Until(t.retryAt), time.Millisecond)
	}
	if t.feed.Scan != "" {
		next = min(next, t.check(ctx, here))
	}
	return next
}

// handOut gives the readers what was followed.
func (t *topic) handOut(ctx context.Context) {
	t.mu.Lock()
	events := t.inbox
	t.inbox = nil
	t.mu.Unlock()
	if len(events) == 0 {
		return
	}
	if t.feed.Scan == "" {
		t.addStates(ctx, events)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		item := itemOf(e)
		t.ring.add(item)
		t.tell(item)
		t.scan.note(e)
	}
}

// find makes sure that the feed is followed, and reports whether it is.
func (t *topic) find(ctx context.Context) bool {
	t.mu.Lock()
	now, at := t.state, t.at
	t.mu.Unlock()
	if now == following {
		t.told = false
		return true
	}
	if time.Now().Before(t.retryAt) {
		return false
	}
	var ok bool
	// Of a tenant's scans nobody reads all from the store to find out what the
	// publishers dropped while the server was away.
	if now == away && t.feed.Scan != "" {
		ok = t.comeBack(ctx, at)
	} else {
		ok = t.begins(ctx)
	}
	if !ok {
		t.retryAt = time.Now().Add(t.hub.cfg.Retry)
		t.sayAway()
		return false
	}
	t.hub.wake(ctx)
	t.handOut(ctx)
	return true
}

// comeBack goes on where it was when the server went away, or anew.
func (t *topic) comeBack(ctx context.Context, at host.EventID) bool {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	events, err := t.hub.events.Read(limited, t.feed, at, host.MaxEvents, 0)
	if gone(err) {
		return t.begins(ctx)
	}
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = following
	t.accept(events, false)
	t.scan.next = time.Time{} // what was lost meanwhile is in the store
	return true
}

// begins takes the end of the feed for the place. All readers need a new one.
func (t *topic) begins(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id, err := t.hub.events.End(ctx, t.feed)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.at, t.inbox, t.ring = following, id, nil, ring{base: id}
	for r := range t.readers {
		r.placed = false
	}
	t.scan.next = time.Time{}
	return true
}

// sayAway tells the readers once that events are away.
func (t *topic) sayAway() {
	if t.told {
		return
	}
	t.told = true
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(&Item{Kind: KindAway})
}

// seatAll gives readers that have no place one, with a snapshot, and reports
// whether all have one.
func (t *topic) seatAll(ctx context.Context) bool {
	t.mu.Lock()
	var standing []*Reader
	for r := range t.readers {
		if !r.placed {
			standing = append(standing, r)
		}
	}
	at := t.ring.end()
	t.mu.Unlock()
	if len(standing) == 0 {
		return true
	}
	shot, err := t.snapshot(ctx)
	if err != nil {
		t.retryAt = time.Now().Add(t.hub.cfg.Retry)
		return false
	}
	shot.ID, shot.Placed = at, true
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range standing {
		if _, here := t.readers[r]; here && t.give(r, &Item{Kind: KindReset}) && t.give(r, shot) {
			r.placed = true
		}
	}
	return true
}
