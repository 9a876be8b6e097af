package record

import (
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// DeadColumns are those of jobs j with their scans s and tenants t that Dead
// takes.
const DeadColumns = JobColumns + `, s.type, t.name, s.archive, j.dead_at, s.cancel_requested_at is not null`

// Dead is a row of DeadColumns.
type Dead struct {
	job     Job
	dead    host.DeadLetter
	archive *string
}

// Dest is where to scan the row.
func (r *Dead) Dest(at AtFunc) []any {
	d := &r.dead
	return append(r.job.Dest(at), &d.ScanType, &d.Tenant, &r.archive, at(&d.DeadAt), &d.Canceled)
}

// Value is what was scanned, without history.
func (r *Dead) Value() (host.DeadLetter, error) {
	var a host.Archive
	job, err := r.job.Value()
	err = errors.Join(err, decode("archive", r.archive, &a))
	r.dead.Job, r.dead.Blob = job, a.Blob
	return r.dead, err
}

// AttemptColumns are those that Attempt takes.
const AttemptColumns = `attempt, lease_epoch, owner, started_at, ended_at, state, crashed, released, error`

// Attempt is a row of AttemptColumns.
type Attempt struct {
	attempt host.Attempt
	fault   *string
}

// Dest is where to scan the row.
func (r *Attempt) Dest(at AtFunc) []any {
	a := &r.attempt
	return []any{&a.Attempt, &a.Epoch, &a.Owner, at(&a.StartedAt), at(&a.EndedAt), &a.State, &a.Crashed, &a.Released, &r.fault}
}

// Value is what was scanned.
func (r *Attempt) Value() (host.Attempt, error) {
	if r.fault != nil {
		r.attempt.Error = &host.JobError{}
	}
	err := decode("error", r.fault, r.attempt.Error)
	return r.attempt, err
}

// Older is where a page of dead letters continues; the greatest place for no
// cursor.
func Older(c *host.DeadCursor) (host.DeadCursor, error) {
	if c == nil {
		// Beyond what both databases can be asked to store.
		return host.DeadCursor{DeadAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}, nil
	}
	if !IsID(c.ID) {
		return *c, fmt.Errorf("cursor %.64q is not a UUID: %w", string(c.ID), host.ErrInvalid)
	}
	return *c, nil
}

// Refusals gives, in the order asked and each once, the jobs that an operator
// cannot have: those of which found knows nothing are no dead letters.
func Refusals(asked []host.JobID, found map[host.JobID]host.RefusalReason) (out []host.Refusal) {
	seen := make(map[host.JobID]bool, len(asked))
	for _, id := range asked {
		if seen[id] {
			continue
		}
		seen[id] = true
		reason, ok := found[id]
		if !ok {
			reason = host.RefusedNotDead
		}
		if reason != "" {
			out = append(out, host.Refusal{Job: id, Reason: reason})
		}
	}
	return out
}
