package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// deriveScans takes scan ids as JSON and the time. It is host.DeriveState in
// SQL, and the sums. Scans that would not change are not written. Those that end
// lose their secrets.
const deriveScans = `
update scans set state = d.state,
    finished_at = case when d.state in ('queued', 'running') then null else coalesce(scans.finished_at, ?2) end,
    secrets = case when d.state in ('queued', 'running') then scans.secrets end,
    critical = d.critical, high = d.high, medium = d.medium, low = d.low, info = d.info, unknown = d.unknown
from (
    select scan_id, case
            when min(state = 'queued') then 'queued'
            when max(state in ('queued', 'running')) then 'running'
            when max(state = 'canceled') then 'canceled'
            when min(state = 'succeeded') then 'succeeded'
            when min(state = 'timed_out') then 'timed_out'
            when min(state not in ('succeeded', 'partial')) then 'failed'
            else 'partial'
        end as state,
        sum(critical) as critical, sum(high) as high, sum(medium) as medium,
        sum(low) as low, sum(info) as info, sum(unknown) as unknown
    from jobs where scan_id in (select value from json_each(?1)) group by scan_id
) d
where scans.id = d.scan_id
  and (scans.state, scans.critical, scans.high, scans.medium, scans.low, scans.info, scans.unknown)
      <> (d.state, d.critical, d.high, d.medium, d.low, d.info, d.unknown)
returning scans.id, scans.finished_at is not null`

// derive brings scans up to date with their jobs, and tells the webhooks of their
// tenants of those that end with it.
func (tx tx) derive(ctx context.Context, scans []host.ScanID) error {
	var ended []host.ScanID
	err := rows(ctx, tx, func(r *sql.Rows) error {
		var id host.ScanID
		var final bool
		err := r.Scan(&id, &final)
		if final {
			ended = append(ended, id)
		}
		return err
	}, deriveScans, list(scans), tx.now)
	if err != nil || len(ended) == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, tellWebhooks, list(ended), tx.now)
	return err
}

// change is what an attempt's end makes of its job.
type change struct {
	state    host.State
	reason   host.ErrorCode // of Taken; nothing is stored of it
	err      *string        // stored as it is; nil clears
	keepErr  bool           // unless err is given
	progress string         // "" keeps the last
	delay    int64          // until a retry
	crashed  bool
	release  bool
	dead     bool // a dead letter, if it fails
	remarks  *string
}

// endAttempt takes the lease off a job that is running and gives it its next
// state, with its counts, and drops the findings that are no result.
func (tx tx) endAttempt(ctx context.Context, j leased, c change) error {
	var result, finished *int64
	runAt := tx.now + c.delay
	if c.state.Final() {
		finished, runAt = &tx.now, 0
	}
	if record.Delivers(c.state) {
		result = &j.epoch
	}
	var dead *int64
	if c.dead && c.state == host.StateFailed {
		dead = &tx.now
	}
	if !record.Delivers(c.state) {
		if err := tx.noteAttempt(ctx, j, c); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
update jobs set state = ?2, attempt = attempt - ?3, crashes = crashes + ?4,
    -- A job whose first attempt is given back has not begun: the time in which
    -- no host is there to run it is not its own.
    started_at = case when ?3 and ?2 = 'queued' and attempt = 1 then null else started_at end,
    deadline_at = case when ?3 and ?2 = 'queued' and attempt = 1 then null else deadline_at end,
    error = case when ?5 then coalesce(?6, error) else ?6 end,
    progress = coalesce(nullif(?7, ''), progress),
    lease_id = null, lease_owner = null, lease_expires_at = null, dispatched_at = null,
    run_at = case when ?8 = 0 then run_at else ?8 end, finished_at = ?9, result_epoch = ?10,
    dead_at = ?11, remarks = ?12
where id = ?1`,
		string(j.id), string(c.state), c.release, c.crashed, c.keepErr, c.err, c.progress, runAt, finished, result, dead, c.remarks)
	if err != nil {
		return err
	}
	// A result of the first epoch has no findings of others beside it.
	if result == nil || *result != 1 {
		_, err := tx.ExecContext(ctx, `delete from findings where scan_id = ? and job_id = ? and lease_epoch is not ?`,
			string(j.scan), string(j.id), result)
		if err != nil {
			return err
		}
	}
	if result == nil {
		return nil
	}
	_, err = tx.ExecContext(ctx, `
update jobs set critical = c.critical, high = c.high, medium = c.medium, low = c.low, info = c.info, unknown = c.unknown
from (select count(*) filter (where severity = 0) as critical, count(*) filter (where severity = 1) as high,
             count(*) filter (where severity = 2) as medium, count(*) filter (where severity = 3) as low,
             count(*) filter (where severity = 4) as info, count(*) filter (where severity = 5) as unknown
      from findings where scan_id = ?2 and job_id = ?1 and lease_epoch = ?3) c
where jobs.id = ?1`, string(j.id), string(j.scan), *result)
	return err
}

// noteAttempt keeps the attempt that j is in, which delivers nothing, and drops
// what is over host.MaxHistory. A job that waits is in none.
func (tx tx) noteAttempt(ctx context.Context, j leased, c change) error {
	_, err := tx.ExecContext(ctx, `
insert into attempts (scan_id, tenant_id, job_id, lease_epoch, attempt, owner, started_at, ended_at, state, crashed, released, error)
select scan_id, tenant_id, id, lease_epoch, attempt, lease_owner, coalesce(claimed_at, started_at), ?2, ?3, ?4, ?5, ?6
from jobs where id = ?1 and lease_id is not null`,
		string(j.id), tx.now, string(c.state), c.crashed, c.release, c.err)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `delete from attempts where scan_id = ? and job_id = ? and lease_epoch <= ?`,
		string(j.scan), string(j.id), j.epoch-host.MaxHistory)
	return err
}

// Finish implements host.JobStore. An outcome that comes twice counts once;
// the second is lost. Findings of an attempt that delivers nothing are dropped.
func (s *Store) Finish(ctx context.Context, outcomes []host.Outcome) (lost []host.Lease, err error) {
	op := fmt.Sprintf("finish %d jobs", len(outcomes))
	if err := record.CheckOutcomes(outcomes); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if len(outcomes) == 0 {
		return nil, nil
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		lost = nil
		var scans []host.ScanID
		for _, o := range outcomes {
			j, err := tx.leased(ctx, o.Lease)
			if errors.Is(err, host.ErrLeaseLost) {
				lost = append(lost, o.Lease)
				continue
			}
			if err == nil {
				err = tx.finish(ctx, j, o)
			}
			if err != nil {
				return err
			}
			scans = append(scans, j.scan)
		}
		return tx.derive(ctx, scans)
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// finish ends one attempt. A retry becomes canceled when that was asked for,
// and failed when nothing is left to try: the dispatcher decides the same, and
// here it cannot be wrong.
func (tx tx) finish(ctx context.Context, j leased, o host.Outcome) error {
	c := change{state: o.State, err: record.JobError(o.Error), crashed: o.Crashed, delay: max(0, record.Micros(o.RetryAfter)), remarks: record.Remarks(o)}
	c.release = o.State == host.StateQueued && o.Release
	c.dead = o.Dead || o.State == host.StateQueued
	c.keepErr = c.release
	if o.Progress != (host.Progress{}) {
		c.progress = record.Progress(o.Progress)
	}
	crashes := j.crashes
	if o.Crashed {
		crashes++
	}
	switch {
	case o.State != host.StateQueued:
	case j.cancel:
		c.state = host.StateCanceled
	case !o.Release && (j.attempt >= j.attempts || crashes >= host.CrashLimit):
		c.state = host.StateFailed
	}
	if record.Delivers(c.state) {
		if err := tx.addFindings(ctx, j, o.Findings); err != nil {
			return err
		}
		if err := tx.addArtifacts(ctx, j, o.Artifacts); err != nil {
			return err
		}
	}
	return tx.endAttempt(ctx, j, c)
}
