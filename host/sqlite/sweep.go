package sqlite

import (
	"context"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Expire implements host.JobStore. The host that ran a job counts as crashed:
// input that kills hosts must not go round for ever.
func (s *Store) Expire(ctx context.Context, limit int) (out []host.Taken, err error) {
	err = s.write(ctx, "take back expired leases", func(ctx context.Context, tx tx) error {
		jobs, err := tx.pick(ctx, `(j.state = 'running' or (j.state = 'queued' and j.dispatched_at is not null)) and j.lease_expires_at < ?
			order by j.lease_expires_at limit ?`, tx.now, max(limit, 0))
		if err != nil {
			return err
		}
		out, err = tx.endAll(ctx, jobs, func(j leased) change {
			c := change{state: host.StateQueued, crashed: true, dead: true}
			e := host.JobError{Code: host.CodeLeaseExpired, Attempt: j.attempt,
				Message: "the host that ran it stopped or was cut off"}
			switch {
			case j.cancel:
				return change{state: host.StateCanceled, crashed: true, keepErr: true}
			case j.deadline <= tx.now:
				c.state = host.StateTimedOut
				e.Code, e.Message = host.CodeTimedOut, "its time limit passed, and the host that ran it did not answer any more"
			case j.attempt >= j.attempts || j.crashes+1 >= host.CrashLimit:
				c.state = host.StateFailed
			}
			c.reason, c.err = e.Code, record.JobError(&e)
			return c
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ReleaseOwner implements host.JobStore. As with Expire, the input may be what
// killed the owner.
func (s *Store) ReleaseOwner(ctx context.Context, owner string) (out []host.Taken, err error) {
	err = s.write(ctx, fmt.Sprintf("give back the jobs of %q", owner), func(ctx context.Context, tx tx) error {
		jobs, err := tx.pick(ctx, `(j.state = 'running' or (j.state = 'queued' and j.dispatched_at is not null))
			and j.lease_owner = ? order by j.id`, record.Clean(owner))
		if err != nil {
			return err
		}
		out, err = tx.endAll(ctx, jobs, func(j leased) change {
			c := change{state: host.StateQueued, release: true, crashed: true, keepErr: true, dead: true}
			switch {
			case j.cancel:
				c.state = host.StateCanceled
			case j.crashes+1 >= host.CrashLimit:
				c.state, c.release = host.StateFailed, false
				c.reason, c.err = host.CodeLeaseExpired, record.JobError(&host.JobError{Code: host.CodeLeaseExpired, Attempt: j.attempt,
					Message: fmt.Sprintf("its host died each of the %d times that it ran", host.CrashLimit)})
			}
			return c
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// endAll ends the attempts of jobs and derives their scans.
func (tx tx) endAll(ctx context.Context, jobs []leased, to func(leased) change) ([]host.Taken, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	scans, out := make([]host.ScanID, len(jobs)), make([]host.Taken, len(jobs))
	for i, j := range jobs {
		c := to(j)
		if err := tx.endAttempt(ctx, j, c); err != nil {
			return nil, err
		}
		scans[i] = j.scan
		out[i] = host.Taken{Tenant: j.tenant, Scan: j.scan, Job: j.id, Plugin: j.plugin, Attempt: j.attempt, State: c.state, Code: c.reason}
	}
	return out, tx.derive(ctx, scans)
}

// overdueAtOnce bounds the overdue jobs that one transaction ends.
const overdueAtOnce = 500

// endOverdue ends queued jobs whose time limit passed while they waited to be
// tried again.
func (tx tx) endOverdue(ctx context.Context) ([]host.Taken, error) {
	jobs, err := tx.pick(ctx, `j.state = 'queued' and j.deadline_at <= ? order by j.deadline_at limit ?`, tx.now, overdueAtOnce)
	if err != nil {
		return nil, err
	}
	return tx.endAll(ctx, jobs, func(j leased) change {
		return change{state: host.StateTimedOut, reason: host.CodeTimedOut, err: record.JobError(&host.JobError{Code: host.CodeTimedOut, Attempt: j.attempt,
			Message: "its time limit passed while it waited to be tried again"})}
	})
}
