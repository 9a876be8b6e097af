package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// pickExpired takes a limit and locks jobs whose lease ran out, with their scans.
// It reads what jobs_busy holds, and skips what is locked: somebody else is at
// it.
const pickExpired = `
select j.id from jobs j join scans s on s.id = j.scan_id
where (j.state = 'running' or (j.state = 'queued' and j.dispatched_at is not null)) and j.lease_expires_at < now()
order by j.lease_expires_at limit $1 for no key update of j, s skip locked`

// crashLimit is host.CrashLimit in SQL.
const crashLimit = "3"

const _ = uint(host.CrashLimit-3) + uint(3-host.CrashLimit) // does not compile when they differ

// noteEnded encloses a statement that takes running jobs from their host, and
// keeps the attempts that end with it; they all crashed.
const (
	noteEnded  = `with ended as (`
	asReleased = ` returning j.id, j.scan_id, j.tenant_id, j.plugin, j.lease_epoch, j.state, n.tried, n.owner, n.began, true as released, j.error
)` + insertEnded
	asExpired = ` returning j.id, j.scan_id, j.tenant_id, j.plugin, j.lease_epoch, j.state, n.tried, n.owner, n.began, false as released, j.error
)` + insertEnded
	insertEnded = `, reasons as (
    select *, case when state in ('failed', 'timed_out') or not released and state = 'queued' then error end as reason from ended
), kept as (
    insert into attempts (scan_id, tenant_id, job_id, lease_epoch, attempt, owner, started_at, state, crashed, released, error)
    select scan_id, tenant_id, id, lease_epoch, tried, owner, began, state, true, released and state <> 'failed', reason from reasons
)
select tenant_id, scan_id, id, plugin, tried, state, coalesce(reason::json ->> 'code', '') from reasons`
	// attemptColumns are of the attempt that is being ended.
	attemptColumns = `j.attempt as tried, j.lease_owner as owner, coalesce(j.claimed_at, j.started_at) as began`
)

// trimHistory takes job ids and how many attempts of each are kept, the newest.
const trimHistory = `
delete from attempts a using jobs j
where j.id = any($1::text[]::uuid[]) and a.scan_id = j.scan_id and a.job_id = j.id and a.lease_epoch <= j.lease_epoch - $2::bigint
  and a.scan_id = any(array(select scan_id from jobs where id = any($1::text[]::uuid[])))`

// expire takes job ids that pickExpired locked. The host that ran them counts
// as crashed: input that kills hosts must not go round for ever.
const expire = noteEnded + `
update jobs j set state = n.state, crashes = j.crashes + 1,
    lease_id = null, lease_owner = null, lease_expires_at = null,
    run_at = case when n.state = 'queued' then now() else j.run_at end,
    finished_at = case when n.state = 'queued' then null else now() end,
    error = case n.state
        when 'canceled' then j.error
        when 'timed_out' then json_build_object('code', 'timed_out', 'attempt', j.attempt, 'message',
            'its time limit passed, and the host that ran it did not answer any more')::text
        else json_build_object('code', 'lease_expired', 'attempt', j.attempt, 'message',
            'the host that ran it stopped or was cut off')::text
    end,
    dead_at = case when n.state = 'failed' then now() end
from (
    select j.id, ` + attemptColumns + `, case
        when s.cancel_requested_at is not null then 'canceled'
        when j.deadline_at <= now() then 'timed_out'
        when j.attempt >= j.max_attempts or j.crashes + 1 >= ` + crashLimit + ` then 'failed'
        else 'queued' end as state
    from jobs j join scans s on s.id = j.scan_id
    where j.id = any($1::text[]::uuid[])
) n
where j.id = n.id` + asExpired

// Expire implements host.JobStore.
func (s *Store) Expire(ctx context.Context, limit int) ([]host.Taken, error) {
	return s.sweep(ctx, "take back expired leases", pickExpired, expire, limit)
}

// pickOverdue takes a limit and locks jobs whose time limit passed while they
// waited to be tried again, with their scans.
const pickOverdue = `
select j.id from jobs j join scans s on s.id = j.scan_id
where j.state = 'queued' and j.deadline_at <= now()
order by j.deadline_at limit $1 for no key update of j, s skip locked`

const timeOut = `
update jobs set state = 'timed_out', finished_at = now(), dispatched_at = null,
    error = json_build_object('code', 'timed_out', 'attempt', attempt, 'message',
        'its time limit passed while it waited to be tried again')::text
where id = any($1::text[]::uuid[])
returning tenant_id, scan_id, id, plugin, attempt, state, 'timed_out'`

// sweep changes the jobs that pick locks, at most limit, and returns them.
func (s *Store) sweep(ctx context.Context, op, pick, change string, limit int) (out []host.Taken, err error) {
	err = s.do(ctx, op, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, pick, max(limit, 0))
			if err != nil {
				return err
			}
			jobs, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil || len(jobs) == 0 {
				return err
			}
			b := &pgx.Batch{}
			b.Queue(change, jobs).Query(readTaken(&out))
			queueSettle(b, jobs)
			b.Queue(trimHistory, jobs, host.MaxHistory)
			return tx.SendBatch(ctx, b).Close()
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readTaken reads what the statements here return into out, which a
// transaction that is tried again begins anew.
func readTaken(out *[]host.Taken) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t host.Taken, err error) {
			err = row.Scan(&t.Tenant, &t.Scan, &t.Job, &t.Plugin, &t.Attempt, &t.State, &t.Code)
			return t, err
		})
		return err
	}
}

// release takes job ids and an owner that is dead. As with expire, the input may
// be what killed it.
const release = noteEnded + `
update jobs j set state = n.state, crashes = j.crashes + 1,
    attempt = j.attempt - (n.state <> 'failed')::int,
    started_at = case when n.state = 'queued' and j.attempt = 1 then null else j.started_at end,
    deadline_at = case when n.state = 'queued' and j.attempt = 1 then null else j.deadline_at end,
    lease_id = null, lease_owner = null, lease_expires_at = null,
    run_at = case when n.state = 'queued' then now() else j.run_at end,
    finished_at = case when n.state = 'queued' then null else now() end,
    error = case when n.state = 'failed' then json_build_object('code', 'lease_expired', 'attempt', j.attempt, 'message',
        'its host died each of the ` + crashLimit + ` times that it ran')::text else j.error end,
    dead_at = case when n.state = 'failed' then now() end
from (
    select j.id, ` + attemptColumns + `, case
        when s.cancel_requested_at is not null then 'canceled'
        when j.crashes + 1 >= ` + crashLimit + ` then 'failed'
        else 'queued' end as state
    from jobs j join scans s on s.id = j.scan_id
    where j.id = any($1::text[]::uuid[])
) n
where j.id = n.id and j.lease_owner = $2` + asReleased

// releasable takes an owner; it reads what jobs_busy holds.
const releasable = `
select id from jobs where (state = 'running' or (state = 'queued' and dispatched_at is not null)) and lease_owner = $1
order by id`

// ReleaseOwner implements host.JobStore. What others hold locked is waited for:
// the owner is dead, and this must find all of it.
func (s *Store) ReleaseOwner(ctx context.Context, owner string) (out []host.Taken, err error) {
	owner = record.Clean(owner)
	op := fmt.Sprintf("give back the jobs of %q", owner)
	var jobs []string
	err = s.do(ctx, op, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, releasable, owner)
		if err != nil {
			return err
		}
		jobs, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	err = s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(lockScans, jobs)
		b.Queue(`select 1 from jobs where id = any($1::text[]::uuid[]) order by id for no key update`, jobs)
		b.Queue(release, jobs, owner).Query(readTaken(&out))
		queueSettle(b, jobs)
		b.Queue(trimHistory, jobs, host.MaxHistory)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
