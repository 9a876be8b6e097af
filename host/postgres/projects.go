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

func toProject(row pgx.CollectableRow) (host.Project, error) {
	var r record.Project
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.Project{}, err
	}
	return r.Value(), nil
}

// Projects implements host.ProjectStore.
func (s *Store) Projects(ctx context.Context, t host.TenantID, after string, limit int) (all []host.Project, err error) {
	if !record.IsID(t) {
		return nil, nil
	}
	err = s.tenantRead(ctx, "list projects", t, func(b *pgx.Batch) {
		queueAll(b, &all, toProject, `select `+record.ProjectColumns+` from projects p
			where p.tenant_id = $1 and p.name > $2 and p.deletion_id is null order by p.name limit $3`,
			string(t), record.Clean(after), record.Limit(limit, 50, 500))
	})
	return all, err
}

// queueAll reads rows, and queueOne a single one: ErrNotFound when there is none.
func queueAll[T any](b *pgx.Batch, out *[]T, to pgx.RowToFunc[T], query string, args ...any) {
	b.Queue(query, args...).Query(func(rows pgx.Rows) (err error) {
		*out, err = pgx.CollectRows(rows, to)
		return err
	})
}

func queueOne[T any](b *pgx.Batch, out *T, to pgx.RowToFunc[T], query string, args ...any) {
	b.Queue(query, args...).Query(func(rows pgx.Rows) (err error) {
		*out, err = pgx.CollectExactlyOneRow(rows, to)
		return err
	})
}

// project takes tenant and name.
const project = `select ` + record.ProjectColumns + ` from projects p where p.tenant_id = $1 and p.name = $2 and p.deletion_id is null`

// Project implements host.ProjectStore.
func (s *Store) Project(ctx context.Context, t host.TenantID, name string) (p host.Project, err error) {
	op := fmt.Sprintf("read project %.64q", name)
	if !record.IsID(t) {
		return p, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) { queueOne(b, &p, toProject, project, string(t), record.Clean(name)) })
	return p, err
}

const (
	makeProject = `
insert into projects as p (id, tenant_id, name, fail_on, new_only) values ($3, $1, $2, $4, $5) on conflict do nothing returning ` + record.ProjectColumns
	setProject = `
update projects p set fail_on = $4, new_only = $5, version = p.version + 1 
where p.tenant_id = $1 and p.name = $2 and p.version = $3 and p.deletion_id is null returning ` + record.ProjectColumns
)

// SetProject implements host.ProjectStore.
func (s *Store) SetProject(ctx context.Context, t host.TenantID, name string, version int, g host.Gate) (p host.Project, err error) {
	op := fmt.Sprintf("set project %.64q", name)
	if !record.IsID(t) {
		return p, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	if err := g.Check(); err != nil {
		return p, fmt.Errorf("%s: %w", op, err)
	}
	name = record.Clean(name)
	statement, third := setProject, any(version)
	if version == 0 {
		statement, third = makeProject, string(host.NewProjectID())
	}
	var set []host.Project
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		queueAll(b, &set, toProject, statement, string(t), name, third, record.FailOn(g), g.NewOnly)
	})
	switch {
	case err != nil:
		return p, err
	case len(set) == 1:
		return set[0], nil
	case version == 0:
		return p, fmt.Errorf("%s: %w", op, host.ErrConflict)
	}
	there, err := s.Project(ctx, t, name)
	if err != nil {
		return p, err
	}
	return p, fmt.Errorf("%s: it has version %d: %w", op, there.Version, host.ErrStale)
}

// examined takes tenant, project, the places behind and up to which a page is, as
// rank and id, and an offset. It gives where a page ends that looks at all it may.
const examined = `
select severity, id from project_findings
where tenant_id = $1 and project_id = $2 and (severity, id) > ($3::smallint, $4::uuid) and (severity, id) <= ($5::smallint, $6::uuid)
order by severity, id offset $7 limit 1`

// projectFindings takes what examined takes but the offset, filters, and a limit.
const projectFindings = `
select now(), ` + record.ProjectFindingColumns + `
from project_findings f join projects p on p.id = f.project_id
where f.tenant_id = $1 and f.project_id = $2
  and (f.severity, f.id) > ($3::smallint, $4::uuid) and (f.severity, f.id) <= ($5::smallint, $6::uuid)
  and ($7 = '' or f.state = $7) and ($8 = '' or f.plugin = $8) and ($9 = '' or f.rule_id = $9) and ($10 = '' or starts_with(f.place, $10))
  and ($11 = '' or $11 = case when f.triage in ('false_positive', 'accepted_risk') and f.expires_at <= now() then 'open' else f.triage end)
order by f.severity, f.id limit $12`

// ProjectFindings implements host.ProjectStore.
func (s *Store) ProjectFindings(ctx context.Context, t host.TenantID, project string, q host.ProjectFindingQuery) (page host.ProjectFindingPage, err error) {
	op := fmt.Sprintf("list findings of project %.64q", project)
	after, last, err := record.PageBounds(q)
	if err != nil {
		return page, fmt.Errorf("%s: %w", op, err)
	}
	p, err := s.Project(ctx, t, project)
	if err != nil {
		return page, err
	}
	limit := record.Limit(q.Limit, 100, 1000)
	end, seen := last, 0
	if record.Sifts(q) {
		err := s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
			b.Queue(examined, string(t), string(p.ID), int16(after.Rank), string(after.ID), int16(last.Rank), string(last.ID), record.MaxExamined-1).
				QueryRow(func(row pgx.Row) error { return row.Scan(&end.Rank, &end.ID) })
		})
		if err == nil {
			seen = record.MaxExamined
		} else if !errors.Is(err, host.ErrNotFound) {
			return page, err
		}
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		queueAll(b, &page.Items, toProjectFinding, projectFindings, string(t), string(p.ID), int16(after.Rank), string(after.ID), int16(end.Rank), string(end.ID),
			string(q.State), record.Clean(q.Plugin), record.Clean(q.Rule), record.Clean(q.Path), string(q.Triage), limit)
	})
	page.Next = record.NextPage(page.Items, limit, seen, end)
	return page, err
}

func toProjectFinding(row pgx.CollectableRow) (host.ProjectFinding, error) {
	var r record.ProjectFinding
	var now time.Time
	if err := row.Scan(append([]any{at(&now)}, r.Dest(at)...)...); err != nil {
		return host.ProjectFinding{}, err
	}
	return r.Value(now)
}

const projectFinding = `
select now(), ` + record.ProjectFindingColumns + ` from project_findings f join projects p on p.id = f.project_id
where f.tenant_id = $1 and f.id = $2 and p.deletion_id is null`

// ProjectFinding implements host.ProjectStore.
func (s *Store) ProjectFinding(ctx context.Context, t host.TenantID, id host.ProjectFindingID) (f host.ProjectFinding, history []host.SaidThen, err error) {
	op := fmt.Sprintf("read finding %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return f, nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		queueOne(b, &f, toProjectFinding, projectFinding, string(t), string(id))
		// The newest, in the order in which they were said.
		b.Queue(`select triage, reason, author, expires_at, at from (
				select * from finding_history where tenant_id = $1 and project_finding_id = $2 order by id desc limit 500) h order by id`,
			string(t), string(id)).Query(func(rows pgx.Rows) error {
			history = nil
			var h host.SaidThen
			_, err := pgx.ForEachRow(rows, []any{&h.Triage, &h.Reason, &h.Author, at(&h.ExpiresAt), at(&h.At)}, func() error {
				history = append(history, h)
				return nil
			})
			return err
		})
	})
	return f, history, err
}

// say takes tenant, findings and an id for a line of each one's history as
// arrays, triage, reason, author, when it ends or null, the project that they
// must be of or null, and the version that they must have or 0.
const (
	say = `
with n as (
    select * from unnest($2::text[]::uuid[], $3::text[]::uuid[]) as n (id, line)
), said as (
    update project_findings f set triage = $4, reason = $5, author = $6, expires_at = $7::timestamptz, triaged_at = now(), version = f.version + 1
    from n where f.tenant_id = $1::uuid and f.id = n.id and ($8::uuid is null or f.project_id = $8::uuid) and ($9::int = 0 or f.version = $9::int)
    returning f.id, n.line
), noted as (
    insert into finding_history (id, tenant_id, project_finding_id, author, triage, reason, expires_at)
    select line, $1::uuid, id, $6, $4, $5, $7::timestamptz from said returning 1
)`
	countSaid = ` select count(*) from noted`
)

// Triage implements host.ProjectStore.
func (s *Store) Triage(ctx context.Context, t host.TenantID, id host.ProjectFindingID, version int, said host.Said) (f host.ProjectFinding, err error) {
	op := fmt.Sprintf("triage finding %.64q", string(id))
	n, err := s.say(ctx, op, t, []host.ProjectFindingID{id}, nil, version, said)
	if err != nil {
		return f, err
	}
	f, _, err = s.ProjectFinding(ctx, t, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: it has version %d: %w", op, f.Version, host.ErrStale)
	}
	return f, err
}

// TriageMany implements host.ProjectStore.
func (s *Store) TriageMany(ctx context.Context, t host.TenantID, project string, all []host.ProjectFindingID, said host.Said) (int, error) {
	op := fmt.Sprintf("triage %d findings", len(all))
	if len(all) > host.MaxTriage {
		return 0, fmt.Errorf("%s: at most %d at once: %w", op, host.MaxTriage, host.ErrInvalid)
	}
	p, err := s.Project(ctx, t, project)
	if err != nil {
		return 0, err
	}
	return s.say(ctx, op, t, all, new(string(p.ID)), 0, said)
}

func (s *Store) say(ctx context.Context, op string, t host.TenantID, all []host.ProjectFindingID, project *string, version int, said host.Said) (n int, err error) {
	list := record.Unique(ids(all))
	if !record.IsID(t) {
		return 0, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	lines := make([]string, len(list))
	for i := range lines {
		lines[i] = string(host.NewFindingID())
	}
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`select now()`).QueryRow(func(row pgx.Row) error {
			var now time.Time
			if err := row.Scan(at(&now)); err != nil {
				return err
			}
			return said.Check(now)
		})
	})
	if err != nil {
		return 0, err
	}
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		if project != nil { // several findings: see Track
			b.Queue(`select 1 from projects where tenant_id = $1 and id = $2 for share`, string(t), *project)
		}
		b.Queue(say+countSaid, string(t), list, lines, string(said.Triage), record.Clean(said.Reason), record.Clean(said.Author),
			orNull(said.ExpiresAt), project, version).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	})
	return n, err
}
