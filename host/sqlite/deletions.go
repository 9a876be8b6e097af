package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// deletion takes tenant and deletion.
const deletion = `select ` + record.DeletionColumns + ` from deletions d where d.tenant_id = ? and d.id = ?`

func readDeletion(ctx context.Context, db querier, t host.TenantID, id host.DeletionID) (out host.Deletion, err error) {
	found := false
	err = rows(ctx, db, func(r *sql.Rows) error {
		var row record.Deletion
		err := r.Scan(row.Dest(at)...)
		out, found = row.Value(), true
		return err
	}, deletion, string(t), string(id))
	if err == nil && !found {
		err = host.ErrNotFound
	}
	return out, err
}

// DeleteScan implements host.DeletionStore.
func (s *Store) DeleteScan(ctx context.Context, t host.TenantID, id host.ScanID) (host.Deletion, error) {
	return s.deleteScans(ctx, fmt.Sprintf("delete scan %.64q", string(id)), t, "scan_id", string(id), `id = ?`)
}

// DeleteProject implements host.DeletionStore.
func (s *Store) DeleteProject(ctx context.Context, t host.TenantID, project string) (host.Deletion, error) {
	op := fmt.Sprintf("delete the scans of project %.64q", project)
	if project == "" {
		return host.Deletion{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.deleteScans(ctx, op, t, "project", record.Clean(project), `project = ? and project <> ''`)
}

// deleteScans marks those of a tenant's scans that a condition on a value gives. The
// value is kept in a column, to say what it is about.
func (s *Store) deleteScans(ctx context.Context, op string, t host.TenantID, column, value, which string) (out host.Deletion, err error) {
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		id := host.NewDeletionID()
		r, err := tx.ExecContext(ctx, `update scans set deletion_id = ? where tenant_id = ? and deletion_id is null and `+which, string(id), string(t), value)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return err
		}
		projects := int64(0)
		if column == "project" {
			if projects, err = tx.hideProject(ctx, string(id), t, value); err != nil {
				return err
			}
		}
		if n+projects == 0 {
			return host.ErrNotFound
		}
		// Nobody is to try again what nobody sees.
		_, err = tx.ExecContext(ctx, `update jobs set dead_at = null
			where scan_id in (select id from scans where deletion_id = ?) and dead_at is not null`, string(id))
		if err != nil {
			return err
		}
		// Nor are they to be the answer to a request that is sent again.
		_, err = tx.ExecContext(ctx, `delete from accepted_requests
			where tenant_id = ? and scan_id in (select id from scans where deletion_id = ?)`, string(t), string(id))
		if err != nil {
			return err
		}
		// Nor is anybody to be told of them, and what was told goes with them.
		_, err = tx.ExecContext(ctx, `delete from webhook_deliveries where scan_id in (select id from scans where deletion_id = ?)`, string(id))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `insert into deletions (id, tenant_id, `+column+`, created_at, scans) values (?, ?, ?, ?, ?)`,
			string(id), string(t), value, tx.now, n)
		if err != nil {
			return err
		}
		out, err = readDeletion(ctx, tx, t, id)
		return err
	})
	if err != nil {
		return host.Deletion{}, err
	}
	return out, nil
}

// hideProject gives a project the mark of a deletion, and returns how many there
// were.
func (tx tx) hideProject(ctx context.Context, deletion string, t host.TenantID, name string) (int64, error) {
	r, err := tx.ExecContext(ctx, `update projects set deletion_id = ? where tenant_id = ? and name = ? and deletion_id is null`, deletion, string(t), name)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Deletion implements host.DeletionStore.
func (s *Store) Deletion(ctx context.Context, t host.TenantID, id host.DeletionID) (host.Deletion, error) {
	out, err := readDeletion(ctx, s.readers, t, id)
	if err != nil {
		return host.Deletion{}, translate(ctx, fmt.Sprintf("read deletion %.64q", string(id)), err)
	}
	return out, nil
}

// PendingDeletions implements host.DeletionStore.
func (s *Store) PendingDeletions(ctx context.Context) (out host.PendingDeletions, err error) {
	var age int64
	err = s.readers.QueryRowContext(ctx, `select count(*), coalesce(max(0, ?1 - min(created_at)), 0),
			(select count(*) from scans where deletion_id is not null)
		from deletions where finished_at is null`, s.cfg.Now().UnixMicro()).Scan(&out.Deletions, &age, &out.Scans)
	if err != nil {
		return host.PendingDeletions{}, translate(ctx, "count the deletions", err)
	}
	out.Oldest = time.Duration(age) * time.Microsecond
	return out, nil
}

// pickDeleted is pickOldScans for the ended scans of a deletion, of any age.
const pickDeleted = `
select ` + record.OldColumns + ` from scans s
where s.deletion_id = ?1 and s.finished_at is not null order by s.id limit ?2`

// DropDeleted implements host.RetentionStore. Several deletions go in a random
// order: a large one is not in the way of the others.
func (s *Store) DropDeleted(ctx context.Context, limit int) (host.Dropped, error) {
	pending, err := s.strings(ctx, "find deletions", `select id || ' ' || tenant_id from deletions where finished_at is null order by created_at limit 1000`)
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
	err = s.write(ctx, "forget deletions", func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `delete from deletions where finished_at < ?`, tx.now-record.Micros(host.DeletionKept))
		return err
	})
	return host.Dropped{}, err
}

func (s *Store) dropDeleted(ctx context.Context, id, tenant string, limit int) (host.Dropped, error) {
	open, err := s.strings(ctx, "find deleted scans that go on",
		`select id from scans where deletion_id = ? and finished_at is null and cancel_requested_at is null order by id limit ?`, id, max(limit, 0))
	if err != nil {
		return host.Dropped{}, err
	}
	if err := s.cancelAll(ctx, tenant, open); err != nil {
		return host.Dropped{}, err
	}
	out, err := s.dropPicked(ctx, "remove deleted scans", limit, tx.forgetFound, pickDeleted, func(tx) []any { return []any{id} })
	if err != nil || len(open)+out.Scans > 0 {
		out.More = err == nil
		return out, err
	}
	if out, err := s.dropProjects(ctx, id); err != nil || out.More {
		return out, err
	}
	err = s.write(ctx, "end a deletion", func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `update deletions set finished_at = ?1
			where id = ?2 and finished_at is null and not exists (select 1 from scans where deletion_id = ?2)
			and not exists (select 1 from projects where deletion_id = ?2)`, tx.now, id)
		return err
	})
	return host.Dropped{}, err
}

// forgetFound takes the ids of scans that are being deleted, and removes of their
// projects' findings those that no other scan ever saw, unless somebody said
// something of them.
func (tx tx) forgetFound(ctx context.Context, scans []string) error {
	const gone = `
select f.id from observations o join project_findings f on f.id = o.project_finding_id
where o.scan_id in (select value from json_each(?1)) and f.first_scan = f.last_scan and f.last_scan = o.scan_id and f.triaged_at is null`
	_, err := tx.ExecContext(ctx, `
update projects set held = held - g.n
from (select project_id, count(*) as n from project_findings where id in (`+gone+`) group by project_id) g where projects.id = g.project_id`, list(scans))
	if err == nil {
		_, err = tx.ExecContext(ctx, `delete from project_findings where id in (`+gone+`)`, list(scans))
	}
	return err
}

// dropProjects removes the project of a deletion: some of its findings, and when
// none is left the rest.
func (s *Store) dropProjects(ctx context.Context, deletion string) (out host.Dropped, err error) {
	err = s.write(ctx, "remove a deleted project", func(ctx context.Context, tx tx) error {
		r, err := tx.ExecContext(ctx, `delete from project_findings where id in (
			select f.id from projects p join project_findings f on f.tenant_id = p.tenant_id and f.project_id = p.id where p.deletion_id = ? limit ?)`,
			deletion, record.DropRows)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err == nil && n == 0 {
			_, err = tx.ExecContext(ctx, `delete from projects where deletion_id = ?`, deletion)
		}
		out = host.Dropped{Findings: int(n), More: n > 0}
		return err
	})
	return out, err
}
