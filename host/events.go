package host

import (
	"context"
	"time"
)

// EventID is a place in the events of one scan: a reader that has seen this
// one goes on behind it. Opaque; "" is before the first.
type EventID string

// EventKind says what happened.
type EventKind string

const (
	EventAccepted EventKind = "accepted" // the scan was accepted; only its tenant's feed has it
	EventStarted  EventKind = "started"  // an attempt of the job began; its scan runs
	EventProgress EventKind = "progress" // the job goes on: Progress and Findings are news
	EventRetry    EventKind = "retry"    // the attempt ended without a result and the job waits for another; Code says why, "" when its host is stopping
	EventEnded    EventKind = "ended"    // the job came to State
	EventChanged  EventKind = "changed"  // something else: the store knows what
)

// Event is news of a scan, for whoever looks on. It is a hint: any event may be
// lost, and State is what the host asked the store for, which may have made
// something else of it (a retry of a scan that was canceled meanwhile). A
// reader that keeps a state reads the scan from the store after every event
// but progress.
type Event struct {
	ID   EventID   // given by Events; ignored when published
	At   time.Time // by the server's clock, for people; ignored when published
	Scan ScanID
	// Tenant is whose scan it is, and whose feed has the event too; "" when
	// published: no tenant's. Not given when it is read from a scan's feed.
	Tenant TenantID
	Kind   EventKind

	Job     JobID // "": news of the scan itself
	Plugin  string
	Attempt int
	State   State     // the job's; "" with EventChanged
	Code    ErrorCode // why it is that; "" when there is nothing to say
	// ScanState is the scan's where whoever published it knew it; "": read it
	// from the store.
	ScanState State
	Progress  Progress
	Findings  int // that the attempt has reported so far
}

// MaxEvents is how many events are published or read at once, at most.
const MaxEvents = 1000

// Feed is a line of events: those of one scan or, with Scan empty, those of all
// scans of a tenant, but for progress.
type Feed struct {
	Scan   ScanID
	Tenant TenantID // unused when Scan is given
}

// Place is where a reader of a feed is.
type Place struct {
	Feed  Feed
	After EventID
}

// News is what there is behind a place.
type News struct {
	Place  Place
	Events []Event // oldest first
	// Gone is ErrEventsGone: what was behind the place is no longer kept.
	Gone bool
}

// Events carries events from the hosts that run jobs to those that serve
// clients. It keeps the newest of each feed for a while and may lose any: the
// store knows the truth. All methods are safe for concurrent use and return an
// error that wraps ErrUnavailable while the server does not answer.
//
// A reader asks for End, then reads the scan from the store, then reads from
// that place on: what happened in between comes twice, and nothing is missed.
type Events interface {
	// Publish adds events, of any scans, in one round trip. On an error any of
	// them may have been added. ErrInvalid for more than MaxEvents.
	Publish(ctx context.Context, events []Event) error
	// End is the place behind the newest event of a feed; "" when there is none.
	End(ctx context.Context, feed Feed) (EventID, error)
	// Read returns what comes behind a place, oldest first and at most max, and
	// waits up to wait for the first; none and nil when none came. Each event
	// between two calls is returned once, and none is left out. ErrEventsGone
	// when that cannot be said, because what was there is no longer kept:
	// begin again with End and the store. It may take a moment to notice that
	// ctx ended (see the adapter's Config).
	Read(ctx context.Context, feed Feed, after EventID, max int, wait time.Duration) ([]Event, error)
	// Follow is Read for any number of feeds at once, over one connection: it
	// returns the feeds that have news, each once, or none when none came within
	// wait or Wake was called.
	Follow(ctx context.Context, places []Place, max int, wait time.Duration) ([]News, error)
	// Wake ends a Follow of this host that waits, or the next one, early.
	Wake(ctx context.Context) error
	// Keep keeps what there is of scans' feeds for as long as if the scans had
	// just had an event of those that go on. For scans that have not ended and
	// that somebody looks at: a job of theirs may have ended long ago.
	Keep(ctx context.Context, scans []ScanID) error
}
