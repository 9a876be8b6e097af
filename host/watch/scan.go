package watch

import (
	"context"
	"errors"
	"time"

	"github.com/securetaghq/securetag/host"
)

// scan is what a topic knows of its scan.
type scan struct {
	last   *host.Scan         // as it was read last
	heard  bool               // an event came since
	ask    bool               // something came by which it may have ended
	closed bool               // it was said to have ended as a whole
	ends   map[host.JobID]int // job -> its attempt whose end was told
	final  time.Time          // since when the store says that it has ended; zero: it does not
	next   time.Time          // when to read it again
}

// note learns from an event.
func (s *scan) note(e host.Event) {
	s.heard = true
	switch e.Kind {
	case host.EventStarted, host.EventProgress, host.EventAccepted:
		return
	case host.EventEnded:
		s.ends[e.Job] = e.Attempt
	case host.EventChanged:
		s.closed = s.closed || e.ScanState != "" && e.ScanState.Final()
	case host.EventRetry:
	}
	s.ask = true
}

// told reports whether the end of each job was.
func (s *scan) told(row host.Scan) bool {
	for _, j := range row.Jobs {
		if n, ok := s.ends[j.ID]; !s.closed && (!ok || n != j.Attempt) {
			return false
		}
	}
	return true
}

// check reads the scan when that is due, tells the readers what events did not,
// and returns when to look again.
func (t *topic) check(ctx context.Context, here bool) time.Duration {
	s := &t.scan
	if now := time.Now(); !s.ask && now.Before(s.next) {
		return s.next.Sub(now)
	}
	s.ask = false
	row, err := t.hub.scan(ctx, t.tenant, t.feed.Scan)
	now := time.Now()
	switch {
	case errors.Is(err, host.ErrNotFound):
		t.finish(placed(KindRemoved, Ended))
	case err != nil:
		s.next = now.Add(t.hub.cfg.Retry)
	case row.State.Final():
		if s.final.IsZero() {
			s.final = now
		}
		s.next = s.final.Add(t.hub.cfg.Settle)
		if s.told(row) || !now.Before(s.next) {
			t.finish(ended(row))
		}
	default:
		t.goesOn(ctx, row, here)
		s.next = now.Add(t.hub.cfg.Check)
		if !here {
			s.next = now.Add(t.hub.cfg.Retry)
		}
	}
	return max(time.Until(s.next), time.Millisecond)
}

// goesOn compares a scan that has not ended with what the readers know.
func (t *topic) goesOn(ctx context.Context, row host.Scan, here bool) {
	s := &t.scan
	if s.last != nil && !s.heard && !same(*s.last, row) {
		t.mu.Lock()
		t.tell(snapshot(row))
		t.mu.Unlock()
	}
	s.last, s.heard, s.final = &row, false, time.Time{}
	for _, j := range row.Jobs {
		if j.State.Final() {
			s.ends[j.ID] = j.Attempt
		}
	}
	if here {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_ = t.hub.events.Keep(ctx, []host.ScanID{row.ID}) // else they may go, and readers begin anew
	}
}

// same reports whether nothing that people see is different.
func same(a, b host.Scan) bool {
	if a.State != b.State || !a.CancelRequestedAt.Equal(b.CancelRequestedAt) || len(a.Jobs) != len(b.Jobs) {
		return false
	}
	for i, j := range a.Jobs {
		if o := b.Jobs[i]; j.State != o.State || j.Attempt != o.Attempt || j.Progress != o.Progress {
			return false
		}
	}
	return true
}

// finish tells the readers the last there is.
func (t *topic) finish(last *Item) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(last)
	t.endAll(nil)
	t.hub.forget(t)
}

// Bounds of what is read of a tenant's scans.
const (
	shownScans = 100 // of each state, in a snapshot
	stateReads = 50  // scans whose state is looked up for events that come together
)

// snapshot reads what the readers watch.
func (t *topic) snapshot(ctx context.Context) (*Item, error) {
	if t.feed.Scan != "" {
		s, err := t.hub.scan(ctx, t.tenant, t.feed.Scan)
		if err != nil {
			return nil, err
		}
		return snapshot(s), nil
	}
	shot := &Item{Kind: KindSnapshot}
	err := t.hub.inTurn(ctx, func(ctx context.Context) error {
		for _, state := range []host.State{host.StateRunning, host.StateQueued} {
			scans, err := t.hub.store.Scans(ctx, t.tenant, host.ScanQuery{State: state, Limit: shownScans + 1})
			if err != nil {
				return err
			}
			if len(scans) > shownScans {
				scans, shot.More = scans[:shownScans], true
			}
			shot.Scans = append(shot.Scans, scans...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return shot, nil
}

// addStates adds how the scans stand to events by which they may have ended,
// unless there are very many: whoever wants to know then asks.
func (t *topic) addStates(ctx context.Context, events []host.Event) {
	states := map[host.ScanID]host.State{}
	for i, e := range events {
		if e.Kind != host.EventEnded || e.ScanState != "" {
			continue
		}
		state, known := states[e.Scan]
		if !known && len(states) < stateReads {
			if s, err := t.hub.scan(ctx, t.tenant, e.Scan); err == nil {
				state = s.State
			}
			states[e.Scan] = state
		}
		events[i].ScanState = state
	}
}
