package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func (s *Store) tracking(ctx context.Context, t host.TenantID, scan host.ScanID) (*host.Tracking, error) {
	var r record.Tracking
	err := s.readers.QueryRowContext(ctx, `select `+record.TrackingColumns+` from scan_outcomes o where o.tenant_id = ? and o.scan_id = ?`,
		string(t), string(scan)).Scan(r.Dest(at)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return new(r.Value()), err
}

// GateFacts implements host.ProjectStore.
func (s *Store) GateFacts(ctx context.Context, scan host.Scan) (f host.GateFacts, err error) {
	if scan.Project == "" {
		return host.GateFacts{Against: scan.Counts}, nil
	}
	op := fmt.Sprintf("read the gate of scan %.64q", string(scan.ID))
	if f.Tracking, err = s.tracking(ctx, scan.TenantID, scan.ID); err != nil {
		return f, translate(ctx, op, err)
	}
	p, err := readProject(ctx, s.readers, scan.TenantID, scan.Project)
	if err != nil && !errors.Is(err, host.ErrNotFound) {
		return f, translate(ctx, op, err)
	}
	f.Project = p.Gate
	g := host.GateOf(scan, f)
	if f.Tracking == nil || g.FailOn == "" {
		return f, nil
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var rank, n int
		err := r.Scan(&rank, &n)
		f.Against.Add(host.Severities()[rank], n)
		return err
	}, `select o.severity, count(*) from observations o join project_findings f on f.id = o.project_finding_id
		where o.scan_id = ?1 and o.severity < ?2 and (not ?3 or o.state = 'new')
		  and not (f.triage in ('false_positive', 'accepted_risk') and (f.expires_at is null or f.expires_at > ?4))
		group by o.severity`, string(scan.ID), g.FailOn.Rank()+1, g.NewOnly, s.cfg.Now().UnixMicro())
	if err != nil {
		return f, translate(ctx, op, err)
	}
	return f, nil
}

// What a diff is made of: ?1 the scan, ?2 its base, ?3 as JSON the plugins of
// which it can be said that something is gone.
const (
	diffNew  = `from observations o where o.scan_id = ?1 and not exists (select 1 from observations b where b.project_finding_id = o.project_finding_id and b.scan_id = ?2)`
	diffGone = `from observations o join project_findings f on f.id = o.project_finding_id
where o.scan_id = ?2 and f.plugin in (select value from json_each(?3)) and not exists (select 1 from observations s where s.project_finding_id = o.project_finding_id and s.scan_id = ?1)`
	diffCounts = `
select (select count(*) ` + diffNew + `), (select count(*) ` + diffGone + `),
    (select count(*) from observations o where o.scan_id = ?1 and o.state = 'updated' and exists (select 1 from observations b where b.project_finding_id = o.project_finding_id and b.scan_id = ?2)),
    (select count(*) from observations o where o.scan_id = ?1)`
	diffItems = `
select d.state, ` + record.ProjectFindingColumns + `
from (
    select * from (select 'new' as state, o.severity as rank, o.project_finding_id as id ` + diffNew + ` order by o.severity, o.finding_id limit ?4)
    union all
    select * from (select 'absent', o.severity, o.project_finding_id ` + diffGone + ` order by o.severity, o.finding_id limit ?4)
) d join project_findings f on f.id = d.id join projects p on p.id = f.project_id
order by d.rank, d.state desc, f.id limit ?4`
)

// Diff implements host.ProjectStore.
func (s *Store) Diff(ctx context.Context, t host.TenantID, scan, base host.ScanID) (d host.Diff, err error) {
	op := fmt.Sprintf("compare scan %.64q", string(scan))
	head, err := s.Scan(ctx, t, scan)
	if err != nil {
		return d, err
	}
	found, err := s.tracking(ctx, t, scan)
	if err == nil && found == nil {
		err = fmt.Errorf("scan %s is not tracked: %w", scan, host.ErrConflict)
	}
	if err != nil {
		return d, translate(ctx, op, err)
	}
	implied := base == ""
	if implied {
		base = found.Base
	}
	if base == "" {
		return d, fmt.Errorf("%s: it is the first of its project: %w", op, host.ErrConflict)
	}
	old, err := s.Scan(ctx, t, base)
	if implied && errors.Is(err, host.ErrNotFound) {
		return d, fmt.Errorf("%s: the scan before it is gone: %w", op, host.ErrConflict)
	}
	if err != nil {
		return d, err
	}
	found, err = s.tracking(ctx, t, base)
	switch {
	case err != nil:
		return d, translate(ctx, op, err)
	case found == nil:
		return d, fmt.Errorf("%s: scan %s is not tracked: %w", op, base, host.ErrConflict)
	case old.Project != head.Project:
		return d, fmt.Errorf("%s: scan %s is of another project: %w", op, base, host.ErrConflict)
	}
	d = host.Diff{Base: base, Scan: scan}
	plugins, all := list(record.Comparable(head, old)), 0
	err = s.readers.QueryRowContext(ctx, diffCounts, string(scan), string(base), plugins).Scan(&d.New, &d.Absent, &d.Updated, &all)
	d.Unchanged = all - d.New - d.Updated
	if err == nil {
		err = rows(ctx, s.readers, func(r *sql.Rows) error {
			var item host.DiffItem
			var f record.ProjectFinding
			if err := r.Scan(append([]any{&item.State}, f.Dest(at)...)...); err != nil {
				return err
			}
			item.Finding, err = f.Value(s.cfg.Now())
			d.Items = append(d.Items, item)
			return err
		}, diffItems, string(scan), string(base), plugins, record.MaxDiff)
	}
	if err != nil {
		return host.Diff{}, translate(ctx, op, err)
	}
	return d, nil
}
