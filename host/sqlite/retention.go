package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// pickOldScans takes the time before which they ended, and a limit.
const pickOldScans = `
select ` + record.OldColumns + ` from scans s
where s.created_at < ?1 and s.finished_at < ?1 order by s.created_at limit ?2`

// pickOldArchives is the same for the scans whose archive is still there. One
// with a dead letter, which an operator may requeue, keeps it.
const pickOldArchives = `
select ` + record.OldColumns + ` from scans s
where s.created_at < ?1 and s.finished_at < ?1 and s.archive is not null and s.archive_removed_at is null
  and not exists (select 1 from jobs j where j.scan_id = s.id and j.tenant_id = s.tenant_id and j.dead_at is not null)
order by s.created_at limit ?2`

func (tx tx) pickOld(ctx context.Context, pick string, what any, limit int) (old record.Old, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var row record.OldRow
		if err := r.Scan(row.Dest()...); err != nil {
			return err
		}
		return old.Add(row)
	}, pick, what, max(limit, 0))
	return old, err
}

// DropScans implements host.RetentionStore.
func (s *Store) DropScans(ctx context.Context, age time.Duration, limit int) (host.Dropped, error) {
	return s.dropPicked(ctx, "remove old scans", pickOldScans, func(tx tx) any { return tx.now - record.Micros(age) }, limit)
}

// dropPicked removes the scans that a pick gives, which takes what and a limit.
func (s *Store) dropPicked(ctx context.Context, op, pick string, what func(tx) any, limit int) (out host.Dropped, err error) {
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		out = host.Dropped{}
		old, err := tx.pickOld(ctx, pick, what(tx), limit)
		if err != nil || len(old.IDs) == 0 {
			return err
		}
		full := len(old.IDs) == limit
		left := old.Fit()
		out = host.Dropped{Scans: len(old.IDs), Archives: old.Blobs(), More: full || left}
		if out.Artifacts, err = tx.blobsOfArtifacts(ctx, old.IDs); err != nil {
			return err
		}
		for _, id := range old.IDs {
			gone, err := tx.dropFindings(ctx, id)
			if err != nil {
				return err
			}
			out.Findings += gone
		}
		if _, err = tx.ExecContext(ctx, `delete from scans where id in (select value from json_each(?))`, list(old.IDs)); err != nil {
			return err
		}
		return tx.freeStorage(ctx, old)
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// dropFindings removes a scan's findings, some rows a statement.
func (tx tx) dropFindings(ctx context.Context, scan string) (gone int, err error) {
	for {
		r, err := tx.ExecContext(ctx, `delete from findings
			where rowid in (select rowid from findings where scan_id = ? limit ?)`, scan, record.DropRows)
		if err != nil {
			return gone, err
		}
		n, err := r.RowsAffected()
		gone += int(n)
		if err != nil || n < record.DropRows {
			return gone, err
		}
	}
}

// DropArchives implements host.RetentionStore.
func (s *Store) DropArchives(ctx context.Context, age time.Duration, limit int) (out host.Dropped, err error) {
	err = s.write(ctx, "remove old archives", func(ctx context.Context, tx tx) error {
		out = host.Dropped{}
		old, err := tx.pickOld(ctx, pickOldArchives, tx.now-record.Micros(age), limit)
		if err != nil || len(old.IDs) == 0 {
			return err
		}
		out = host.Dropped{Scans: len(old.IDs), Archives: old.Blobs(), More: len(old.IDs) == limit}
		_, err = tx.ExecContext(ctx, `update scans set archive_removed_at = ?, archive_blob = null
			where id in (select value from json_each(?))`, tx.now, list(old.IDs))
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `delete from archives where scan_id in (select value from json_each(?))`, list(old.IDs)); err != nil {
			return err
		}
		return tx.freeStorage(ctx, old)
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// UnusedBlobs implements host.RetentionStore.
func (s *Store) UnusedBlobs(ctx context.Context, keys []host.BlobKey) (unused []host.BlobKey, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var key host.BlobKey
		err := r.Scan(&key)
		unused = append(unused, key)
		return err
	}, `select k.value from json_each(?) k
		where not exists (select 1 from scans where archive_blob = k.value)
		  and not exists (select 1 from artifacts where blob = k.value) order by k.key`, list(keys))
	if err != nil {
		return nil, translate(ctx, "look for blobs that no scan needs", err)
	}
	return unused, nil
}

// Origin implements host.RetentionStore.
func (s *Store) Origin(ctx context.Context) (origin string, err error) {
	if err := s.readers.QueryRowContext(ctx, `select id from origin`).Scan(&origin); err != nil {
		return "", translate(ctx, "read the origin of the database", err)
	}
	return origin, nil
}
