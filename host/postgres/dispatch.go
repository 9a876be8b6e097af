package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// dispatchLock is the advisory lock under which one host at a time fills the
// window, so that it is exact. It is held for one batch.
const dispatchLock = `select pg_advisory_xact_lock(hashtext('securetag dispatch'))`

// dispatch takes the window, the horizon in microseconds and the plugins, marks
// jobs as handed out and returns them.
//
// Fair between tenants: it walks the tenants that have ready jobs (a loose
// scan of jobs_ready, one step each), takes the oldest of each, and deals them
// out in turns that begin behind what the tenant already has running or out.
// A tenant with a thousand jobs waits behind its own, not before others.
// Doorbells older than the horizon go first: they have had their turn. What is
// paused takes no part; its doorbells are not out, Pause takes them back.
const dispatch = `
with recursive plugin (name) as (` + unpausedPlugins + `
), tenant (id) as (
    (select tenant_id from jobs where state = 'queued' and dispatched_at is null order by tenant_id limit 1)
    union all
    select (select j.tenant_id from jobs j
            where j.state = 'queued' and j.dispatched_at is null and j.tenant_id > t.id
            order by j.tenant_id limit 1)
    from tenant t where t.id is not null
), room as (
    select greatest(0, $1::bigint - count(*)) as n from jobs
    where state = 'queued' and dispatched_at is not null and dispatched_at > now() - $2 * interval '1 microsecond'
      and plugin = any($3::text[])
), ready as (
    select id, 0 as turn, dispatched_at as since from jobs
    where state = 'queued' and dispatched_at is not null and dispatched_at <= now() - $2 * interval '1 microsecond'
      and plugin in (select name from plugin) and ` + typeUnpaused + `
      and (deadline_at is null or deadline_at > now())
    union all
    select r.id, b.busy + r.n, r.run_at
    from tenant t
    cross join lateral (
        select count(*) as busy from jobs j
        where j.tenant_id = t.id and (j.state = 'running' or (j.state = 'queued' and j.dispatched_at is not null))
    ) b
    cross join lateral (
        select o.id, o.run_at, row_number() over (order by o.run_at, o.id) as n from (
            select k.id, k.run_at from plugin p cross join lateral (
                select j.id, j.run_at from jobs j
                where j.tenant_id = t.id and j.plugin = p.name and ` + typeUnpaused + `
                  and j.state = 'queued' and j.dispatched_at is null and j.run_at <= now()
                  and (j.deadline_at is null or j.deadline_at > now())
                order by j.run_at, j.id limit (select n from room)
            ) k
            order by k.run_at, k.id limit (select n from room)
        ) o
    ) r
    where t.id is not null
), picked as (
    select id from ready order by turn, since, id limit (select n from room)
), locked as (
    -- Looked at again once locked: a claim or a cancel may have come between.
    select id from jobs where id in (select id from picked) and state = 'queued'
      and (dispatched_at is null or dispatched_at <= now() - $2 * interval '1 microsecond')
    for no key update skip locked
)
update jobs j set dispatched_at = now() from locked where j.id = locked.id
returning j.id, j.plugin`

// afterDispatch takes the horizon in microseconds and the plugins and returns, of
// the jobs that are left: whether any of these is ready, whether any is over its deadline, and the
// microseconds until the next one is either (0: none waits).
const afterDispatch = `
with edge as (select now() - $1 * interval '1 microsecond' as horizon)
select exists (select from jobs where state = 'queued' and dispatched_at is null and run_at <= now()
               and plugin = any($2::text[]) and ` + unpaused + ` and (deadline_at is null or deadline_at > now()))
    or exists (select from jobs, edge where state = 'queued' and dispatched_at is not null and dispatched_at <= edge.horizon
               and plugin = any($2::text[]) and ` + unpaused + ` and (deadline_at is null or deadline_at > now())),
    exists (select from jobs where state = 'queued' and deadline_at is not null and deadline_at <= now()),
    coalesce((extract(epoch from least(
        (select min(run_at) from jobs where state = 'queued' and dispatched_at is null and run_at > now()) - now(),
        (select min(dispatched_at) from jobs, edge where state = 'queued' and dispatched_at is not null and dispatched_at > edge.horizon)
            - (select horizon from edge),
        (select min(deadline_at) from jobs where state = 'queued' and deadline_at is not null and deadline_at > now()) - now()
    )) * 1000000)::bigint, 0)`

// overdueAtOnce bounds one transaction of Dispatch that ends overdue jobs.
const overdueAtOnce = 500

// Dispatch implements host.JobStore.
func (s *Store) Dispatch(ctx context.Context, plugins []string, window int, horizon time.Duration) (host.Dispatched, error) {
	var out host.Dispatched
	var overdue bool
	err := s.batch(ctx, "dispatch", func(b *pgx.Batch) {
		b.Queue(dispatchLock)
		b.Queue(dispatch, max(window, 0), record.Micros(horizon), record.CleanAll(plugins)).Query(func(rows pgx.Rows) (err error) {
			out.Bells, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (d host.Doorbell, err error) {
				return d, r.Scan(&d.Job, &d.Plugin)
			})
			return err
		})
		b.Queue(afterDispatch, record.Micros(horizon), record.CleanAll(plugins)).QueryRow(func(row pgx.Row) error {
			var next int64
			err := row.Scan(&out.More, &overdue, &next)
			out.Next = time.Duration(next) * time.Microsecond
			return err
		})
	})
	if err != nil {
		return host.Dispatched{}, err
	}
	for overdue {
		n, err := s.sweep(ctx, "end overdue jobs", pickOverdue, timeOut, overdueAtOnce)
		if err != nil {
			// The bells are marked as handed out: they must still be rung. The
			// overdue jobs are found again by the next call.
			return out, nil //nolint:nilerr // said above
		}
		overdue = n == overdueAtOnce
	}
	return out, nil
}

// Undispatch implements host.JobStore.
func (s *Store) Undispatch(ctx context.Context, jobs []host.JobID) error {
	list := ids(jobs)
	if len(list) == 0 {
		return nil
	}
	return s.do(ctx, fmt.Sprintf("take back %d doorbells", len(list)), func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `update jobs set dispatched_at = null where id in (
			select id from jobs where id = any($1::text[]::uuid[]) and dispatched_at is not null
			order by id for no key update)`, list)
		return err
	})
}
