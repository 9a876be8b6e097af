package sqlite

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// keptTime is how long scans of tenants t are kept, in microseconds. It takes how
// long any are and, as a JSON object, by plan; 0 as a tenant's or a plan's is the
// former.
const keptTime = `min(?2, coalesce(nullif(coalesce(((t.override ->> 'retention') + 999) / 1000,
	(select value from json_each(?3) where key = t.plan)), 0), ?2))`

// pickOldScans takes the time, what keptTime does, and a limit. It goes tenant by
// tenant, in each by age, so that it reads as many as it gives, and one place in
// the index for each tenant without any.
const pickOldScans = `
select ` + record.OldColumns + ` from tenants t cross join scans s on s.tenant_id = t.id
where s.created_at < ?1 - ` + keptTime + ` and s.finished_at < ?1 - ` + keptTime + `
order by t.id, s.created_at limit ?4`

// pickOldArchives takes the time before which they ended and a limit, and gives
// the scans, of whatever tenant, whose archive is still there. One with a dead
// letter, which an operator may requeue, keeps it.
const pickOldArchives = `
select ` + record.OldColumns + ` from scans s
where s.created_at < ?1 and s.finished_at < ?1 and s.archive is not null and s.archive_removed_at is null
  and not exists (select 1 from jobs j where j.scan_id = s.id and j.tenant_id = s.tenant_id and j.dead_at is not null)
order by s.created_at limit ?2`

func (tx tx) pickOld(ctx context.Context, limit int, pick string, args ...any) (old record.Old, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var row record.OldRow
		if err := r.Scan(row.Dest()...); err != nil {
			return err
		}
		return old.Add(row)
	}, pick, append(slices.Clip(args), max(limit, 0))...)
	return old, err
}

// forEver is longer than any scan has been kept, in microseconds, and small
// enough to count with.
const forEver = math.MaxInt64 / 4

// DropScans implements host.RetentionStore.
func (s *Store) DropScans(ctx context.Context, keep host.Keep, limit int) (host.Dropped, error) {
	most, plans, ages := record.Keep(keep)
	if most == 0 {
		most = forEver
	}
	byPlan := map[string]int64{}
	for i, name := range plans {
		byPlan[name] = ages[i]
	}
	return s.dropPicked(ctx, "remove old scans", limit, pickOldScans, func(tx tx) []any { return []any{tx.now, most, record.Encode(byPlan)} })
}

// dropPicked removes the scans that a pick gives, which takes args and a limit.
func (s *Store) dropPicked(ctx context.Context, op string, limit int, pick string, args func(tx) []any) (out host.Dropped, err error) {
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		out = host.Dropped{}
		old, err := tx.pickOld(ctx, limit, pick, args(tx)...)
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
		old, err := tx.pickOld(ctx, limit, pickOldArchives, tx.now-record.Micros(age))
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
