package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// stats counts each part by the partial index that holds it and nothing else.
// A job is running when it has a lease end, as the CHECKs say.
const stats = `
select plugin, scan_type, sum(ready)::bigint, sum(waiting)::bigint, sum(out)::bigint, sum(running)::bigint, sum(dead)::bigint,
    coalesce(max(age), 0)::bigint
from (
    select plugin, scan_type, count(*) filter (where run_at <= now()) as ready, count(*) filter (where run_at > now()) as waiting,
        0 as out, 0 as running, 0 as dead, greatest(0, extract(epoch from now() - min(run_at)) * 1000000) as age
    from jobs where state = 'queued' and dispatched_at is null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, count(*), 0, 0, 0
    from jobs where state = 'queued' and dispatched_at is not null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, 0, count(*), 0, 0
    from jobs where (state = 'running' or (state = 'queued' and dispatched_at is not null)) and lease_id is not null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, 0, 0, count(*), 0 from jobs where dead_at is not null group by plugin, scan_type
) part group by plugin, scan_type order by plugin collate "C", scan_type collate "C"`

// QueueStats implements host.QueueStore.
func (s *Store) QueueStats(ctx context.Context) (out host.QueueStats, err error) {
	err = s.batch(ctx, "count the queue", func(b *pgx.Batch) {
		b.Queue(stats).Query(func(rows pgx.Rows) (err error) {
			out.Groups, err = pgx.CollectRows(rows, toGroup)
			return err
		})
		b.Queue(pauses).Query(func(rows pgx.Rows) (err error) {
			out.Pauses, err = pgx.CollectRows(rows, toPause)
			return err
		})
	})
	return out, err
}

func toGroup(row pgx.CollectableRow) (g host.QueueGroup, err error) {
	var age int64
	err = row.Scan(&g.Plugin, &g.ScanType, &g.Ready, &g.Waiting, &g.Out, &g.Running, &g.Dead, &age)
	g.OldestReady = time.Duration(age) * time.Microsecond
	return g, err
}

const fromDead = `
select ` + record.DeadColumns + `
from jobs j join scans s on s.id = j.scan_id join tenants t on t.id = j.tenant_id
where j.dead_at is not null`

// deadLetters takes plugin, scan type and tenant ("" for any), the place to
// continue behind and a limit.
const deadLetters = fromDead + `
  and ($1 = '' or j.plugin = $1) and ($2 = '' or s.type = $2) and ($3 = '' or t.name = $3)
  and (j.dead_at, j.id) < ($4, $5::uuid)
order by j.dead_at desc, j.id desc limit $6`

// DeadLetters implements host.QueueStore.
func (s *Store) DeadLetters(ctx context.Context, q host.DeadQuery) (all []host.DeadLetter, err error) {
	after, err := record.Older(q.After)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	err = s.do(ctx, "list dead letters", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, deadLetters, record.Clean(q.Plugin), record.Clean(q.ScanType), record.Clean(q.Tenant),
			after.DeadAt, string(after.ID), record.Limit(q.Limit, 50, 500))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, toDead)
		return err
	})
	return all, err
}

func toDead(row pgx.CollectableRow) (host.DeadLetter, error) {
	var r record.Dead
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.DeadLetter{}, err
	}
	return r.Value()
}

// history takes a job.
const history = `
select ` + record.AttemptColumns + ` from attempts
where (scan_id, job_id) = (select scan_id, id from jobs where id = $1) order by lease_epoch`

// DeadLetter implements host.QueueStore.
func (s *Store) DeadLetter(ctx context.Context, id host.JobID) (d host.DeadLetter, err error) {
	op := fmt.Sprintf("read dead letter %.64q", string(id))
	if !record.IsID(id) {
		return d, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(fromDead+` and j.id = $1`, string(id)).Query(func(rows pgx.Rows) (err error) {
			d, err = pgx.CollectExactlyOneRow(rows, toDead)
			return err
		})
		b.Queue(history, string(id)).Query(func(rows pgx.Rows) (err error) {
			d.History, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (host.Attempt, error) {
				var r record.Attempt
				if err := row.Scan(r.Dest(at)...); err != nil {
					return host.Attempt{}, err
				}
				return r.Value()
			})
			return err
		})
	})
	return d, err
}

// requeue takes job ids whose scans are locked and returns those that are dead
// letters, and why they are refused, which leaves them as they are.
const requeue = `
with picked as (
    select j.id, case when s.cancel_requested_at is not null then 'canceled' else '' end as refused from jobs j join scans s on s.id = j.scan_id
    where j.id = any($1::text[]::uuid[]) and j.dead_at is not null order by j.id for no key update of j
), back as (
    update jobs j set state = 'queued', attempt = 0, crashes = 0, progress = '{}', run_at = now(),
        started_at = null, deadline_at = null, finished_at = null, dead_at = null
    from picked where j.id = picked.id and picked.refused = ''
)
select id, refused from picked`

// drop takes job ids and returns those that were dead letters.
const drop = `
with picked as (
    select id from jobs where id = any($1::text[]::uuid[]) and dead_at is not null order by id for no key update
)
update jobs j set dead_at = null from picked where j.id = picked.id returning j.id, ''`

// Requeue implements host.QueueStore.
func (s *Store) Requeue(ctx context.Context, jobs []host.JobID) ([]host.Refusal, error) {
	return s.settleDead(ctx, "requeue", requeue, jobs)
}

// Drop implements host.QueueStore.
func (s *Store) Drop(ctx context.Context, jobs []host.JobID) ([]host.Refusal, error) {
	return s.settleDead(ctx, "drop", drop, jobs)
}

func (s *Store) settleDead(ctx context.Context, verb, statement string, jobs []host.JobID) ([]host.Refusal, error) {
	found := map[host.JobID]host.RefusalReason{}
	if list := ids(jobs); len(list) > 0 {
		err := s.batch(ctx, fmt.Sprintf("%s %d dead letters", verb, len(list)), func(b *pgx.Batch) {
			clear(found)
			b.Queue(lockScans, list)
			b.Queue(statement, list).Query(func(rows pgx.Rows) error {
				var id host.JobID
				var refused host.RefusalReason
				_, err := pgx.ForEachRow(rows, []any{&id, &refused}, func() error { found[id] = refused; return nil })
				return err
			})
			queueSettle(b, list)
		})
		if err != nil {
			return nil, err
		}
	}
	return record.Refusals(jobs, found), nil
}
