package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// addFindings stores findings of a leased job. Those that are there already
// stay: the caller may send a batch again whose answer it did not get.
func (tx tx) addFindings(ctx context.Context, j leased, batch []host.Finding) error {
	if len(batch) == 0 {
		return nil
	}
	put, err := tx.PrepareContext(ctx, `insert into findings (id, tenant_id, scan_id, job_id, lease_epoch,
			severity, rule_id, fingerprint, title, message, detail, created_at, spot, first_line, last_line)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (scan_id, severity, id) do nothing`)
	if err != nil {
		return err
	}
	defer func() { _ = put.Close() }()
	// A spot is kept, and indexed, only where another job of the scan may have found
	// something at it.
	var several bool
	if err := tx.QueryRowContext(ctx, `select count(*) > 1 from jobs where scan_id = ?`, string(j.scan)).Scan(&several); err != nil {
		return err
	}
	for _, f := range batch {
		var spot record.Spot
		if several {
			spot = record.SpotOf(f)
		}
		if !record.IsID(f.ID) {
			f.ID = host.NewFindingID()
		}
		_, err := put.ExecContext(ctx, string(f.ID), string(j.tenant), string(j.scan), string(j.id), j.epoch,
			f.Severity.Rank(), record.Clean(f.RuleID), record.Clean(f.Fingerprint), record.Clean(f.Title), record.Clean(f.Message), record.Detail(f), tx.now,
			spot.Key, spot.First, spot.Last)
		if err != nil {
			return err
		}
	}
	return nil
}

// AddFindings implements host.JobStore.
func (s *Store) AddFindings(ctx context.Context, l host.Lease, batch []host.Finding) error {
	return s.write(ctx, fmt.Sprintf("keep findings of job %.64q", string(l.Job)), func(ctx context.Context, tx tx) error {
		j, err := tx.leased(ctx, l)
		if err != nil {
			return err
		}
		return tx.addFindings(ctx, j, batch)
	})
}

// findings takes tenant, scan, the only rank or null, the rank and id to
// continue behind, a limit, and the only plugin or "".
const findings = `
select ` + record.ObservedColumns + `
from findings f
join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
left join observations o on o.scan_id = f.scan_id and o.severity = f.severity and o.finding_id = f.id
left join project_findings k on k.id = o.project_finding_id
where f.scan_id = ?2 and f.tenant_id = ?1 and (?3 is null or f.severity = ?3)
  and (?7 = '' or j.plugin = ?7) and (f.severity, f.id) > (?4, ?5)
order by f.severity, f.id limit ?6`

// others takes a scan, a spot with its lines, and the job of the finding that is
// at it, and the three bounds, and gives the findings of other plugins there.
const others = `
select j.plugin, c.rule_id, c.id
from (
    select id, job_id, lease_epoch, rule_id, last_line from findings
    where scan_id = ?1 and spot = ?2 and first_line between ?3 - ?6 and ?4 order by first_line limit ?7
) c join jobs j on j.id = c.job_id and j.result_epoch = c.lease_epoch
where c.job_id <> ?5 and c.last_line >= ?3 limit ?8`

// others finds for each finding of a page who else found it.
func (s *Store) others(ctx context.Context, scan host.ScanID, page []host.Finding) error {
	var several bool
	if err := s.readers.QueryRowContext(ctx, `select count(*) > 1 from jobs where scan_id = ?`, string(scan)).Scan(&several); err != nil || !several {
		return err
	}
	look, err := s.readers.PrepareContext(ctx, others)
	if err != nil {
		return err
	}
	defer func() { _ = look.Close() }()
	also := record.Others{}
	for _, f := range page {
		spot, ok := host.SpotOf(f)
		if !ok {
			continue
		}
		err := rows(ctx, prepared{look}, func(r *sql.Rows) error {
			var o host.Other
			err := r.Scan(&o.Plugin, &o.RuleID, &o.ID)
			also[f.ID] = append(also[f.ID], o)
			return err
		}, "", string(scan), spot.Key, spot.First, spot.Last, string(f.JobID), host.SpotReach, host.SpotLook, host.MaxOthers)
		if err != nil {
			return err
		}
	}
	also.Fill(page)
	return nil
}

// prepared is one statement, whatever it is asked.
type prepared struct{ *sql.Stmt }

func (p prepared) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return p.Stmt.QueryContext(ctx, args...)
}

// shownScan takes tenant and scan, and has a row when the tenant sees that.
const shownScan = `select 1 from scans where tenant_id = ? and id = ? and deletion_id is null`

// Findings implements host.ScanStore.
func (s *Store) Findings(ctx context.Context, t host.TenantID, id host.ScanID, q host.FindingQuery) (all []host.Finding, err error) {
	op := fmt.Sprintf("list findings of scan %.64q", string(id))
	after, err := record.Behind(q.After)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var only *int
	if q.Severity != "" {
		only = new(q.Severity.Rank())
	}
	var one int
	err = s.readers.QueryRowContext(ctx, shownScan, string(t), string(id)).Scan(&one)
	if err == nil {
		err = rows(ctx, s.readers, func(r *sql.Rows) error {
			f, err := toFinding(r, s.cfg.Now())
			all = append(all, f)
			return err
		}, findings, string(t), string(id), only, after.Rank, string(after.ID), record.Limit(q.Limit, 100, 1000), q.Plugin)
	}
	if err == nil {
		err = s.others(ctx, id, all)
	}
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	return all, nil
}

func toFinding(row *sql.Rows, now time.Time) (host.Finding, error) {
	var r record.Finding
	if err := row.Scan(r.Observe().Dest(at)...); err != nil {
		return host.Finding{}, err
	}
	return r.Value(now)
}
