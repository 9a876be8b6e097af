package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Accept implements host.ScanStore.
func (s *Store) Accept(ctx context.Context, scans []host.Scan, quotas map[host.TenantID]host.Quota) ([]host.Scan, error) {
	if len(scans) == 0 {
		return nil, nil
	}
	out, op, err := record.AllAccepted(scans)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		if err := tx.repeated(ctx, out); err != nil {
			return err
		}
		if err := tx.takeRoom(ctx, out, quotas); err != nil {
			return err
		}
		for _, scan := range out {
			if err := tx.accept(ctx, scan); err != nil {
				return err
			}
		}
		record.Stamp(out, time.UnixMicro(tx.now).UTC())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (tx tx) accept(ctx context.Context, scan host.Scan) error {
	archive, target, options := record.Input(scan)
	_, err := tx.ExecContext(ctx, `insert into scans (id, tenant_id, type, project, priority, archive, archive_blob, url, options, gate, secrets, secret_options, created_at)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		string(scan.ID), string(scan.TenantID), scan.Type, scan.Project, scan.Priority.Rank(), archive, record.Blob(scan), target, options, record.Gate(scan),
		scan.Secrets, record.SecretOptions(scan), tx.now)
	if err != nil {
		return err
	}
	if data := record.ArchiveData(scan); data != nil {
		if _, err := tx.ExecContext(ctx, `insert into archives (scan_id, data) values (?, ?)`, string(scan.ID), data); err != nil {
			return err
		}
	}
	if err := tx.keepRequest(ctx, scan); err != nil {
		return err
	}
	for i, j := range scan.Jobs {
		_, err := tx.ExecContext(ctx, `insert into jobs
			(id, tenant_id, scan_id, scan_type, ordinal, plugin, max_attempts, timeout_us, max_findings, max_artifacts, priority, created_at, run_at)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			string(j.ID), string(j.TenantID), string(j.ScanID), scan.Type, i, j.Plugin, j.MaxAttempts, record.Micros(j.Timeout),
			j.Findings, j.Artifacts,
			scan.Priority.Rank(), tx.now, tx.now)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `insert into lanes (tenant_id, plugin, scan_type, priority, since) values (?, ?, ?, ?, ?)
			on conflict do update set wake_at = 0 where wake_at > 0`, string(j.TenantID), j.Plugin, scan.Type, scan.Priority.Rank(), tx.now)
		if err != nil {
			return err
		}
	}
	return nil
}

// scanWithJobs takes tenant and scan: one statement, so that a scan never
// contradicts its jobs. Every scan has at least one.
const scanWithJobs = `
select ` + record.ScanColumns + `, ` + record.JobColumns + `
from scans s join jobs j on j.scan_id = s.id and j.tenant_id = s.tenant_id
where s.tenant_id = ? and s.id = ? and s.deletion_id is null order by j.ordinal`

func readScan(ctx context.Context, db querier, t host.TenantID, id host.ScanID) (out host.Scan, err error) {
	var jobs []host.Job
	err = rows(ctx, db, func(r *sql.Rows) error {
		var s record.Scan
		var j record.Job
		if err := r.Scan(append(s.Dest(at), j.Dest(at)...)...); err != nil {
			return err
		}
		scan, serr := s.Value()
		job, jerr := j.Value()
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
select ` + record.ScanColumns + ` from scans s
where s.tenant_id = ?1 and s.deletion_id is null
  and (?2 = '' or s.type = ?2) and (?3 = '' or s.project = ?3) and (?4 = '' or s.state = ?4)
  and (?5 = '' or s.id < ?5)
order by s.id desc limit ?6`

// Scans implements host.ScanStore.
func (s *Store) Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) (all []host.Scan, err error) {
	if q.After != "" && !record.IsID(q.After) {
		return nil, fmt.Errorf("list scans: cursor %.64q is not a UUID: %w", string(q.After), host.ErrInvalid)
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var row record.Scan
		if err := r.Scan(row.Dest(at)...); err != nil {
			return err
		}
		scan, err := row.Value()
		all = append(all, scan)
		return err
	}, scans, string(t), record.Clean(q.Type), record.Clean(q.Project), record.Clean(string(q.State)), string(q.After), record.Limit(q.Limit, 50, 500))
	if err != nil {
		return nil, translate(ctx, "list scans", err)
	}
	return all, nil
}

// Cancel implements host.ScanStore.
func (s *Store) Cancel(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	err = s.write(ctx, fmt.Sprintf("cancel scan %.64q", string(id)), func(ctx context.Context, tx tx) error {
		if err := tx.cancel(ctx, t, id); err != nil {
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

// cancel asks for a scan's end, whoever may see it.
func (tx tx) cancel(ctx context.Context, t host.TenantID, id host.ScanID) error {
	// Of a scan that has not started every job is queued, so it ends now.
	if err := tx.leaveQueue(ctx, "cancel", `tenant_id = ? and id = ?`, string(t), string(id)); err != nil {
		return err
	}
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
	return tx.derive(ctx, []host.ScanID{id})
}
