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

func readProjects(ctx context.Context, db querier, where string, args ...any) (all []host.Project, err error) {
	err = rows(ctx, db, func(r *sql.Rows) error {
		var p record.Project
		err := r.Scan(p.Dest(at)...)
		all = append(all, p.Value())
		return err
	}, `select `+record.ProjectColumns+` from projects p where `+where, args...)
	return all, err
}

func readProject(ctx context.Context, db querier, t host.TenantID, name string) (host.Project, error) {
	all, err := readProjects(ctx, db, `p.tenant_id = ? and p.name = ? and p.deletion_id is null`, string(t), record.Clean(name))
	if err != nil || len(all) == 0 {
		return host.Project{}, errors.Join(err, host.ErrNotFound)
	}
	return all[0], nil
}

// Projects implements host.ProjectStore.
func (s *Store) Projects(ctx context.Context, t host.TenantID, after string, limit int) ([]host.Project, error) {
	all, err := readProjects(ctx, s.readers, `p.tenant_id = ? and p.name > ? and p.deletion_id is null order by p.name limit ?`, string(t), record.Clean(after), record.Limit(limit, 50, 500))
	if err != nil {
		return nil, translate(ctx, "list projects", err)
	}
	return all, nil
}

// Project implements host.ProjectStore.
func (s *Store) Project(ctx context.Context, t host.TenantID, name string) (host.Project, error) {
	p, err := readProject(ctx, s.readers, t, name)
	if err != nil {
		return p, translate(ctx, fmt.Sprintf("read project %.64q", name), err)
	}
	return p, nil
}

// SetProject implements host.ProjectStore.
func (s *Store) SetProject(ctx context.Context, t host.TenantID, name string, version int, g host.Gate) (p host.Project, err error) {
	op := fmt.Sprintf("set project %.64q", name)
	if err := g.Check(); err != nil {
		return p, fmt.Errorf("%s: %w", op, err)
	}
	name = record.Clean(name)
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		p, err = readProject(ctx, tx, t, name)
		switch {
		case version == 0 && err == nil:
			return host.ErrConflict
		case version == 0 && errors.Is(err, host.ErrNotFound):
			_, err = tx.ExecContext(ctx, `insert into projects (id, tenant_id, name, created_at, fail_on, new_only) values (?, ?, ?, ?, ?, ?)`,
				string(host.NewProjectID()), string(t), name, tx.now, record.FailOn(g), g.NewOnly)
		case err == nil && p.Version != version:
			return fmt.Errorf("it has version %d: %w", p.Version, host.ErrStale)
		case err == nil:
			_, err = tx.ExecContext(ctx, `update projects set fail_on = ?, new_only = ?, version = version + 1 where tenant_id = ? and id = ?`,
				record.FailOn(g), g.NewOnly, string(t), string(p.ID))
		}
		if err == nil {
			p, err = readProject(ctx, tx, t, name)
		}
		return err
	})
	if err != nil {
		return host.Project{}, err
	}
	return p, nil
}

// examined takes tenant, project, the places behind and up to which a page is, as
// rank and id, and an offset. It gives where a page ends that looks at all it may.
const examined = `
select severity, id from project_findings
where tenant_id = ?1 and project_id = ?2 and (severity, id) > (?3, ?4) and (severity, id) <= (?5, ?6)
order by severity, id limit 1 offset ?7`

// projectFindings takes what examined takes but the offset, filters, the time,
// and a limit.
const projectFindings = `
select ` + record.ProjectFindingColumns + `
from project_findings f join projects p on p.id = f.project_id
where f.tenant_id = ?1 and f.project_id = ?2 and (f.severity, f.id) > (?3, ?4) and (f.severity, f.id) <= (?5, ?6)
  and (?7 = '' or f.state = ?7) and (?8 = '' or f.plugin = ?8) and (?9 = '' or f.rule_id = ?9) and (?10 = '' or substr(f.place, 1, length(?10)) = ?10)
  and (?11 = '' or ?11 = iif(f.triage in ('false_positive', 'accepted_risk') and f.expires_at <= ?12, 'open', f.triage))
order by f.severity, f.id limit ?13`

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
	limit, now := record.Limit(q.Limit, 100, 1000), s.cfg.Now()
	end, seen := last, 0
	if record.Sifts(q) {
		err := s.readers.QueryRowContext(ctx, examined, string(t), string(p.ID), after.Rank, string(after.ID), last.Rank, string(last.ID), record.MaxExamined-1).
			Scan(&end.Rank, &end.ID)
		if err == nil {
			seen = record.MaxExamined
		} else if !errors.Is(err, sql.ErrNoRows) {
			return page, translate(ctx, op, err)
		}
	}
	page.Items, err = readProjectFindings(ctx, s.readers, now, projectFindings, string(t), string(p.ID), after.Rank, string(after.ID), end.Rank, string(end.ID),
		string(q.State), record.Clean(q.Plugin), record.Clean(q.Rule), record.Clean(q.Path), string(q.Triage), now.UnixMicro(), limit)
	if err != nil {
		return page, translate(ctx, op, err)
	}
	page.Next = record.NextPage(page.Items, limit, seen, end)
	return page, nil
}

func readProjectFindings(ctx context.Context, db querier, now time.Time, query string, args ...any) (all []host.ProjectFinding, err error) {
	err = rows(ctx, db, func(r *sql.Rows) error {
		var f record.ProjectFinding
		if err := r.Scan(f.Dest(at)...); err != nil {
			return err
		}
		v, err := f.Value(now)
		all = append(all, v)
		return err
	}, query, args...)
	return all, err
}

func (s *Store) projectFinding(ctx context.Context, db querier, t host.TenantID, id host.ProjectFindingID) (host.ProjectFinding, error) {
	all, err := readProjectFindings(ctx, db, s.cfg.Now(), `select `+record.ProjectFindingColumns+`
		from project_findings f join projects p on p.id = f.project_id where f.tenant_id = ? and f.id = ? and p.deletion_id is null`, string(t), string(id))
	if err != nil || len(all) == 0 {
		return host.ProjectFinding{}, errors.Join(err, host.ErrNotFound)
	}
	return all[0], nil
}

// ProjectFinding implements host.ProjectStore.
func (s *Store) ProjectFinding(ctx context.Context, t host.TenantID, id host.ProjectFindingID) (f host.ProjectFinding, history []host.SaidThen, err error) {
	f, err = s.projectFinding(ctx, s.readers, t, id)
	if err == nil { // the newest, in the order in which they were said
		err = rows(ctx, s.readers, func(r *sql.Rows) error {
			var h host.SaidThen
			err := r.Scan(&h.Triage, &h.Reason, &h.Author, at(&h.ExpiresAt), at(&h.At))
			history = append(history, h)
			return err
		}, `select triage, reason, author, expires_at, at from (
				select * from finding_history where tenant_id = ? and project_finding_id = ? order by id desc limit 500) order by id`, string(t), string(id))
	}
	if err != nil {
		return host.ProjectFinding{}, nil, translate(ctx, fmt.Sprintf("read finding %.64q", string(id)), err)
	}
	return f, history, nil
}

// say notes what is said of findings: of a project's only, unless that is nil,
// and of those of a version only, unless that is 0. It returns how many there
// were.
func (tx tx) say(ctx context.Context, t host.TenantID, all []host.ProjectFindingID, project *string, version int, said host.Said) (n int, err error) {
	reason, author := record.Clean(said.Reason), record.Clean(said.Author)
	done := map[host.ProjectFindingID]bool{}
	for _, id := range all {
		if done[id] {
			continue
		}
		done[id] = true
		r, err := tx.ExecContext(ctx, `update project_findings set triage = ?3, reason = ?4, author = ?5, expires_at = ?6, triaged_at = ?7, version = version + 1
			where tenant_id = ?1 and id = ?2 and (?8 is null or project_id = ?8) and (?9 = 0 or version = ?9)`,
			string(t), string(id), string(said.Triage), reason, author, orNull(said.ExpiresAt), tx.now, project, version)
		if err != nil {
			return n, err
		}
		if changed, err := r.RowsAffected(); err != nil || changed == 0 {
			if err != nil {
				return n, err
			}
			continue
		}
		n++
		_, err = tx.ExecContext(ctx, `insert into finding_history (id, tenant_id, project_finding_id, at, author, triage, reason, expires_at) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			string(host.NewFindingID()), string(t), string(id), tx.now, author, string(said.Triage), reason, orNull(said.ExpiresAt))
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Triage implements host.ProjectStore.
func (s *Store) Triage(ctx context.Context, t host.TenantID, id host.ProjectFindingID, version int, said host.Said) (f host.ProjectFinding, err error) {
	err = s.write(ctx, fmt.Sprintf("triage finding %.64q", string(id)), func(ctx context.Context, tx tx) error {
		if err := said.Check(time.UnixMicro(tx.now)); err != nil {
			return err
		}
		n, err := tx.say(ctx, t, []host.ProjectFindingID{id}, nil, version, said)
		if err != nil {
			return err
		}
		if f, err = s.projectFinding(ctx, tx, t, id); err == nil && n == 0 {
			err = fmt.Errorf("it has version %d: %w", f.Version, host.ErrStale)
		}
		return err
	})
	return f, err
}

// TriageMany implements host.ProjectStore.
func (s *Store) TriageMany(ctx context.Context, t host.TenantID, project string, all []host.ProjectFindingID, said host.Said) (n int, err error) {
	op := fmt.Sprintf("triage %d findings", len(all))
	if len(all) > host.MaxTriage {
		return 0, fmt.Errorf("%s: at most %d at once: %w", op, host.MaxTriage, host.ErrInvalid)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		if err := said.Check(time.UnixMicro(tx.now)); err != nil {
			return err
		}
		p, err := readProject(ctx, tx, t, project)
		if err != nil {
			return err
		}
		n, err = tx.say(ctx, t, all, new(string(p.ID)), 0, said)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// dropProjectFindings removes some of a tenant's, which go with no scan.
func (s *Store) dropProjectFindings(ctx context.Context, t string) (out host.Dropped, err error) {
	err = s.write(ctx, "remove the findings of a tenant's projects", func(ctx context.Context, tx tx) error {
		r, err := tx.ExecContext(ctx, `delete from project_findings where id in (select id from project_findings where tenant_id = ? order by tenant_id, id limit ?)`,
			t, record.DropRows)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		out = host.Dropped{Findings: int(n), More: n > 0}
		return err
	})
	return out, err
}
