package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
)

const scanColumns = `s.id, s.tenant_id, s.type, s.project, s.archive, s.url, s.options, s.state,
	s.created_at, s.started_at, s.finished_at, s.cancel_requested_at,
	s.critical, s.high, s.medium, s.low, s.info, s.unknown`

// scanRow holds what is not scanned straight into a host.Scan.
type scanRow struct {
	host.Scan
	archive, url, options text
}

func (r *scanRow) dest() []any {
	s := &r.Scan
	return []any{&s.ID, &s.TenantID, &s.Type, &s.Project, &r.archive, &r.url, &r.options, &s.State,
		at(&s.CreatedAt), at(&s.StartedAt), at(&s.FinishedAt), at(&s.CancelRequestedAt),
		&s.Counts.Critical, &s.Counts.High, &s.Counts.Medium, &s.Counts.Low, &s.Counts.Info, &s.Counts.Unknown}
}

func (r *scanRow) value() (host.Scan, error) {
	r.Input.URL = string(r.url)
	if r.options != "" {
		r.Options = json.RawMessage(r.options)
	}
	if r.archive != "" {
		r.Input.Archive = &host.Archive{}
	}
	return r.Scan, object("archive", r.archive, r.Input.Archive)
}

func toScan(row pgx.CollectableRow) (host.Scan, error) {
	var r scanRow
	if err := row.Scan(r.dest()...); err != nil {
		return host.Scan{}, err
	}
	return r.value()
}

const jobColumns = `j.id, j.scan_id, j.tenant_id, j.plugin, j.state, j.attempt, j.max_attempts, j.crashes,
	j.timeout_us, j.progress, j.error, j.created_at, j.run_at, j.started_at, j.deadline_at, j.finished_at,
	j.critical, j.high, j.medium, j.low, j.info, j.unknown`

type jobRow struct {
	host.Job
	timeout         int64
	progress, fault text
}

func (r *jobRow) dest() []any {
	j := &r.Job
	return []any{&j.ID, &j.ScanID, &j.TenantID, &j.Plugin, &j.State, &j.Attempt, &j.MaxAttempts, &j.Crashes,
		&r.timeout, &r.progress, &r.fault, at(&j.CreatedAt), at(&j.RunAt), at(&j.StartedAt), at(&j.DeadlineAt), at(&j.FinishedAt),
		&j.Counts.Critical, &j.Counts.High, &j.Counts.Medium, &j.Counts.Low, &j.Counts.Info, &j.Counts.Unknown}
}

func (r *jobRow) value() (host.Job, error) {
	r.Timeout = time.Duration(r.timeout) * time.Microsecond
	if r.fault != "" {
		r.Error = &host.JobError{}
	}
	return r.Job, errors.Join(object("progress", r.progress, &r.Progress), object("error", r.fault, r.Error))
}

// accept takes a scan's columns and, as arrays in order, those of its jobs.
// It returns the time.
const accept = `
with s as (
    insert into scans (id, tenant_id, type, project, archive, url, options)
    values ($1, $2, $3, $4, $5, $6, $7)
    returning id, tenant_id, created_at
), j as (
    insert into jobs (id, tenant_id, scan_id, ordinal, plugin, max_attempts, timeout_us)
    select j.id, s.tenant_id, s.id, j.n - 1, j.plugin, j.max_attempts, j.timeout_us
    from s, unnest($8::text[]::uuid[], $9::text[], $10::int[], $11::bigint[])
        with ordinality as j (id, plugin, max_attempts, timeout_us, n)
)
select created_at from s`

// Accept implements host.ScanStore.
func (s *Store) Accept(ctx context.Context, scan host.Scan) (host.Scan, error) {
	op := fmt.Sprintf("accept scan %s", scan.ID)
	scan, err := asAccepted(scan)
	if err != nil {
		return host.Scan{}, fmt.Errorf("%s: %w", op, err)
	}
	n := len(scan.Jobs)
	id, plugin, attempts, timeout := make([]string, n), make([]string, n), make([]int32, n), make([]int64, n)
	for i, j := range scan.Jobs {
		id[i], plugin[i], attempts[i], timeout[i] = string(j.ID), j.Plugin, int32(j.MaxAttempts), micros(j.Timeout)
	}
	var archive, url, options *string
	if scan.Input.Archive != nil {
		archive = new(encode(scan.Input.Archive))
	} else {
		url = &scan.Input.URL
	}
	if scan.Options != nil {
		options = new(string(scan.Options))
	}
	var now time.Time
	err = s.do(ctx, op, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, accept, string(scan.ID), string(scan.TenantID), scan.Type, scan.Project,
			archive, url, options, id, plugin, attempts, timeout).Scan(at(&now))
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

// asAccepted gives the scan as it will be read back, but for its times, and
// refuses what no later step could handle.
func asAccepted(in host.Scan) (host.Scan, error) {
	a := in.Input.Archive
	switch {
	case len(in.Jobs) == 0:
		return in, fmt.Errorf("a scan needs at least one job: %w", host.ErrInvalid)
	case (a == nil) == (in.Input.URL == ""):
		return in, fmt.Errorf("a scan needs either an archive or a URL: %w", host.ErrInvalid)
	case in.Options != nil && !json.Valid(in.Options):
		return in, fmt.Errorf("the options are not JSON: %w", host.ErrInvalid)
	case !isID(in.ID):
		return in, fmt.Errorf("scan id %.64q is not a UUID: %w", string(in.ID), host.ErrInvalid)
	case !isID(in.TenantID):
		return in, fmt.Errorf("tenant %.64q: %w", string(in.TenantID), host.ErrNotFound)
	}
	out := host.Scan{ID: in.ID, TenantID: in.TenantID, Type: clean(in.Type), Project: clean(in.Project),
		Input: host.Input{URL: clean(in.Input.URL)}, State: host.StateQueued}
	if in.Options != nil {
		out.Options = json.RawMessage(clean(string(in.Options)))
	}
	if a != nil {
		c := *a
		c.Blob, c.Filename = host.BlobKey(clean(string(a.Blob))), clean(a.Filename)
		c.Format, c.SHA256 = clean(a.Format), clean(a.SHA256)
		out.Input.Archive = &c
	}
	for _, j := range in.Jobs {
		if !isID(j.ID) || j.Plugin == "" || j.MaxAttempts < 1 || j.Timeout < time.Microsecond {
			return in, fmt.Errorf("job %.64q needs a UUID, a plugin, at least one attempt and a timeout: %w", string(j.ID), host.ErrInvalid)
		}
		out.Jobs = append(out.Jobs, host.Job{ID: j.ID, ScanID: in.ID, TenantID: in.TenantID, Plugin: clean(j.Plugin),
			State: host.StateQueued, MaxAttempts: j.MaxAttempts, Timeout: j.Timeout.Truncate(time.Microsecond)})
	}
	return out, nil
}

// scanWithJobs takes tenant and scan: one statement, so that a scan never
// contradicts its jobs. Every scan has at least one.
const scanWithJobs = `
select ` + scanColumns + `, ` + jobColumns + `
from scans s join jobs j on j.tenant_id = s.tenant_id and j.scan_id = s.id
where s.tenant_id = $1 and s.id = $2 order by j.ordinal`

func queueScan(b *pgx.Batch, t host.TenantID, id host.ScanID, out *host.Scan) {
	b.Queue(scanWithJobs, string(t), string(id)).Query(func(rows pgx.Rows) error {
		*out = host.Scan{}
		var jobs []host.Job
		for rows.Next() {
			var s scanRow
			var j jobRow
			if err := rows.Scan(append(s.dest(), j.dest()...)...); err != nil {
				return err
			}
			scan, serr := s.value()
			job, jerr := j.value()
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
	if !isID(t) || !isID(id) {
		return host.Scan{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.batch(ctx, op, func(b *pgx.Batch) { queueScan(b, t, id, &scan) })
	return scan, err
}

// scans takes tenant, type, project, state ("" for any), the id to continue
// behind or null, and a limit.
const scans = `
select ` + scanColumns + ` from scans s
where s.tenant_id = $1
  and ($2 = '' or s.type = $2) and ($3 = '' or s.project = $3) and ($4 = '' or s.state = $4)
  and ($5::uuid is null or s.id < $5::uuid)
order by s.id desc limit $6`

// Scans implements host.ScanStore.
func (s *Store) Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) (all []host.Scan, err error) {
	if !isID(t) {
		return nil, nil
	}
	var after *string
	if q.After != "" {
		if !isID(q.After) {
			return nil, fmt.Errorf("list scans: cursor %.64q is not a UUID: %w", string(q.After), host.ErrInvalid)
		}
		after = new(string(q.After))
	}
	err = s.do(ctx, "list scans", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, scans, string(t), clean(q.Type), clean(q.Project), clean(string(q.State)), after, limit(q.Limit, 50, 500))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, toScan)
		return err
	})
	return all, err
}

func limit(asked, usual, most int) int {
	if asked <= 0 {
		return usual
	}
	return min(asked, most)
}

// Cancel implements host.ScanStore.
func (s *Store) Cancel(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	op := fmt.Sprintf("cancel scan %.64q", string(id))
	if !isID(t) || !isID(id) {
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
