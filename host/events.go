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
	Kind EventKind

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

// Events carries events from the hosts that run jobs to those that serve
// clients. It keeps the newest of each scan for a while and may lose any: the
// store knows the truth. All methods are safe for concurrent use and return an
// error that wraps ErrUnavailable while the server does not answer.
//
// A reader asks for End, then reads the scan from the store, then reads from
// that place on: what happened in between comes twice, and nothing is missed.
type Events interface {
	// Publish adds events, of any scans, in one round trip. On an error any of
	// them may have been added. ErrInvalid for more than MaxEvents.
	Publish(ctx context.Context, events []Event) error
	// End is the place behind the newest event of a scan; "" when there is none.
	End(ctx context.Context, scan ScanID) (EventID, error)
	// Read returns what comes behind a place, oldest first and at most max, and
	// waits up to wait for the first; none and nil when none came. Each event
	// between two calls is returned once, and none is left out. ErrEventsGone
	// when that cannot be said, because what was there is no longer kept:
	// begin again with End and the store. It may take a moment to notice that
	// ctx ended (see the adapter's Config).
	Read(ctx context.Context, scan ScanID, after EventID, max int, wait time.Duration) ([]Event, error)
}
