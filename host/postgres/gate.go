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

// outcome takes tenant and scan.
const outcome = `select ` + record.TrackingColumns + ` from scan_outcomes o where o.tenant_id = $1 and o.scan_id = $2`

// against takes a scan, the worst rank that does not count, and whether only new
// findings do. It gives how many there are of each rank.
const against = `
select o.severity, count(*) from observations o join project_findings f on f.id = o.project_finding_id
where o.scan_id = $1 and o.severity < $2 and (not $3::bool or o.state = 'new')
  and not (f.triage in ('false_positive', 'accepted_risk') and (f.expires_at is null or f.expires_at > now()))
group by o.severity`

// GateFacts implements host.ProjectStore.
func (s *Store) GateFacts(ctx context.Context, scan host.Scan) (f host.GateFacts, err error) {
	if scan.Project == "" {
		return host.GateFacts{Against: scan.Counts}, nil
	}
	op := fmt.Sprintf("read the gate of scan %.64q", string(scan.ID))
	if !record.IsID(scan.TenantID) || !record.IsID(scan.ID) {
		return f, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	var outcomes []host.Tracking
	var projects []host.Project
	err = s.tenantRead(ctx, op, scan.TenantID, func(b *pgx.Batch) {
		queueAll(b, &outcomes, toTracking, outcome, string(scan.TenantID), string(scan.ID))
		queueAll(b, &projects, toProject, project, string(scan.TenantID), scan.Project)
	})
	if len(outcomes) > 0 {
		f.Tracking = &outcomes[0]
	}
	if len(projects) > 0 {
		f.Project = projects[0].Gate
	}
	g := host.GateOf(scan, f)
	if err != nil || f.Tracking == nil || g.FailOn == "" {
		return f, err
	}
	err = s.tenantRead(ctx, op, scan.TenantID, func(b *pgx.Batch) {
		b.Queue(against, string(scan.ID), int16(g.FailOn.Rank()+1), g.NewOnly).Query(func(rows pgx.Rows) error {
			f.Against = host.Counts{}
			var rank, n int
			_, err := pgx.ForEachRow(rows, []any{&rank, &n}, func() error { f.Against.Add(host.Severities()[rank], n); return nil })
			return err
		})
	})
	return f, err
}

func toTracking(row pgx.CollectableRow) (host.Tracking, error) {
	var r record.Tracking
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.Tracking{}, err
	}
	return r.Value(), nil
}

// What a diff is made of: $1 the scan, $2 its base, $3 the plugins of which it
// can be said that something is gone.
const (
	diffNew  = `from observations o where o.scan_id = $1 and not exists (select from observations b where b.project_finding_id = o.project_finding_id and b.scan_id = $2)`
	diffGone = `from observations o join project_findings f on f.id = o.project_finding_id
where o.scan_id = $2 and f.plugin = any($3::text[]) and not exists (select from observations s where s.project_finding_id = o.project_finding_id and s.scan_id = $1)`
	diffCounts = `
select (select count(*) ` + diffNew + `), (select count(*) ` + diffGone + `),
    (select count(*) from observations o where o.scan_id = $1 and o.state = 'updated' and exists (select from observations b where b.project_finding_id = o.project_finding_id and b.scan_id = $2)),
    (select count(*) from observations o where o.scan_id = $1)`
	diffItems = `
select d.state, now(), ` + record.ProjectFindingColumns + `
from (
    (select 'new' as state, o.severity as rank, o.project_finding_id as id ` + diffNew + ` order by o.severity, o.finding_id limit $4)
    union all
    (select 'absent', o.severity, o.project_finding_id ` + diffGone + ` order by o.severity, o.finding_id limit $4)
) d join project_findings f on f.id = d.id join projects p on p.id = f.project_id
order by d.rank, d.state desc, f.id limit $4`
)

// Diff implements host.ProjectStore.
func (s *Store) Diff(ctx context.Context, t host.TenantID, scan, base host.ScanID) (d host.Diff, err error) {
	op := fmt.Sprintf("compare scan %.64q", string(scan))
	head, err := s.Scan(ctx, t, scan)
	if err != nil {
		return d, err
	}
	tracked := func(id host.ScanID) (out host.Tracking, err error) {
		err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) { queueOne(b, &out, toTracking, outcome, string(t), string(id)) })
		if errors.Is(err, host.ErrNotFound) {
			err = fmt.Errorf("%s: scan %s is not tracked: %w", op, id, host.ErrConflict)
		}
		return out, err
	}
	found, err := tracked(scan)
	if err != nil {
		return d, err
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
		err = fmt.Errorf("%s: the scan before it is gone: %w", op, host.ErrConflict)
	}
	if err == nil {
		_, err = tracked(base)
	}
	if err == nil && old.Project != head.Project {
		err = fmt.Errorf("%s: scan %s is of another project: %w", op, base, host.ErrConflict)
	}
	if err != nil {
		return d, err
	}
	d = host.Diff{Base: base, Scan: scan}
	args := []any{string(scan), string(base), record.Comparable(head, old)}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(diffCounts, args...).QueryRow(func(row pgx.Row) error {
			var all int
			err := row.Scan(&d.New, &d.Absent, &d.Updated, &all)
			d.Unchanged = all - d.New - d.Updated
			return err
		})
		queueAll(b, &d.Items, toDiffItem, diffItems, append(args, record.MaxDiff)...)
	})
	return d, err
}

func toDiffItem(row pgx.CollectableRow) (item host.DiffItem, err error) {
	var r record.ProjectFinding
	var now time.Time
	if err := row.Scan(append([]any{&item.State, at(&now)}, r.Dest(at)...)...); err != nil {
		return item, err
	}
	item.Finding, err = r.Value(now)
	return item, err
}
