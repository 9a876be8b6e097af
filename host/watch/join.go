package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/securetaghq/securetag/host"
)

// Ask is what somebody wants to watch.
type Ask struct {
	Tenant host.TenantID
	Scan   host.ScanID // "": all of the tenant's
	// After is the id that the reader saw last, with Resume.
	Resume bool
	After  host.EventID
}

// Watch begins to watch. ErrNotFound when the tenant has no such scan, ErrEnded
// when the reader has seen its end, ErrTenantFull, ErrHostFull, ErrStopping; or
// what the store says. The caller closes the reader.
func (h *Hub) Watch(ctx context.Context, ask Ask) (*Reader, error) {
	if ask.Scan != "" {
		s, err := h.scan(ctx, ask.Tenant, ask.Scan)
		if err != nil {
			return nil, err
		}
		switch final := s.State.Final(); {
		case final && ask.Resume && ask.After == Ended:
			return nil, ErrEnded
		case final && !ask.Resume:
			return only(snapshot(s), ended(s)), nil
		}
	}
	if err := h.admit(ask.Tenant); err != nil {
		return nil, err
	}
	for range 3 { // each time it meets the very end of a topic
		r, err := h.join(ctx, ask)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			h.dismiss(ask.Tenant)
		}
		return r, err
	}
	h.dismiss(ask.Tenant)
	return nil, fmt.Errorf("watch: %w: %w", errAgain, host.ErrUnavailable)
}

func (h *Hub) join(ctx context.Context, ask Ask) (*Reader, error) {
	feed := host.Feed{Scan: ask.Scan}
	if ask.Scan == "" {
		feed.Tenant = ask.Tenant
	}
	t, err := h.enter(ctx, ask.Tenant, feed)
	if err != nil {
		return nil, err
	}
	r := &Reader{items: make(chan *Item, h.cfg.Buffer)}
	r.close = func() {
		t.remove(r)
		h.leave(t)
		h.dismiss(ask.Tenant)
	}
	if err := t.admit(ctx, r, ask); err != nil {
		h.leave(t)
		return nil, err
	}
	return r, nil
}

func snapshot(s host.Scan) *Item { return &Item{Kind: KindSnapshot, Scan: s} }

func ended(s host.Scan) *Item {
	i := placed(KindEnded, Ended)
	i.Scan = s
	return i
}

// admit lets a reader in, at its place or at a new one.
func (t *topic) admit(ctx context.Context, r *Reader, ask Ask) error {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return fmt.Errorf("begin to watch: %w", context.Cause(ctx))
	}
	var first []*Item
	if ask.Resume {
		in, lost, err := t.resume(ctx, r, ask.After)
		if in || err != nil {
			return err
		}
		if lost {
			first = []*Item{{Kind: KindReset}}
		}
	}
	return t.begin(ctx, r, first)
}

// begin lets a reader in that has seen nothing, with a snapshot behind first.
func (t *topic) begin(ctx context.Context, r *Reader, first []*Item) error {
	for try := 0; ; try++ {
		t.mu.Lock()
		at, here := t.ring.end(), t.state == following
		t.mu.Unlock()
		shot, err := t.snapshot(ctx) // after at: what it lacks is behind it
		if err != nil {
			return err
		}
		t.mu.Lock()
		behind, ok := t.ring.since(at)
		switch {
		case t.over:
			t.mu.Unlock()
			return t.why()
		case here && !ok && try < beginTries: // a reset, or very many events
			t.mu.Unlock()
			continue
		case here && ok:
			shot.ID, shot.Placed = at, true
			r.First, r.placed = slices.Concat(first, []*Item{shot}, behind), true
		default:
			if !here {
				first = append(first, &Item{Kind: KindAway})
			}
			r.First = append(first, shot)
			t.attend() // run finds it a place
		}
		t.readers[r] = struct{}{}
		t.mu.Unlock()
		return nil
	}
}

// beginTries bounds how often begin reads a snapshot; run, behind which nothing
// happens, then does.
const beginTries = 5

// resumeTries bounds how often resume waits for the topic to come to where the
// reader is.
const resumeTries = 20

// resume lets a reader in behind the id that it saw last. It is lost when what
// came since is not kept; not in and not lost while nobody can tell.
func (t *topic) resume(ctx context.Context, r *Reader, after host.EventID) (in, lost bool, err error) {
	for range resumeTries {
		t.mu.Lock()
		if t.over {
			t.mu.Unlock()
			return false, false, t.why()
		}
		if t.state != following {
			t.mu.Unlock()
			return false, false, nil
		}
		if behind, ok := t.ring.since(after); ok {
			t.seat(r, behind)
			t.mu.Unlock()
			return true, false, nil
		}
		t.mu.Unlock()
		events, err := t.hub.events.Read(ctx, t.feed, after, host.MaxEvents, 0)
		switch {
		case gone(err):
			return false, true, nil
		case ctx.Err() != nil:
			return false, false, fmt.Errorf("resume watching: %w", context.Cause(ctx))
		case err != nil:
			t.lose()
			return false, false, nil
		}
		if t.feed.Scan == "" {
			t.addStates(ctx, events)
		}
		if t.seatBehind(r, after, events) {
			return true, false, nil
		}
		// The topic has come further meanwhile, or not yet as far as another
		// host had when it told the reader.
		pause(ctx, t.hub.cfg.Pace)
	}
	return false, true, nil
}

// seatBehind lets a reader in that is to get events, which came after its
// place, up to where the topic is; the rest comes as to all others.
func (t *topic) seatBehind(r *Reader, after host.EventID, events []host.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.ring.end()
	i := slices.IndexFunc(events, func(e host.Event) bool { return e.ID == at })
	if i < 0 || t.over || t.state != following {
		return false
	}
	items := make([]*Item, i+1)
	for n, e := range events[:i+1] {
		items[n] = itemOf(e)
	}
	t.ring.widen(after, items)
	t.seat(r, items)
	return true
}

// seat lets a reader in; mu is held.
func (t *topic) seat(r *Reader, first []*Item) {
	r.First, r.placed = first, true
	t.readers[r] = struct{}{}
}

// why is what somebody hears who comes when it is over.
func (t *topic) why() error {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	if t.hub.stopping {
		return ErrStopping
	}
	return errAgain
}
