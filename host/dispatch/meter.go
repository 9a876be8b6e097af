package dispatch

import (
	"time"

	"github.com/securetaghq/securetag/host"
)

// meter tells the meter that a claimed job starts, and gives what tells it that
// the attempt is over, with what has been stored by then.
func (d *Dispatcher) meter(c host.Claim, began time.Time, stored *host.Outcome) func() {
	d.cfg.Meter.JobStarted(c.Job.Plugin, waited(c))
	return func() {
		e := host.JobEnd{State: stored.State, Ran: time.Since(began)}
		if stored.Error != nil {
			e.Code = stored.Error.Code
		}
		d.cfg.Meter.JobEnded(c.Job.Plugin, e)
	}
}

// waited is how long a job was ready before its claim, by the store's clock:
// the claim's time is the deadline's less what remained then.
func waited(c host.Claim) time.Duration {
	return c.Job.DeadlineAt.Add(-c.Remaining).Sub(c.Job.RunAt)
}
