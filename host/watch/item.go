package watch

import (
	"sync"

	"github.com/securetaghq/securetag/host"
)

// Kind says what an item is; see the package comment.
type Kind int

const (
	KindSnapshot Kind = iota
	KindEvent
	KindAway
	KindReset
	KindEnded
	KindRemoved
)

// Ended is the id of the last item of every scan: whoever has seen it has seen
// all.
const Ended host.EventID = "end"

// Item is one thing that readers get. Many readers share it: do not change it.
type Item struct {
	Kind Kind
	// ID is where a reader is that has seen the item, when Placed: the others
	// leave it where it was.
	ID     host.EventID
	Placed bool

	Event host.Event // of an event

	// Of a snapshot: the scan, or of a tenant those that have not ended, newest
	// first and running ones before queued ones. More says that there are others.
	// Ended has the scan too.
	Scan  host.Scan
	Scans []host.Scan
	More  bool

	once  sync.Once
	bytes []byte
}

// Bytes is the item as render writes it, which is called once however many
// readers want it. Give the same function every time.
func (i *Item) Bytes(render func(*Item) []byte) []byte {
	i.once.Do(func() { i.bytes = render(i) })
	return i.bytes
}

func placed(kind Kind, id host.EventID) *Item { return &Item{Kind: kind, ID: id, Placed: true} }

func itemOf(e host.Event) *Item {
	i := placed(KindEvent, e.ID)
	i.Event = e
	return i
}
