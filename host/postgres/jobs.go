package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// lockScans takes job ids and locks their scans, by id. It stands before every
// statement that changes a job's state.
const lockScans = `
select 1 from scans where id = any(array(select scan_id from jobs where id = any($1::text[]::uuid[])))
order by id for no key update`

// setClaimed is what a claim makes of jobs j, with the owner and the lease's
// length in microseconds as $2 and $3. setStarted is what it makes of their scans.
const (
	setClaimed = `set state = 'running', attempt = j.attempt + 1, progress = '{}',
        lease_epoch = j.lease_epoch + 1, lease_id = gen_random_uuid(), lease_owner = $2,
        lease_expires_at = now() + $3 * interval '1 microsecond', dispatched_at = null,
        started_at = coalesce(j.started_at, now()), claimed_at = now(),
        deadline_at = coalesce(j.deadline_at, now() + j.timeout_us * interval '1 microsecond')`
	setStarted = `set state = 'running', started_at = coalesce(s.started_at, now())
    where (s.state <> 'running' or s.started_at is null)`
)

// claimColumns are those of claimed jobs j, with their scans s as they were
// before, that claimRow takes.
const claimColumns = record.JobColumns + `, j.lease_epoch, j.lease_id, (extract(epoch from j.deadline_at - now()) * 1000000)::bigint,
       ` + record.ScanColumns + `, coalesce(s.started_at, now()), s.archive_data, s.secrets`

// claim takes job ids, owner and the lease's length in microseconds. It returns
// the claimed jobs with their leases and scans. A doorbell whose mark was taken
// back counts for no cap any more, so it must not be answered. The coalesce keeps
// the planner from jobs_busy: no index may have a predicate that follows from
// this condition.
const claim = `
with picked as (
    select id from jobs
    where id = any($1::text[]::uuid[]) and state = 'queued' and run_at <= now()
      and coalesce(dispatched_at, '-infinity') > '-infinity'
      and (deadline_at is null or deadline_at > now()) and ` + unpaused + `
    order by id for no key update
), claimed as (
    update jobs j ` + setClaimed + `
    from picked where j.id = picked.id
    returning j.*
), started as (
    update scans s ` + setStarted + ` and s.id in (select scan_id from claimed)
), begun as (
    insert into quota_ledger (tenant_id, reason, queued)
    select tenant_id, 'start', -count(*) from scans
    where id = any(array(select scan_id from claimed)) and started_at is null group by tenant_id
)
select ` + claimColumns + `
from claimed j join scans s on s.id = j.scan_id order by j.id`

// lazily lets the transaction be answered before it is on disk, for what may be
// lost in a crash of the server: a claim that is lost was never stored, so its
// host is refused by the fence and the job is handed out again. Whatever commits
// after it brings it to the disk first.
const lazily = `select set_config('synchronous_commit', 'off', true)`

// Claim implements host.JobStore.
func (s *Store) Claim(ctx context.Context, owner string, jobs []host.JobID, ttl time.Duration) (out []host.Claim, err error) {
	list := ids(jobs)
	if len(list) == 0 {
		return nil, nil
	}
	err = s.batch(ctx, fmt.Sprintf("claim %d jobs", len(list)), func(b *pgx.Batch) {
		b.Queue(lazily)
		b.Queue(lockScans, list)
		b.Queue(claim, list, record.Clean(owner), record.Micros(ttl)).Query(func(rows pgx.Rows) (err error) {
			out, err = pgx.CollectRows(rows, toClaim)
			return err
		})
	})
	return out, err
}

func toClaim(row pgx.CollectableRow) (host.Claim, error) {
	var r claimRow
	if err := row.Scan(r.dest()...); err != nil {
		return host.Claim{}, err
	}
	return r.value()
}

// claimRow is a row of claimColumns.
type claimRow struct {
	job     record.Job
	scan    record.Scan
	lease   host.Lease
	left    int64
	started time.Time
	data    []byte
	secrets []byte
}

func (r *claimRow) dest() []any {
	dest := append(r.job.Dest(at), &r.lease.Epoch, &r.lease.ID, &r.left)
	return append(append(dest, r.scan.Dest(at)...), at(&r.started), &r.data, &r.secrets)
}

func (r *claimRow) value() (c host.Claim, err error) {
	if c.Job, err = r.job.Value(); err != nil {
		return c, err
	}
	if c.Scan, err = r.scan.Value(); err != nil {
		return c, err
	}
	if a := c.Scan.Input.Archive; a != nil {
		a.Data = r.data
	}
	c.Scan.Secrets = r.secrets
	c.Lease, c.Remaining = r.lease, time.Duration(r.left)*time.Microsecond
	c.Lease.Job = c.Job.ID
	// The statement still sees the scan as it was before.
	c.Scan.State, c.Scan.StartedAt, c.Scan.Counts = host.StateRunning, r.started, host.Counts{}
	return c, nil
}

// heartbeat takes leases ($1-$3), progress ($4) and the length in microseconds.
// It returns the jobs whose lease is held and has not run out. No index holds
// what it writes.
const heartbeat = `
with held as (
    select j.id, l.progress, s.cancel_requested_at is not null as cancel
    from unnest($1::text[]::uuid[], $2::bigint[], $3::text[]::uuid[], $4::text[]) as l (job, epoch, lease, progress)
    join jobs j on j.id = l.job and j.lease_epoch = l.epoch and j.lease_id = l.lease
        and j.lease_expires_at > now()
    join scans s on s.id = j.scan_id
    order by j.id for no key update of j
)
update jobs j set lease_expires_at = now() + $5 * interval '1 microsecond', progress = h.progress
from held h where j.id = h.id
returning j.id, j.lease_epoch, j.lease_id, h.cancel`

// Heartbeat implements host.JobStore.
func (s *Store) Heartbeat(ctx context.Context, beats []host.Beat, ttl time.Duration) ([]host.Pulse, error) {
	var l leaseRows
	var progress []string
	seen := map[host.Lease]bool{}
	for _, b := range beats {
		if l.add(b.Lease, seen) {
			progress = append(progress, record.Progress(b.Progress))
		}
	}
	if len(l.job) == 0 {
		return nil, nil
	}
	var pulses []host.Pulse
	err := s.do(ctx, fmt.Sprintf("renew %d leases", len(l.job)), func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, heartbeat, l.job, l.epoch, l.id, progress, record.Micros(ttl))
		if err != nil {
			return err
		}
		pulses, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p host.Pulse, err error) {
			return p, r.Scan(&p.Lease.Job, &p.Lease.Epoch, &p.Lease.ID, &p.CancelRequested)
		})
		return err
	})
	return pulses, err
}
