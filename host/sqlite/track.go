package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/identity"
	"github.com/securetaghq/securetag/host/internal/record"
	"github.com/securetaghq/securetag/host/internal/track"
)

// tracking is one transaction.
type tracking struct {
	tx
	scan    host.Scan
	project string // its id
	last    *string
	lastAt  time.Time
	held    int
}

// Track implements host.ProjectStore. It is asked every second, so it looks
// before it takes the writer.
func (s *Store) Track(ctx context.Context, most int) (out *host.Tracking, err error) {
	const op = "track the findings of a scan"
	var waits bool
	if err := s.readers.QueryRowContext(ctx, `select exists (select 1 from untracked_scans u join scans s on s.id = u.scan_id where u.due_at <= ? and s.deletion_id is null)`, s.cfg.Now().UnixMicro()).Scan(&waits); err != nil {
		return nil, translate(ctx, op, err)
	}
	if !waits {
		return nil, nil
	}
	var picked string
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		var tenant, project string
		err := tx.QueryRowContext(ctx, `select u.scan_id, u.tenant_id, s.project from untracked_scans u join scans s on s.id = u.scan_id
			where u.due_at <= ? and s.deletion_id is null order by u.due_at, u.scan_id limit 1`, tx.now).Scan(&picked, &tenant, &project)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		t := tracking{tx: tx}
		if err := t.open(ctx, tenant, picked, project); err != nil {
			return err
		}
		out, err = t.track(ctx, most)
		return err
	})
	if err != nil && picked != "" && ctx.Err() == nil { // others come first
		err = errors.Join(err, s.write(ctx, "put a scan off", func(ctx context.Context, tx tx) error {
			_, err := tx.ExecContext(ctx, `update untracked_scans set due_at = ? where scan_id = ?`, tx.now+time.Minute.Microseconds(), picked)
			return err
		}))
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// open makes the project for its first scan, and reads the scan.
func (t *tracking) open(ctx context.Context, tenant, scan, project string) (err error) {
	_, err = t.ExecContext(ctx, `insert into projects (id, tenant_id, name, created_at) values (?, ?, ?, ?) on conflict do nothing`,
		string(host.NewProjectID()), tenant, project, t.now)
	if err != nil {
		return err
	}
	err = t.QueryRowContext(ctx, `select id, held, last_scan, last_at from projects where tenant_id = ? and name = ? and deletion_id is null`, tenant, project).
		Scan(&t.project, &t.held, &t.last, at(&t.lastAt))
	if err != nil {
		return err
	}
	t.scan, err = readScan(ctx, t.tx, host.TenantID(tenant), host.ScanID(scan))
	return err
}

func (t *tracking) track(ctx context.Context, most int) (*host.Tracking, error) {
	if !t.scan.State.Final() { // it was opened again, and will be noted again
		return nil, t.done(ctx)
	}
	loaded, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	c := track.Plan(loaded)
	// First what is back, which is absent until then.
	for _, p := range c.Update {
		if err := t.update(ctx, p); err != nil {
			return nil, err
		}
	}
	if over := t.held + len(c.Insert) - most; over > 0 {
		gone, err := t.evict(ctx, over)
		if err != nil {
			return nil, err
		}
		t.held -= gone
	}
	c.Fit(most - t.held)
	return t.write(ctx, c)
}

func (t *tracking) done(ctx context.Context) error {
	_, err := t.ExecContext(ctx, `delete from untracked_scans where scan_id = ?`, string(t.scan.ID))
	return err
}

func (t *tracking) load(ctx context.Context) (l track.Loaded, err error) {
	l.Scan = t.scan
	err = rows(ctx, t.tx, func(r *sql.Rows) error {
		var o record.Observe
		if err := r.Scan(o.Dest()...); err != nil {
			return err
		}
		seen, err := o.Value()
		l.Seen = append(l.Seen, seen)
		return err
	}, `select `+record.ObserveColumns+`
		from findings f join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
		where f.scan_id = ? and not exists (
			select 1 from observations o where o.scan_id = f.scan_id and o.severity = f.severity and o.finding_id = f.id)`, string(t.scan.ID))
	if err != nil {
		return l, err
	}
	err = rows(ctx, t.tx, func(r *sql.Rows) error {
		var k track.Known
		err := r.Scan(&k.ID, &k.Plugin, &k.Rule, &k.Fingerprint, &k.Occurrence, &k.Content, &k.Line, &k.Digest,
			&k.Absent, &k.Decided.At, &k.Decided.Scan, &k.Scope, &k.Triage, &k.LastScan)
		l.Known = append(l.Known, k)
		return err
	}, `select id, plugin, rule_id, fingerprint, occurrence, content, line, digest, state = 'absent', decided_at, decided_scan, scope, triage, last_scan
		from project_findings where tenant_id = ? and project_id = ? and plugin in (select value from json_each(?))`,
		string(t.scan.TenantID), t.project, list(track.Delivered(t.scan)))
	if err != nil {
		return l, err
	}
	err = rows(ctx, t.tx, func(r *sql.Rows) error {
		var run track.Run
		err := r.Scan(&run.Plugin, &run.Scope, &run.At.At, &run.At.Scan)
		l.Runs = append(l.Runs, run)
		return err
	}, `select plugin, scope, complete_at, complete_scan from project_runs where tenant_id = ? and project_id = ?`,
		string(t.scan.TenantID), t.project)
	return l, err
}

// evict removes absent findings that nobody said anything of, the oldest first,
// and returns how many there were.
func (t *tracking) evict(ctx context.Context, n int) (int, error) {
	r, err := t.ExecContext(ctx, `delete from project_findings where id in (
		select id from project_findings where tenant_id = ? and project_id = ? and state = 'absent' and triaged_at is null
		order by decided_at, id limit ?)`, string(t.scan.TenantID), t.project, n)
	if err != nil {
		return 0, err
	}
	gone, err := r.RowsAffected()
	return int(gone), err
}

func (t *tracking) insert(ctx context.Context, p track.Put) error {
	o, scan := p.Seen, string(t.scan.ID)
	_, err := t.ExecContext(ctx, `
insert into project_findings (id, tenant_id, project_id, plugin, rule_id, fingerprint, occurrence, content, state, decided_at, decided_scan, scope,
    first_scan, first_seen, last_scan, last_seen, finding_id, job_id, severity, title, message, detail, place, line, digest)
select ?1, ?2, ?3, ?4, f.rule_id, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?12, ?13, f.id, f.job_id, f.severity, f.title, f.message, f.detail, ?14, ?15, ?16
from findings f where f.scan_id = ?12 and f.severity = ?17 and f.id = ?18`,
		string(p.ID), string(t.scan.TenantID), t.project, o.Plugin, o.Fingerprint, p.Occurrence, o.Content, string(p.State), p.Decided.At, p.Decided.Scan, p.Scope,
		scan, t.scan.CreatedAt.UnixMicro(), o.Place, o.Line, o.Digest, o.Rank, string(o.ID))
	return err
}

func (t *tracking) update(ctx context.Context, p track.Put) error {
	o, scan := p.Seen, string(t.scan.ID)
	_, err := t.ExecContext(ctx, `
update project_findings set fingerprint = ?4, occurrence = ?5, content = ?6, state = ?7, decided_at = ?8, decided_scan = ?9, scope = ?10,
    last_scan = ?11, last_seen = ?12, finding_id = f.id, job_id = f.job_id, severity = f.severity, title = f.title, message = f.message, detail = f.detail,
    place = ?13, line = ?14, digest = ?15
from findings f where project_findings.id = ?1 and project_findings.tenant_id = ?2 and project_findings.project_id = ?3
    and f.scan_id = ?11 and f.severity = ?16 and f.id = ?17`,
		string(p.ID), string(t.scan.TenantID), t.project, o.Fingerprint, p.Occurrence, o.Content, string(p.State), p.Decided.At, p.Decided.Scan, p.Scope,
		scan, t.scan.CreatedAt.UnixMicro(), o.Place, o.Line, o.Digest, o.Rank, string(o.ID))
	return err
}

func (t *tracking) write(ctx context.Context, c track.Changes) (*host.Tracking, error) {
	tenant, scan, moment := string(t.scan.TenantID), string(t.scan.ID), t.scan.CreatedAt.UnixMicro()
	for _, p := range c.Insert {
		if err := t.insert(ctx, p); err != nil {
			return nil, err
		}
	}
	_, err := t.ExecContext(ctx, `update project_findings set state = 'absent', decided_at = ?, decided_scan = ?
		where tenant_id = ? and id in (select value from json_each(?))`, moment, scan, tenant, list(c.Absent))
	if err != nil {
		return nil, err
	}
	_, err = t.ExecContext(ctx, `update project_findings set first_seen = ?1, first_scan = ?2
		where tenant_id = ?3 and id in (select value from json_each(?4)) and first_seen > ?1`, moment, scan, tenant, list(c.Late))
	if err != nil {
		return nil, err
	}
	said := host.Said{Triage: host.TriageOpen, Reason: record.Reopened, Author: host.AuthorHost}
	if _, err := t.say(ctx, t.scan.TenantID, c.Reopen, nil, 0, said); err != nil {
		return nil, err
	}
	for _, o := range c.Observe {
		_, err := t.ExecContext(ctx, `insert into observations (scan_id, severity, finding_id, tenant_id, project_finding_id, state) values (?, ?, ?, ?, ?, ?)`,
			scan, o.Seen.Rank, string(o.Seen.ID), tenant, string(o.ID), string(o.State))
		if err != nil {
			return nil, err
		}
	}
	for _, r := range c.Runs {
		_, err := t.ExecContext(ctx, `insert into project_runs (tenant_id, project_id, plugin, scope, complete_at, complete_scan) values (?, ?, ?, ?, ?, ?)
			on conflict (tenant_id, project_id, plugin, scope) do update set complete_at = excluded.complete_at, complete_scan = excluded.complete_scan`,
			tenant, t.project, r.Plugin, r.Scope, r.At.At, r.At.Scan)
		if err != nil {
			return nil, err
		}
	}
	newer := t.last == nil || identity.Moment{At: t.lastAt.UnixMicro(), Scan: *t.last}.Compare(track.At(t.scan)) <= 0
	_, err = t.ExecContext(ctx, `update projects set held = ?3, last_scan = iif(?4, ?5, last_scan), last_at = iif(?4, ?6, last_at)
		where tenant_id = ?1 and id = ?2`, tenant, t.project, t.held+len(c.Insert), newer, scan, moment)
	if err != nil {
		return nil, err
	}
	return t.outcome(ctx, c)
}

// putOutcome takes scan, tenant, project, the time and counts. A scan that was
// tracked before had jobs that were tried again since. Its base is the newest
// tracked scan of the project that was accepted before it.
const putOutcome = `
insert into scan_outcomes as o (scan_id, tenant_id, project_id, base_scan, tracked_at, added, unchanged, updated, absent, untracked)
select ?1, ?2, ?3, (
    select b.id from scans me join scans b on b.tenant_id = me.tenant_id and b.project = me.project and b.project <> '' and b.id <> me.id and b.deletion_id is null
        and (b.created_at, b.id) < (me.created_at, me.id)
    join scan_outcomes o on o.scan_id = b.id
    where me.id = ?1 order by b.id desc limit 1), ?4, ?5, ?6, ?7, ?8, ?9
where true
on conflict (scan_id) do update set tracked_at = excluded.tracked_at, added = o.added + excluded.added,
    unchanged = o.unchanged + excluded.unchanged, updated = o.updated + excluded.updated,
    absent = o.absent + excluded.absent, untracked = excluded.untracked
returning tracked_at, base_scan`

func (t *tracking) outcome(ctx context.Context, c track.Changes) (*host.Tracking, error) {
	out := &host.Tracking{Scan: t.scan.ID, New: c.New, Unchanged: c.Unchanged, Updated: c.Updated, Absent: len(c.Absent), Untracked: c.Untracked}
	var base *string
	err := t.QueryRowContext(ctx, putOutcome, string(t.scan.ID), string(t.scan.TenantID), t.project, t.now, out.New, out.Unchanged, out.Updated, out.Absent, out.Untracked).
		Scan(at(&out.TrackedAt), &base)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", t.scan.ID, err)
	}
	if base != nil {
		out.Base = host.ScanID(*base)
	}
	return out, t.done(ctx)
}
