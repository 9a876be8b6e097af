package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func toScan(row pgx.CollectableRow) (host.Scan, error) {
	var r record.Scan
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.Scan{}, err
	}
	return r.Value()
}

// accept takes a scan's columns and, as arrays in order, those of its jobs.
// It returns the time.
const accept = `
with s as (
    insert into scans (id, tenant_id, type, project, archive, url, options, priority)
    values ($1, $2, $3, $4, $5, $6, $7, $12)
    returning id, tenant_id, type, created_at, priority
), j as (
    insert into jobs (id, tenant_id, scan_id, scan_type, ordinal, plugin, max_attempts, timeout_us, priority)
    select j.id, s.tenant_id, s.id, s.type, j.n - 1, j.plugin, j.max_attempts, j.timeout_us, s.priority
    from s, unnest($8::text[]::uuid[], $9::text[], $10::int[], $11::bigint[])
        with ordinality as j (id, plugin, max_attempts, timeout_us, n)
    returning tenant_id, plugin, scan_type, priority
), ` + keepLanes + `
select created_at from s`

// Accept implements host.ScanStore.
func (s *Store) Accept(ctx context.Context, scan host.Scan) (host.Scan, error) {
	op := fmt.Sprintf("accept scan %s", scan.ID)
	scan, err := record.Accepted(scan)
	if err != nil {
		return host.Scan{}, fmt.Errorf("%s: %w", op, err)
	}
	n := len(scan.Jobs)
	id, plugin, attempts, timeout := make([]string, n), make([]string, n), make([]int32, n), make([]int64, n)
	for i, j := range scan.Jobs {
		id[i], plugin[i], attempts[i], timeout[i] = string(j.ID), j.Plugin, int32(j.MaxAttempts), record.Micros(j.Timeout)
	}
	archive, url, options := record.Input(scan)
	var now time.Time
	err = s.do(ctx, op, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, accept, string(scan.ID), string(scan.TenantID), scan.Type, scan.Project,
			archive, url, options, id, plugin, attempts, timeout, scan.Priority.Rank()).Scan(at(&now))
	})
	if err != nil {
		return host.Scan{}, err
	}
	scan.CreatedAt = now
	for i := range scan.Jobs {
		scan.Jobs[i].CreatedAt, scan.Jobs[i].RunAt = now, now
	}
	return scan, nil
}

// scanWithJobs takes tenant and scan: one statement, so that a scan never
// contradicts its jobs. Every scan has at least one.
const scanWithJobs = `
select ` + record.ScanColumns + `, ` + record.JobColumns + `
from scans s join jobs j on j.tenant_id = s.tenant_id and j.scan_id = s.id
where s.tenant_id = $1 and s.id = $2 order by j.ordinal`

func queueScan(b *pgx.Batch, t host.TenantID, id host.ScanID, out *host.Scan) {
	b.Queue(scanWithJobs, string(t), string(id)).Query(func(rows pgx.Rows) error {
		*out = host.Scan{}
		var jobs []host.Job
		for rows.Next() {
			var s record.Scan
			var j record.Job
			if err := rows.Scan(append(s.Dest(at), j.Dest(at)...)...); err != nil {
				return err
			}
			scan, serr := s.Value()
			job, jerr := j.Value()
			if err := errors.Join(serr, jerr); err != nil {
				return err
			}
			*out, jobs = scan, append(jobs, job)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(jobs) == 0 {
			return host.ErrNotFound
		}
		out.Jobs = jobs
		return nil
	})
}

// Scan implements host.ScanStore.
func (s *Store) Scan(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	op := fmt.Sprintf("read scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return host.Scan{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.batch(ctx, op, func(b *pgx.Batch) { queueScan(b, t, id, &scan) })
	return scan, err
}

// scans takes tenant, type, project, state ("" for any), the id to continue
// behind or null, and a limit.
const scans = `
select ` + record.ScanColumns + ` from scans s
where s.tenant_id = $1
  and ($2 = '' or s.type = $2) and ($3 = '' or s.project = $3) and ($4 = '' or s.state = $4)
  and ($5::uuid is null or s.id < $5::uuid)
order by s.id desc limit $6`

// Scans implements host.ScanStore.
func (s *Store) Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) (all []host.Scan, err error) {
	if !record.IsID(t) {
		return nil, nil
	}
	var after *string
	if q.After != "" {
		if !record.IsID(q.After) {
			return nil, fmt.Errorf("list scans: cursor %.64q is not a UUID: %w", string(q.After), host.ErrInvalid)
		}
		after = new(string(q.After))
	}
	err = s.do(ctx, "list scans", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, scans, string(t), record.Clean(q.Type), record.Clean(q.Project), record.Clean(string(q.State)), after, record.Limit(q.Limit, 50, 500))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, toScan)
		return err
	})
	return all, err
}

// Cancel implements host.ScanStore.
func (s *Store) Cancel(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	op := fmt.Sprintf("cancel scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return host.Scan{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	tenant, one := string(t), string(id)
	err = s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(`select 1 from scans where tenant_id = $1 and id = $2 for no key update`, tenant, one)
		b.Queue(`update scans set cancel_requested_at = coalesce(cancel_requested_at, now())
			where tenant_id = $1 and id = $2 and state in ('queued', 'running')`, tenant, one)
		b.Queue(`update jobs set state = 'canceled', finished_at = now(), dispatched_at = null
			where id in (select id from jobs where tenant_id = $1 and scan_id = $2 and state = 'queued'
			             order by id for no key update)`, tenant, one)
		b.Queue(deriveScans+`(select id from scans where tenant_id = $1 and id = $2)`+deriveEnd, tenant, one)
		queueScan(b, t, id, &scan)
	})
	switch {
	case err != nil:
		return host.Scan{}, err
	case scan.State.Final() && scan.State != host.StateCanceled:
		return host.Scan{}, fmt.Errorf("%s: it is %s: %w", op, scan.State, host.ErrConflict)
	}
	return scan, nil
}
