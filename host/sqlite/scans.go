package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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

// Accept implements host.ScanStore.
func (s *Store) Accept(ctx context.Context, scan host.Scan) (host.Scan, error) {
	op := fmt.Sprintf("accept scan %s", scan.ID)
	scan, err := asAccepted(scan)
	if err != nil {
		return host.Scan{}, fmt.Errorf("%s: %w", op, err)
	}
	var archive, target, options *string
	if scan.Input.Archive != nil {
		archive = new(encode(scan.Input.Archive))
	} else {
		target = &scan.Input.URL
	}
	if scan.Options != nil {
		options = new(string(scan.Options))
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `insert into scans (id, tenant_id, type, project, archive, url, options, created_at)
			values (?, ?, ?, ?, ?, ?, ?, ?)`,
			string(scan.ID), string(scan.TenantID), scan.Type, scan.Project, archive, target, options, tx.now)
		if err != nil {
			return err
		}
		scan.CreatedAt = time.UnixMicro(tx.now).UTC()
		for i := range scan.Jobs {
			j := &scan.Jobs[i]
			_, err := tx.ExecContext(ctx, `insert into jobs
				(id, tenant_id, scan_id, ordinal, plugin, max_attempts, timeout_us, created_at, run_at)
				values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				string(j.ID), string(j.TenantID), string(j.ScanID), i, j.Plugin, j.MaxAttempts, micros(j.Timeout), tx.now, tx.now)
			if err != nil {
				return err
			}
			j.CreatedAt, j.RunAt = scan.CreatedAt, scan.CreatedAt
		}
		return nil
	})
	if err != nil {
		return host.Scan{}, err
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
from scans s join jobs j on j.scan_id = s.id and j.tenant_id = s.tenant_id
where s.tenant_id = ? and s.id = ? order by j.ordinal`

func readScan(ctx context.Context, db querier, t host.TenantID, id host.ScanID) (out host.Scan, err error) {
	var jobs []host.Job
	err = rows(ctx, db, func(r *sql.Rows) error {
		var s scanRow
		var j jobRow
		if err := r.Scan(append(s.dest(), j.dest()...)...); err != nil {
			return err
		}
		scan, serr := s.value()
		job, jerr := j.value()
		out, jobs = scan, append(jobs, job)
		return errors.Join(serr, jerr)
	}, scanWithJobs, string(t), string(id))
	if err == nil && len(jobs) == 0 {
		err = host.ErrNotFound
	}
	out.Jobs = jobs
	return out, err
}

// Scan implements host.ScanStore.
func (s *Store) Scan(ctx context.Context, t host.TenantID, id host.ScanID) (host.Scan, error) {
	scan, err := readScan(ctx, s.readers, t, id)
	if err != nil {
		return host.Scan{}, translate(ctx, fmt.Sprintf("read scan %.64q", string(id)), err)
	}
	return scan, nil
}

// scans takes tenant, type, project, state ("" for any), the id to continue
// behind ("" for none), and a limit.
const scans = `
select ` + scanColumns + ` from scans s
where s.tenant_id = ?1
  and (?2 = '' or s.type = ?2) and (?3 = '' or s.project = ?3) and (?4 = '' or s.state = ?4)
  and (?5 = '' or s.id < ?5)
order by s.id desc limit ?6`

// Scans implements host.ScanStore.
func (s *Store) Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) (all []host.Scan, err error) {
	if q.After != "" && !isID(q.After) {
		return nil, fmt.Errorf("list scans: cursor %.64q is not a UUID: %w", string(q.After), host.ErrInvalid)
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var row scanRow
		if err := r.Scan(row.dest()...); err != nil {
			return err
		}
		scan, err := row.value()
		all = append(all, scan)
		return err
	}, scans, string(t), clean(q.Type), clean(q.Project), clean(string(q.State)), string(q.After), limit(q.Limit, 50, 500))
	if err != nil {
		return nil, translate(ctx, "list scans", err)
	}
	return all, nil
}

func limit(asked, usual, most int) int {
	if asked <= 0 {
		return usual
	}
	return min(asked, most)
}

// Cancel implements host.ScanStore.
func (s *Store) Cancel(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	err = s.write(ctx, fmt.Sprintf("cancel scan %.64q", string(id)), func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `update scans set cancel_requested_at = coalesce(cancel_requested_at, ?)
			where tenant_id = ? and id = ? and state in ('queued', 'running')`, tx.now, string(t), string(id))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `update jobs set state = 'canceled', finished_at = ?, dispatched_at = null
			where tenant_id = ? and scan_id = ? and state = 'queued'`, tx.now, string(t), string(id))
		if err != nil {
			return err
		}
		if err := tx.derive(ctx, []host.ScanID{id}); err != nil {
			return err
		}
		scan, err = readScan(ctx, tx, t, id)
		if err == nil && scan.State.Final() && scan.State != host.StateCanceled {
			return fmt.Errorf("it is %s: %w", scan.State, host.ErrConflict)
		}
		return err
	})
	if err != nil {
		return host.Scan{}, err
	}
	return scan, nil
}
