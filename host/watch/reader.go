package watch

import (
	"errors"
	"slices"
	"sync"

	"github.com/securetaghq/securetag/host"
)

// Why a reader ended before its scan did, or could not begin.
var (
	// ErrSlow: it took its items too slowly. It can resume.
	ErrSlow = errors.New("reader is too slow")
	// ErrStopping: this host stops. It can resume at another.
	ErrStopping = errors.New("host is stopping")
	// ErrEnded: it has seen all there is.
	ErrEnded = errors.New("reader has seen the end")
	// ErrTenantFull: the tenant has as many readers on this host as it may.
	ErrTenantFull = errors.New("too many readers of the tenant")
	// ErrHostFull: this host has as many readers as it may.
	ErrHostFull = errors.New("too many readers")
)

// errAgain: the topic ended while somebody joined it.
var errAgain = errors.New("topic has ended")

// Reader is one client that looks on. It is for one goroutine.
type Reader struct {
	First []*Item // before those of Items

	items  chan *Item
	placed bool  // it has all events up to its topic's place; guarded by the topic's mu
	err    error // why items is closed; nil: the end was told
	close  func()
	once   sync.Once
}

// Items is what comes. When it is closed, Err says why. What was in it before
// is still to be read.
func (r *Reader) Items() <-chan *Item { return r.items }

// Err is why Items was closed: nil after the end, ErrSlow or ErrStopping.
func (r *Reader) Err() error { return r.err }

// Close makes room for another reader. Idempotent.
func (r *Reader) Close() { r.once.Do(r.close) }

// end closes it; its topic's mu is held.
func (r *Reader) end(err error) {
	r.err = err
	close(r.items)
}

// only is a reader of a scan that has ended.
func only(items ...*Item) *Reader {
	r := &Reader{First: items, items: make(chan *Item), close: func() {}}
	r.end(nil)
	return r
}

// ring is the events that were handed out last, oldest first, each directly
// behind the one before, and what is before the first.
type ring struct {
	base  host.EventID
	items []*Item
}

// ringSize bounds a ring: what is behind that is read from the server.
const ringSize = 128

// since gives what comes behind a place, when the ring has that.
func (g *ring) since(id host.EventID) ([]*Item, bool) {
	if id == g.base {
		return g.items, true
	}
	// Who resumes has seen most.
	for i, item := range slices.Backward(g.items) {
		if item.ID == id {
			return g.items[i+1:], true
		}
	}
	return nil, false
}

// add never changes what since gave.
func (g *ring) add(item *Item) {
	g.items = append(g.items, item)
	g.trim()
}

func (g *ring) trim() {
	if over := len(g.items) - ringSize; over > 0 {
		g.base = g.items[over-1].ID
		g.items = g.items[over:]
	}
}

// widen takes items that end where it ends and begin at an earlier base.
func (g *ring) widen(base host.EventID, items []*Item) {
	if len(items) > len(g.items) {
		copy(items[len(items)-len(g.items):], g.items) // what others share already
		g.base, g.items = base, items
		g.trim()
	}
}

// end is the place behind all.
func (g *ring) end() host.EventID {
	if n := len(g.items); n > 0 {
		return g.items[n-1].ID
	}
	return g.base
}
