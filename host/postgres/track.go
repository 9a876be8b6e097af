package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/identity"
	"github.com/securetaghq/securetag/host/internal/record"
	"github.com/securetaghq/securetag/host/internal/track"
)

// pickUntracked locks the note of one scan that ended, the one that waits
// longest, and the scan, so that nobody removes it. It skips what is locked:
// another host is at it. What is being deleted found nothing.
const pickUntracked = `
select u.scan_id, u.tenant_id, s.project from untracked_scans u join scans s on s.id = u.scan_id
where u.due_at <= now() and s.deletion_id is null and not exists (
    select from deletions d where d.tenant_id = s.tenant_id and d.project = s.project and d.marked_at is null and d.created_at >= s.created_at
        and d.finished_at is null) -- which says nothing new, but that an index has few rows
order by u.due_at, u.scan_id limit 1 for update of u skip locked for share of s skip locked`

// putOff takes a scan whose tracking failed: others come first.
const putOff = `update untracked_scans set due_at = now() + interval '1 minute' where scan_id = $1`

// tracking is one transaction.
type tracking struct {
	pgx.Tx
	scan    host.Scan
	project string  // its id
	last    *string // the newest scan that was tracked
	lastAt  time.Time
	held    int
}

// Track implements host.ProjectStore. The locks are taken in the order scan, note,
// project, its findings. Whoever else writes to several findings of a project that
// may be tracked locks it before them.
func (s *Store) Track(ctx context.Context, most int) (out *host.Tracking, err error) {
	var picked string
	err = s.do(ctx, "track the findings of a scan", func(ctx context.Context) error {
		out, picked = nil, ""
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			var tenant, project string
			err := tx.QueryRow(ctx, pickUntracked).Scan(&picked, &tenant, &project)
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			if err != nil {
				return err
			}
			t := tracking{Tx: tx}
			if err := t.open(ctx, tenant, picked, project); err != nil {
				return err
			}
			out, err = t.track(ctx, most)
			return err
		})
	})
	if err != nil && picked != "" && ctx.Err() == nil {
		_, perr := s.pool.Exec(ctx, putOff, picked)
		err = errors.Join(err, perr)
	}
	if err != nil {
		return nil, err
	}
	if out != nil {
		s.grew(ctx, out.New+out.Unchanged+out.Updated)
	}
	return out, nil
}

// open locks the project, which it makes for its first scan, and reads the scan.
func (t *tracking) open(ctx context.Context, tenant, scan, project string) error {
	b := &pgx.Batch{}
	b.Queue(`insert into projects (id, tenant_id, name) values ($1, $2, $3) on conflict do nothing`, string(host.NewProjectID()), tenant, project)
	b.Queue(`select id, held, last_scan, last_at from projects where tenant_id = $1 and name = $2 and deletion_id is null for update`, tenant, project).
		QueryRow(func(row pgx.Row) error { return row.Scan(&t.project, &t.held, &t.last, at(&t.lastAt)) })
	queueScanBy(b, scanWithJobs+` -- as the host`, host.TenantID(tenant), host.ScanID(scan), &t.scan)
	return t.SendBatch(ctx, b).Close()
}

func (t *tracking) track(ctx context.Context, most int) (*host.Tracking, error) {
	if !t.scan.State.Final() { // it was opened again, and will be noted again
		_, err := t.Exec(ctx, `delete from untracked_scans where scan_id = $1`, string(t.scan.ID))
		return nil, err
	}
	loaded, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	c := track.Plan(loaded)
	if over := t.held + len(c.Insert) - most; over > 0 {
		// First what is back, which is absent until then.
		if err := t.update(ctx, &c); err != nil {
			return nil, err
		}
		gone, err := t.evict(ctx, over)
		if err != nil {
			return nil, err
		}
		t.held -= gone
	}
	c.Fit(most - t.held)
	return t.write(ctx, c)
}

// observe takes the scan. What was tracked before is left out.
const observe = `
select ` + record.ObserveColumns + `
from findings f join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
where f.scan_id = $1 and not exists (
    select from observations o where o.scan_id = f.scan_id and o.severity = f.severity and o.finding_id = f.id)`

// known takes tenant, project and plugins.
const known = `
select id, plugin, rule_id, fingerprint, occurrence, content, line, digest, state = 'absent', decided_at, decided_scan, scope, triage, last_scan
from project_findings where tenant_id = $1 and project_id = $2 and plugin = any($3::text[])`

func (t *tracking) load(ctx context.Context) (track.Loaded, error) {
	l := track.Loaded{Scan: t.scan}
	plugins := track.Delivered(t.scan)
	rows, err := t.Query(ctx, observe, string(t.scan.ID))
	if err != nil {
		return l, err
	}
	var o record.Observe
	_, err = pgx.ForEachRow(rows, o.Dest(), func() error {
		seen, err := o.Value()
		l.Seen = append(l.Seen, seen)
		return err
	})
	if err != nil {
		return l, err
	}
	if rows, err = t.Query(ctx, known, string(t.scan.TenantID), t.project, plugins); err != nil {
		return l, err
	}
	var k track.Known
	var decided time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.ID, &k.Plugin, &k.Rule, &k.Fingerprint, &k.Occurrence, &k.Content, &k.Line, &k.Digest,
		&k.Absent, at(&decided), &k.Decided.Scan, &k.Scope, &k.Triage, &k.LastScan}, func() error {
		k.Decided.At = decided.UnixMicro()
		l.Known = append(l.Known, k)
		return nil
	})
	if err != nil {
		return l, err
	}
	if rows, err = t.Query(ctx, `select plugin, scope, complete_at, complete_scan from project_runs
		where tenant_id = $1 and project_id = $2`, string(t.scan.TenantID), t.project); err != nil {
		return l, err
	}
	var r track.Run
	_, err = pgx.ForEachRow(rows, []any{&r.Plugin, &r.Scope, at(&decided), &r.At.Scan}, func() error {
		r.At.At = decided.UnixMicro()
		l.Runs = append(l.Runs, r)
		return nil
	})
	return l, err
}

// update writes what was known already.
func (t *tracking) update(ctx context.Context, c *track.Changes) error {
	if len(c.Update) == 0 {
		return nil
	}
	_, err := t.Exec(ctx, updatePuts, rowsOf(c.Update).args(t)...)
	c.Update = nil
	return err
}

// evict removes absent findings that nobody said anything of, the oldest first,
// and returns how many there were.
func (t *tracking) evict(ctx context.Context, n int) (int, error) {
	tag, err := t.Exec(ctx, `
delete from project_findings where id = any(array(
    select id from project_findings
    where tenant_id = $1 and project_id = $2 and state = 'absent' and triaged_at is null
    order by decided_at, id limit $3))`, string(t.scan.TenantID), t.project, n)
	return int(tag.RowsAffected()), err
}

// putRows are project findings as arrays.
type putRows struct {
	id, finding, fingerprint, content, state, scan, scope, place, digest, plugin []string
	severity                                                                     []int16
	occurrence, line                                                             []int32
	decided                                                                      []time.Time
}

func rowsOf(puts []track.Put) (r putRows) {
	for _, p := range puts {
		o := p.Seen
		r.id, r.finding, r.severity = append(r.id, string(p.ID)), append(r.finding, string(o.ID)), append(r.severity, int16(o.Rank))
		r.fingerprint, r.content, r.plugin = append(r.fingerprint, o.Fingerprint), append(r.content, o.Content), append(r.plugin, o.Plugin)
		r.occurrence, r.line = append(r.occurrence, int32(p.Occurrence)), append(r.line, int32(o.Line))
		r.state, r.scope = append(r.state, string(p.State)), append(r.scope, p.Scope)
		r.decided, r.scan = append(r.decided, time.UnixMicro(p.Decided.At)), append(r.scan, p.Decided.Scan)
		r.place, r.digest = append(r.place, o.Place), append(r.digest, o.Digest)
	}
	return r
}

func (r putRows) args(t *tracking) []any {
	return []any{string(t.scan.TenantID), t.project, string(t.scan.ID), t.scan.CreatedAt,
		r.id, r.finding, r.severity, r.fingerprint, r.content, r.occurrence, r.line, r.state, r.decided, r.scan, r.scope, r.place, r.digest, r.plugin}
}

// puts takes tenant, project, scan and its time, and project findings as arrays
// ($5-$18). What is shown is copied from the scan's findings.
const puts = `
with p as (
    select * from unnest($5::text[]::uuid[], $6::text[]::uuid[], $7::smallint[], $8::text[], $9::text[], $10::int[], $11::int[], $12::text[],
                         $13::timestamptz[], $14::text[]::uuid[], $15::text[], $16::text[], $17::text[], $18::text[])
        as p (id, finding, severity, fingerprint, content, occurrence, line, state, decided, decided_scan, scope, place, digest, plugin)
)`

const insertPuts = puts + `
insert into project_findings (id, tenant_id, project_id, plugin, rule_id, fingerprint, occurrence, content, state, decided_at, decided_scan, scope,
    first_scan, first_seen, last_scan, last_seen, finding_id, job_id, severity, title, message, detail, place, line, digest)
select p.id, $1::uuid, $2::uuid, p.plugin, f.rule_id, p.fingerprint, p.occurrence, p.content, p.state, p.decided, p.decided_scan, p.scope,
    $3::uuid, $4, $3::uuid, $4, f.id, f.job_id, f.severity, f.title, f.message, f.detail, p.place, p.line, p.digest
from p join findings f on f.scan_id = $3::uuid and f.severity = p.severity and f.id = p.finding`

const updatePuts = puts + `
update project_findings k set fingerprint = p.fingerprint, occurrence = p.occurrence, content = p.content, state = p.state,
    decided_at = p.decided, decided_scan = p.decided_scan, scope = p.scope, last_scan = $3::uuid, last_seen = $4,
    finding_id = f.id, job_id = f.job_id, severity = f.severity, title = f.title, message = f.message, detail = f.detail,
    place = p.place, line = p.line, digest = p.digest
from p join findings f on f.scan_id = $3::uuid and f.severity = p.severity and f.id = p.finding
where k.id = p.id and k.tenant_id = $1::uuid and k.project_id = $2::uuid and p.plugin = k.plugin`

func (t *tracking) write(ctx context.Context, c track.Changes) (*host.Tracking, error) {
	tenant, scan, moment := string(t.scan.TenantID), string(t.scan.ID), t.scan.CreatedAt
	out := &host.Tracking{Scan: t.scan.ID, New: c.New, Unchanged: c.Unchanged, Updated: c.Updated, Absent: len(c.Absent), Untracked: c.Untracked}
	if err := t.update(ctx, &c); err != nil {
		return nil, err
	}
	b := &pgx.Batch{}
	if len(c.Insert) > 0 {
		b.Queue(insertPuts, rowsOf(c.Insert).args(t)...)
	}
	if len(c.Absent) > 0 {
		b.Queue(`update project_findings set state = 'absent', decided_at = $3, decided_scan = $4
			where tenant_id = $1 and id = any($2::text[]::uuid[])`, tenant, texts(c.Absent), moment, scan)
	}
	if len(c.Late) > 0 {
		b.Queue(`update project_findings set first_seen = $3, first_scan = $4
			where tenant_id = $1 and id = any($2::text[]::uuid[]) and first_seen > $3`, tenant, texts(c.Late), moment, scan)
	}
	t.queueReopen(b, c.Reopen)
	t.queueObservations(b, c.Observe)
	for _, r := range c.Runs {
		b.Queue(`insert into project_runs (tenant_id, project_id, plugin, scope, complete_at, complete_scan) values ($1, $2, $3, $4, $5, $6)
			on conflict (tenant_id, project_id, plugin, scope) do update set complete_at = excluded.complete_at, complete_scan = excluded.complete_scan`,
			tenant, t.project, r.Plugin, r.Scope, time.UnixMicro(r.At.At), r.At.Scan)
	}
	newer := t.last == nil || identity.Moment{At: t.lastAt.UnixMicro(), Scan: *t.last}.Compare(track.At(t.scan)) <= 0
	b.Queue(`update projects set held = $3, last_scan = case when $4 then $5 else last_scan end, last_at = case when $4 then $6 else last_at end
		where tenant_id = $1 and id = $2`, tenant, t.project, t.held+len(c.Insert), newer, scan, moment)
	b.Queue(putOutcome, scan, tenant, t.project, out.New, out.Unchanged, out.Updated, out.Absent, out.Untracked).QueryRow(func(row pgx.Row) error {
		var base *string
		err := row.Scan(at(&out.TrackedAt), &base)
		if base != nil {
			out.Base = host.ScanID(*base)
		}
		return err
	})
	b.Queue(`delete from untracked_scans where scan_id = $1`, scan)
	if err := t.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("scan %s: %w", scan, err)
	}
	return out, nil
}

// putOutcome takes scan, tenant, project and counts. A scan that was tracked
// before had jobs that were tried again since. Its base is the newest tracked
// scan of the project that was accepted before it.
const putOutcome = `
insert into scan_outcomes (scan_id, tenant_id, project_id, base_scan, added, unchanged, updated, absent, untracked)
select $1::uuid, $2::uuid, $3::uuid, (
    select b.id from scans b
    where b.tenant_id = $2::uuid and b.project = (select project from scans where id = $1::uuid) and b.project <> '' and b.deletion_id is null
        and (b.created_at, b.id) < (select created_at, id from scans where id = $1::uuid)
        and exists (select from scan_outcomes o where o.scan_id = b.id)
    order by b.id desc limit 1), $4, $5, $6, $7, $8
on conflict (scan_id) do update set tracked_at = now(), added = scan_outcomes.added + excluded.added,
    unchanged = scan_outcomes.unchanged + excluded.unchanged, updated = scan_outcomes.updated + excluded.updated,
    absent = scan_outcomes.absent + excluded.absent, untracked = excluded.untracked
returning tracked_at, base_scan`

// queueReopen opens what somebody had called fixed.
func (t *tracking) queueReopen(b *pgx.Batch, ids []host.ProjectFindingID) {
	if len(ids) == 0 {
		return
	}
	lines := make([]string, len(ids))
	for i := range ids {
		lines[i] = string(host.NewFindingID())
	}
	b.Queue(say+countSaid+` -- as the host`, string(t.scan.TenantID), texts(ids), lines, string(host.TriageOpen), record.Reopened, host.AuthorHost, nil, nil, 0)
}

func (t *tracking) queueObservations(b *pgx.Batch, all []track.Observation) {
	if len(all) == 0 {
		return
	}
	var finding, project, state []string
	var severity []int16
	for _, o := range all {
		finding, project = append(finding, string(o.Seen.ID)), append(project, string(o.ID))
		state, severity = append(state, string(o.State)), append(severity, int16(o.Seen.Rank))
	}
	b.Queue(`insert into observations (scan_id, severity, finding_id, tenant_id, project_finding_id, state)
		select $1::uuid, o.severity, o.finding, $2::uuid, o.project, o.state
		from unnest($3::smallint[], $4::text[]::uuid[], $5::text[]::uuid[], $6::text[]) as o (severity, finding, project, state)`,
		string(t.scan.ID), string(t.scan.TenantID), severity, finding, project, state)
}

func texts[T ~string](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
