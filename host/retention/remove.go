package retention

import (
	"context"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/turns"
)

// Deleted says that a tenant has deleted scans: the next turn for those begins
// now. It does not block. Without it, and on the other hosts, the turns come as
// they do.
func (s *Sweeper) Deleted() {
	select {
	case s.deleted <- struct{}{}:
	default: // one is waiting, and will see this too
	}
}

// remove removes scans that their tenants deleted, turn by turn. How far each
// deletion is say the rows that are left, so any host goes on where another one
// stopped.
func (s *Sweeper) remove(ctx context.Context) {
	trouble := turns.Trouble{Log: s.log, What: "remove all scans that were deleted"}
	for s.asked(ctx) {
		var done host.Swept
		err := s.drop(ctx, s.store.DropDeleted, &done, &done.Scans)
		if ctx.Err() != nil && err != nil {
			err = nil // cut short, and done next time
		}
		done.Task, done.Failed = host.SweepDeletions, err != nil
		s.config().Meter.Swept(done)
		trouble.Report(err)
		if done.Scans > 0 {
			s.log.Info("removed deleted scans", "scans", done.Scans, "findings", done.Findings, "blobs", done.Blobs, "bytes", done.Bytes)
		}
	}
}

// asked waits for the next turn, or until it is asked for one, and says whether
// ctx let it.
func (s *Sweeper) asked(ctx context.Context) bool {
	next, stop := context.WithTimeout(ctx, turns.Jitter(s.config().Every))
	defer stop()
	select {
	case <-next.Done():
	case <-s.deleted:
	}
	return ctx.Err() == nil
}
