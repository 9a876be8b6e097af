package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// leased is what a writer needs to know of a job that it holds.
type leased struct {
	id                         host.JobID
	scan                       host.ScanID
	tenant                     host.TenantID
	plugin                     string
	epoch                      int64
	attempt, attempts, crashes int
	deadline                   int64
	cancel                     bool
}

const leasedColumns = `j.id, j.scan_id, j.tenant_id, j.plugin, j.lease_epoch, j.attempt, j.max_attempts, j.crashes,
	coalesce(j.deadline_at, 0), s.cancel_requested_at is not null`

func (l *leased) dest() []any {
	return []any{&l.id, &l.scan, &l.tenant, &l.plugin, &l.epoch, &l.attempt, &l.attempts, &l.crashes, &l.deadline, &l.cancel}
}

// leased finds the job of a lease; ErrLeaseLost when the lease is gone.
func (tx tx) leased(ctx context.Context, l host.Lease) (j leased, err error) {
	err = tx.QueryRowContext(ctx, `select `+leasedColumns+` from jobs j join scans s on s.id = j.scan_id
		where j.id = ? and j.lease_epoch = ? and j.lease_id = ?`, string(l.Job), l.Epoch, l.ID).Scan(j.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		err = host.ErrLeaseLost
	}
	return j, err
}

// pick lists jobs by a condition on j (jobs) and s (scans).
func (tx tx) pick(ctx context.Context, where string, args ...any) (all []leased, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var j leased
		err := r.Scan(j.dest()...)
		all = append(all, j)
		return err
	}, `select `+leasedColumns+` from jobs j join scans s on s.id = j.scan_id where `+where, args...)
	return all, err
}

// Claim implements host.JobStore.
func (s *Store) Claim(ctx context.Context, owner string, jobs []host.JobID, ttl time.Duration) (out []host.Claim, err error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	err = s.write(ctx, fmt.Sprintf("claim %d jobs", len(jobs)), func(ctx context.Context, tx tx) (err error) {
		out, err = tx.claim(ctx, owner, jobs, ttl)
		return err
	})
	return out, err
}

func (tx tx) claim(ctx context.Context, owner string, jobs []host.JobID, ttl time.Duration) ([]host.Claim, error) {
	var taken []host.JobID
	for _, id := range jobs {
		r, err := tx.ExecContext(ctx, claim, tx.now, tx.now+record.Micros(ttl), uuid.NewString(), record.Clean(owner), string(id))
		if err != nil {
			return nil, err
		}
		if n, err := r.RowsAffected(); err != nil {
			return nil, err
		} else if n == 1 {
			taken = append(taken, id)
		}
	}
	if len(taken) == 0 {
		return nil, nil
	}
	err := tx.leaveQueue(ctx, "start", `id in (select scan_id from jobs where id in (select value from json_each(?)))`, list(taken))
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `update scans set state = 'running', started_at = coalesce(started_at, ?1)
		where id in (select scan_id from jobs where id in (select value from json_each(?2)))
		  and (state <> 'running' or started_at is null)`, tx.now, list(taken))
	if err != nil {
		return nil, err
	}
	return tx.claims(ctx, taken)
}

// claim takes the time, the lease's end, its id, its owner and a job.
const claim = `
update jobs set state = 'running', attempt = attempt + 1, progress = '{}',
    lease_epoch = lease_epoch + 1, lease_id = ?3, lease_owner = ?4, lease_expires_at = ?2, dispatched_at = null,
    started_at = coalesce(started_at, ?1), claimed_at = ?1, deadline_at = coalesce(deadline_at, ?1 + timeout_us)
where id = ?5 and state = 'queued' and dispatched_at is not null and run_at <= ?1 and (deadline_at is null or deadline_at > ?1) and ` + unpaused

func (tx tx) claims(ctx context.Context, taken []host.JobID) (out []host.Claim, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var c host.Claim
		var j record.Job
		var s record.Scan
		var data, secrets []byte
		dest := append(j.Dest(at), &c.Lease.Epoch, &c.Lease.ID, &data, &secrets)
		if err := r.Scan(append(dest, s.Dest(at)...)...); err != nil {
			return err
		}
		var jerr, serr error
		c.Job, jerr = j.Value()
		c.Scan, serr = s.Value()
		c.Scan.Counts, c.Scan.Secrets, c.Lease.Job = host.Counts{}, secrets, c.Job.ID
		if a := c.Scan.Input.Archive; a != nil {
			a.Data = data
		}
		c.Remaining = c.Job.DeadlineAt.Sub(time.UnixMicro(tx.now))
		out = append(out, c)
		return errors.Join(jerr, serr)
	}, `select `+record.JobColumns+`, j.lease_epoch, j.lease_id, a.data, s.secrets, `+record.ScanColumns+`
		from jobs j join scans s on s.id = j.scan_id left join archives a on a.scan_id = s.id
		where j.id in (select value from json_each(?)) order by j.id`, list(taken))
	return out, err
}

// Heartbeat implements host.JobStore.
func (s *Store) Heartbeat(ctx context.Context, beats []host.Beat, ttl time.Duration) (pulses []host.Pulse, err error) {
	if len(beats) == 0 {
		return nil, nil
	}
	err = s.write(ctx, fmt.Sprintf("renew %d leases", len(beats)), func(ctx context.Context, tx tx) error {
		pulses = nil
		seen := map[host.Lease]bool{}
		for _, b := range beats {
			if seen[b.Lease] {
				continue
			}
			seen[b.Lease] = true
			p := host.Pulse{Lease: b.Lease}
			err := tx.QueryRowContext(ctx, `update jobs set lease_expires_at = ?1, progress = ?2
				where id = ?3 and lease_epoch = ?4 and lease_id = ?5 and lease_expires_at > ?6
				returning (select cancel_requested_at is not null from scans where scans.id = jobs.scan_id)`,
				tx.now+record.Micros(ttl), record.Progress(b.Progress), string(b.Lease.Job), b.Lease.Epoch, b.Lease.ID, tx.now).
				Scan(&p.CancelRequested)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			pulses = append(pulses, p)
		}
		return nil
	})
	return pulses, err
}
