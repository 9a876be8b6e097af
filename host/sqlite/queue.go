package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// stats takes the time and counts each part by the partial index that holds it
// and nothing else. A job is running when it has a lease end, as the CHECKs say.
const stats = `
select plugin, scan_type, sum(ready), sum(waiting), sum(out), sum(running), sum(dead), coalesce(max(age), 0)
from (
    select plugin, scan_type, count(*) filter (where run_at <= ?1) as ready, count(*) filter (where run_at > ?1) as waiting,
        0 as out, 0 as running, 0 as dead, max(0, ?1 - min(run_at)) as age
    from jobs where state = 'queued' and dispatched_at is null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, count(*), 0, 0, 0
    from jobs where state = 'queued' and dispatched_at is not null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, 0, count(*), 0, 0
    from jobs where (state = 'running' or (state = 'queued' and dispatched_at is not null)) and lease_id is not null group by plugin, scan_type
    union all
    select plugin, scan_type, 0, 0, 0, 0, count(*), 0
    from jobs where dead_at is not null group by plugin, scan_type
) group by plugin, scan_type order by plugin, scan_type`

// QueueStats implements host.QueueStore.
func (s *Store) QueueStats(ctx context.Context) (out host.QueueStats, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var g host.QueueGroup
		var age int64
		err := r.Scan(&g.Plugin, &g.ScanType, &g.Ready, &g.Waiting, &g.Out, &g.Running, &g.Dead, &age)
		g.OldestReady = time.Duration(age) * time.Microsecond
		out.Groups = append(out.Groups, g)
		return err
	}, stats, s.cfg.Now().UnixMicro())
	if err != nil {
		return host.QueueStats{}, translate(ctx, "count the queue", err)
	}
	out.Pauses, err = s.Pauses(ctx)
	return out, err
}

const fromDead = `
select ` + record.DeadColumns + `
from jobs j join scans s on s.id = j.scan_id join tenants t on t.id = j.tenant_id
where j.dead_at is not null`

// deadLetters takes plugin, scan type and tenant ("" for any), the place to
// continue behind and a limit.
const deadLetters = fromDead + `
  and (?1 = '' or j.plugin = ?1) and (?2 = '' or s.type = ?2) and (?3 = '' or t.name = ?3)
  and (j.dead_at, j.id) < (?4, ?5)
order by j.dead_at desc, j.id desc limit ?6`

// DeadLetters implements host.QueueStore.
func (s *Store) DeadLetters(ctx context.Context, q host.DeadQuery) (all []host.DeadLetter, err error) {
	after, err := record.Older(q.After)
	if err == nil {
		all, err = s.dead(ctx, deadLetters, record.Clean(q.Plugin), record.Clean(q.ScanType), record.Clean(q.Tenant),
			after.DeadAt.UnixMicro(), string(after.ID), record.Limit(q.Limit, 50, 500))
	}
	if err != nil {
		return nil, translate(ctx, "list dead letters", err)
	}
	return all, nil
}

func (s *Store) dead(ctx context.Context, query string, args ...any) (all []host.DeadLetter, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var row record.Dead
		if err := r.Scan(row.Dest(at)...); err != nil {
			return err
		}
		d, err := row.Value()
		all = append(all, d)
		return err
	}, query, args...)
	return all, err
}

// history takes a job.
const history = `
select ` + record.AttemptColumns + ` from attempts
where scan_id = (select scan_id from jobs where id = ?1) and job_id = ?1 order by lease_epoch`

// DeadLetter implements host.QueueStore.
func (s *Store) DeadLetter(ctx context.Context, id host.JobID) (host.DeadLetter, error) {
	op := fmt.Sprintf("read dead letter %.64q", string(id))
	found, err := s.dead(ctx, fromDead+` and j.id = ?`, string(id))
	if err != nil {
		return host.DeadLetter{}, translate(ctx, op, err)
	}
	if len(found) == 0 {
		return host.DeadLetter{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	d := found[0]
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var row record.Attempt
		if err := r.Scan(row.Dest(at)...); err != nil {
			return err
		}
		a, err := row.Value()
		d.History = append(d.History, a)
		return err
	}, history, string(id))
	if err != nil {
		return host.DeadLetter{}, translate(ctx, op, err)
	}
	return d, nil
}

// requeue takes a dead letter and the time.
const requeue = `
update jobs set state = 'queued', attempt = 0, crashes = 0, progress = '{}', run_at = ?2,
    started_at = null, deadline_at = null, finished_at = null, dead_at = null
where id = ?1`

// Requeue implements host.QueueStore.
func (s *Store) Requeue(ctx context.Context, jobs []host.JobID) ([]host.Refusal, error) {
	return s.settleDead(ctx, "requeue", jobs, func(ctx context.Context, tx tx, j leased) (host.RefusalReason, error) {
		if j.cancel {
			return host.RefusedCanceled, nil
		}
		_, err := tx.ExecContext(ctx, requeue, string(j.id), tx.now)
		return "", err
	})
}

// Drop implements host.QueueStore.
func (s *Store) Drop(ctx context.Context, jobs []host.JobID) ([]host.Refusal, error) {
	return s.settleDead(ctx, "drop", jobs, func(ctx context.Context, tx tx, j leased) (host.RefusalReason, error) {
		_, err := tx.ExecContext(ctx, `update jobs set dead_at = null where id = ?`, string(j.id))
		return "", err
	})
}

// settleDead runs settle for those of the jobs that are dead letters.
func (s *Store) settleDead(ctx context.Context, verb string, jobs []host.JobID,
	settle func(context.Context, tx, leased) (host.RefusalReason, error)) ([]host.Refusal, error) {
	var found map[host.JobID]host.RefusalReason
	err := s.write(ctx, fmt.Sprintf("%s %d dead letters", verb, len(jobs)), func(ctx context.Context, tx tx) error {
		found = map[host.JobID]host.RefusalReason{}
		dead, err := tx.pick(ctx, `j.id in (select value from json_each(?)) and j.dead_at is not null`, list(jobs))
		if err != nil {
			return err
		}
		scans := make([]host.ScanID, 0, len(dead))
		for _, j := range dead {
			if found[j.id], err = settle(ctx, tx, j); err != nil {
				return err
			}
			scans = append(scans, j.scan)
		}
		return tx.derive(ctx, scans)
	})
	if err != nil {
		return nil, err
	}
	return record.Refusals(jobs, found), nil
}
