package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// markAtOnce is how many scans of a project get their mark in one transaction:
// others write to them, and wait for it.
const markAtOnce = 1000

// deletion takes tenant and deletion.
const deletion = `select ` + record.DeletionColumns + ` from deletions d where d.tenant_id = $1 and d.id = $2`

func queueDeletion(b *pgx.Batch, t host.TenantID, id host.DeletionID, out *host.Deletion) {
	b.Queue(deletion, string(t), string(id)).QueryRow(func(row pgx.Row) error {
		var r record.Deletion
		err := row.Scan(r.Dest(at)...)
		*out = r.Value()
		return err
	})
}

// DeleteScan implements host.DeletionStore. Of two that ask at the same time one
// waits for the other's lock, and finds the mark.
func (s *Store) DeleteScan(ctx context.Context, t host.TenantID, id host.ScanID) (out host.Deletion, err error) {
	op := fmt.Sprintf("delete scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return out, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	tenant, scan, own := string(t), string(id), host.NewDeletionID()
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`insert into deletions (id, tenant_id, scan_id, scans, marked_at)
			select $3, tenant_id, id, 1, now() from scans where tenant_id = $1 and id = $2 and deletion_id is null for no key update`, tenant, scan, string(own))
		b.Queue(`update scans set deletion_id = d.id from deletions d
			where d.tenant_id = $1 and d.id = $3 and scans.tenant_id = $1 and scans.id = $2`, tenant, scan, string(own))
		// Nobody is to try again what nobody sees. Jobs that are not of this deletion stay.
		b.Queue(`update jobs set dead_at = null where tenant_id = $1 and scan_id = $2 and dead_at is not null
			and exists (select from scans where tenant_id = $1 and id = $2 and deletion_id = $3)`, tenant, scan, string(own))
		// Nor is it to be the answer to a request that is sent again.
		b.Queue(`delete from accepted_requests where tenant_id = $1 and scan_id = $2
			and exists (select from scans where tenant_id = $1 and id = $2 and deletion_id = $3)`, tenant, scan, string(own))
		forgetTold(b, `tenant_id = $1 and scan_id = (select id from scans where tenant_id = $1 and id = $2 and deletion_id = $3)`, tenant, scan, string(own))
		queueDeletion(b, t, own, &out)
	})
	return out, err
}

// DeleteProject implements host.DeletionStore.
func (s *Store) DeleteProject(ctx context.Context, t host.TenantID, project string) (host.Deletion, error) {
	op := fmt.Sprintf("delete the scans of project %.64q", project)
	if !record.IsID(t) || project == "" {
		return host.Deletion{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	id := host.NewDeletionID()
	project = record.Clean(project)
	err := s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`insert into deletions (id, tenant_id, project) select $2, $1, $3
			where exists (select from scans where tenant_id = $1 and project = $3 and project <> '' and deletion_id is null)
				or exists (select from projects where tenant_id = $1 and name = $3 and deletion_id is null)`,
			string(t), string(id), project).Exec(one)
		// Who tracks one of its scans at this moment ends first; nobody begins from
		// here on.
		b.Queue(`delete from untracked_scans u using scans s where s.id = u.scan_id and s.tenant_id = $1 and s.project = $2 and s.project <> ''`,
			string(t), project)
		b.Queue(`update projects set deletion_id = $3 where tenant_id = $1 and name = $2 and deletion_id is null`, string(t), project, string(id))
	})
	if err == nil {
		err = s.markScans(ctx, op, string(id))
	}
	if err != nil {
		return host.Deletion{}, err
	}
	return s.Deletion(ctx, t, id)
}

// mark takes a deletion, the scan to go on behind and how many to mark, and
// returns the last that it did; null when there was none left. Their dead letters
// are given up, and the keys that they were asked for by. What others have
// accepted but not committed at that moment is left out: it is as if it came later.
const mark = `
with d as materialized (
    select id, tenant_id, project, created_at from deletions where id = $1 and marked_at is null and project is not null for no key update
), s as materialized (
    select s.id from scans s join d on s.tenant_id = d.tenant_id and s.project = d.project
    where s.project <> '' and s.created_at <= d.created_at and s.deletion_id is null and s.id > $2::text::uuid
    order by s.id limit $3 for no key update of s
), m as (
    update scans set deletion_id = $1 where id in (select id from s)
), g as (
    update jobs j set dead_at = null from s, d where j.scan_id = s.id and j.tenant_id = d.tenant_id and j.dead_at is not null
), r as (
    delete from accepted_requests r using s, d where r.tenant_id = d.tenant_id and r.scan_id = s.id
), u as (
    update deletions set scans = scans + (select count(*) from s),
        marked_at = case when not exists (select from s) then now() end
    where id in (select id from d)
)
select max(id::text) from s`

// markScans gives all scans of a project their mark.
func (s *Store) markScans(ctx context.Context, op, id string) error {
	for after := new("00000000-0000-0000-0000-000000000000"); after != nil; {
		var last *string
		err := s.do(ctx, op, func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				if err := tx.QueryRow(ctx, mark, id, *after, markAtOnce).Scan(&last); err != nil || last == nil {
					return err
				}
				// Apart from the mark, to see what was told until it had the locks.
				b := &pgx.Batch{}
				forgetTold(b, `scan_id = any(array(select id from scans where deletion_id = $1 and id > $2::text::uuid and id <= $3::text::uuid))`, id, *after, *last)
				return tx.SendBatch(ctx, b).Close()
			})
		})
		if err != nil {
			return err
		}
		after = last
	}
	return nil
}

// Deletion implements host.DeletionStore.
func (s *Store) Deletion(ctx context.Context, t host.TenantID, id host.DeletionID) (out host.Deletion, err error) {
	op := fmt.Sprintf("read deletion %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return out, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) { queueDeletion(b, t, id, &out) })
	return out, err
}

// PendingDeletions implements host.DeletionStore.
func (s *Store) PendingDeletions(ctx context.Context) (out host.PendingDeletions, err error) {
	err = s.readBatch(ctx, "count the deletions", func(b *pgx.Batch) {
		b.Queue(`select count(*), coalesce(extract(epoch from now() - min(created_at)) * 1000000, 0)::bigint
			from deletions where finished_at is null`).QueryRow(func(row pgx.Row) error {
			var age int64
			err := row.Scan(&out.Deletions, &age)
			out.Oldest = time.Duration(age) * time.Microsecond
			return err
		})
		b.Queue(`select count(*) from scans where deletion_id is not null`).QueryRow(func(row pgx.Row) error { return row.Scan(&out.Scans) })
	})
	return out, err
}

// pickDeleted is pickOldScans for the ended scans of a deletion, of any age.
const pickDeleted = `
select ` + record.OldColumns + ` from scans s
where s.deletion_id = $1 and s.finished_at is not null order by s.id limit $2 for update skip locked`

// DropDeleted implements host.RetentionStore. Several deletions go in a random
// order: a large one is not in the way of the others, and hosts seldom meet.
func (s *Store) DropDeleted(ctx context.Context, limit int) (host.Dropped, error) {
	const op = "find deletions"
	pending, err := s.strings(ctx, op, `select id || ' ' || tenant_id from deletions where finished_at is null order by created_at limit 1000`)
	if err != nil {
		return host.Dropped{}, err
	}
	rand.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })
	for _, one := range pending {
		id, tenant, _ := strings.Cut(one, " ")
		if out, err := s.dropDeleted(ctx, id, tenant, limit); err != nil || out.More {
			return out, err
		}
	}
	_, err = s.strings(ctx, "forget deletions", `delete from deletions where id = any(array(
		select id from deletions where finished_at < now() - $1 * interval '1 microsecond' order by finished_at limit 1000)) returning id`,
		record.Micros(host.DeletionKept))
	return host.Dropped{}, err
}

func (s *Store) dropDeleted(ctx context.Context, id, tenant string, limit int) (host.Dropped, error) {
	if err := s.markScans(ctx, "mark scans to delete", id); err != nil { // of which whoever asked did not do all
		return host.Dropped{}, err
	}
	open, err := s.strings(ctx, "find deleted scans that go on",
		`select id from scans where deletion_id = $1 and finished_at is null and cancel_requested_at is null order by id limit $2`, id, max(limit, 0))
	if err != nil {
		return host.Dropped{}, err
	}
	if err := s.cancelAll(ctx, tenant, open); err != nil {
		return host.Dropped{}, err
	}
	out, err := s.dropPicked(ctx, "remove deleted scans", limit, forgetFound, pickDeleted, id)
	if err != nil || len(open)+out.Scans > 0 {
		out.More = err == nil
		return out, err
	}
	if out, err := s.dropProjects(ctx, id); err != nil || out.More {
		return out, err
	}
	_, err = s.strings(ctx, "end a deletion", `update deletions set finished_at = now()
		where id = $1 and finished_at is null and marked_at is not null and not exists (select from scans where deletion_id = $1)
			and not exists (select from projects where deletion_id = $1) returning id`, id)
	return host.Dropped{}, err
}

// forgetFound takes the ids of scans that are being deleted, and removes of their
// projects' findings those that no other scan ever saw, unless somebody said
// something of them. It waits for who tracks a scan of the project at this moment.
func forgetFound(ctx context.Context, tx pgx.Tx, scans []string) error {
	b := &pgx.Batch{}
	b.Queue(lockProjectsOf, scans)
	b.Queue(`
with gone as (
    delete from project_findings f
    where f.id = any(array(select project_finding_id from observations where scan_id = any($1::text[]::uuid[])))
      and f.first_scan = f.last_scan and f.last_scan = any($1::text[]::uuid[]) and f.triaged_at is null
    returning f.project_id
)
update projects p set held = p.held - g.n from (select project_id, count(*) as n from gone group by project_id) g where p.id = g.project_id`, scans)
	return tx.SendBatch(ctx, b).Close()
}

// lockProjectsOf takes scans: see Track.
const lockProjectsOf = `
select 1 from projects where id = any(array(
    select distinct project_id from scan_outcomes where scan_id = any($1::text[]::uuid[]))) order by id for update`

// dropProjects removes the project of a deletion: some of its findings, and when
// none is left the rest.
func (s *Store) dropProjects(ctx context.Context, deletion string) (out host.Dropped, err error) {
	err = s.do(ctx, "remove a deleted project", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from project_findings where id = any(array(
			select f.id from projects p join project_findings f on f.tenant_id = p.tenant_id and f.project_id = p.id where p.deletion_id = $1 limit $2))`,
			deletion, record.DropRows)
		if err == nil && tag.RowsAffected() == 0 {
			_, err = s.pool.Exec(ctx, `delete from projects where deletion_id = $1`, deletion)
		}
		out = host.Dropped{Findings: int(tag.RowsAffected()), More: tag.RowsAffected() > 0}
		return err
	})
	return out, err
}
