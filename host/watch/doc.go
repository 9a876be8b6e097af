// Package watch lets any number of clients of this host look on while scans go
// on, for the price of one.
//
// Who holds the truth: the store. Events are hints that may be lost, and nobody
// here ever says that a scan ended before the store does.
//
// A [Hub] has a topic for each feed that somebody watches: one scan, or all of
// a tenant's. One goroutine of the hub follows the feeds of all topics over one
// connection. Each topic has a goroutine that hands events to its readers and
// reads the scan from the store: after each event by which it may have ended,
// every Config.Check in case an event was lost, and every Config.Retry while
// events are away. So 500 readers of a scan cost the server of events and the
// store as much as one, but for a look when each begins.
//
// What a reader gets:
//
//	snapshot   first, and after a reset: the scan as the store has it. With an
//	           id it is a place in the feed; without, while events are away or
//	           when one was lost, it is only news.
//	event      each event of the feed behind the reader's place once and in
//	           order, with the id that it has on every host.
//	away       events are not to be had; snapshots come instead, of a scan.
//	reset      what was behind the reader's place is no longer kept. A snapshot
//	           with an id follows.
//	ended      the last: the scan has ended and this is what it came to. Removed
//	           is the same of a scan that is there no more.
//
// A reader that goes to another host resumes behind the id that it saw last:
// the ids are the server's of events, so no host needs to know of another.
//
// The end is told when the store says so and the event of each job's end was
// seen, or Config.Settle later: hosts publish an end a moment after they stored
// it.
//
// Slow readers are dropped: each has a bounded buffer, and one that is full ends
// the reader with [ErrSlow], from where it can resume. Nothing here waits for a
// reader.
//
// What a crash leaves behind: nothing.
package watch
