package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// pickOldScans takes how long scans are kept at most, plans and how long theirs
// are, all in microseconds, 0 for ever, and a limit. It locks scans that ended
// before that: tenant by tenant, in each by age, so that it reads as many as it
// gives, and one place in the index for each tenant without any. finished_at is
// set just as long as a scan is final, and is looked at again once the lock is
// held. It skips what is locked: another host removes it, or somebody tries its
// jobs again.
const pickOldScans = `
with kept as (
    select t.id, least(nullif($1::bigint, 0),
        nullif(coalesce(((t.override::json ->> 'retention')::bigint + 999) / 1000, p.age), 0)) * interval '1 microsecond' as age
    from tenants t left join unnest($2::text[], $3::bigint[]) as p (plan, age) on p.plan = t.plan
)
select ` + record.OldColumns + ` from kept k cross join lateral (
    select * from scans s
    where s.tenant_id = k.id and s.created_at < now() - k.age and s.finished_at < now() - k.age
    order by s.created_at limit $4 for update skip locked
) s where k.age is not null limit $4`

// dropFindings takes scan ids and how many findings to remove. For each scan it
// reads on in the primary key, in its order, so that the planner has no reason
// to read the table instead.
const dropFindings = `
delete from findings where ctid = any (array(
    select f.ctid from unnest($1::text[]::uuid[]) as s (id)
    cross join lateral (
        select ctid from findings where scan_id = s.id order by severity, id limit $2
    ) f
    limit $2
))`

// dropScans takes scan ids. Their jobs go with them.
const dropScans = `delete from scans where id = any($1::text[]::uuid[])`

// DropScans implements host.RetentionStore. Whatever changes a job holds its
// scan's lock, or a lease, which no job of a final scan has.
func (s *Store) DropScans(ctx context.Context, keep host.Keep, limit int) (host.Dropped, error) {
	most, plans, ages := record.Keep(keep)
	return s.dropPicked(ctx, "remove old scans", limit, pickOldScans, most, plans, ages)
}

// dropPicked removes the scans that a pick gives, which takes args and a limit.
func (s *Store) dropPicked(ctx context.Context, op string, limit int, pick string, args ...any) (out host.Dropped, err error) {
	err = s.do(ctx, op, func(ctx context.Context) error {
		out = host.Dropped{}
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			old, err := pickOld(ctx, tx, limit, pick, args...)
			if err != nil || len(old.IDs) == 0 {
				return err
			}
			full := len(old.IDs) == limit
			out.More = old.Fit() || full
			if out.Artifacts, err = blobsOfArtifacts(ctx, tx, old.IDs); err != nil {
				return err
			}
			for {
				r, err := tx.Exec(ctx, dropFindings, old.IDs, record.DropRows)
				if err != nil {
					return err
				}
				out.Findings += int(r.RowsAffected())
				if r.RowsAffected() < record.DropRows {
					break
				}
			}
			r, err := tx.Exec(ctx, dropScans, old.IDs)
			if err != nil {
				return err
			}
			out.Scans, out.Archives = int(r.RowsAffected()), old.Blobs()
			return freeStorage(ctx, tx, old)
		})
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// pickOld runs one of the picks.
func pickOld(ctx context.Context, tx pgx.Tx, limit int, pick string, args ...any) (old record.Old, err error) {
	rows, err := tx.Query(ctx, pick, append(slices.Clip(args), max(limit, 0))...)
	if err != nil {
		return old, err
	}
	var r record.OldRow
	_, err = pgx.ForEachRow(rows, r.Dest(), func() error { return old.Add(r) })
	return old, err
}

// pickOldArchives takes an age in microseconds and a limit and is pickOldScans for
// the scans, of whatever tenant, whose archive is still there. One with a dead
// letter, which an operator may requeue, keeps it.
const pickOldArchives = `
select ` + record.OldColumns + ` from scans s
where s.created_at < now() - $1 * interval '1 microsecond' and s.finished_at < now() - $1 * interval '1 microsecond'
  and s.archive is not null and s.archive_removed_at is null
  and not exists (select from jobs j where j.scan_id = s.id and j.tenant_id = s.tenant_id and j.dead_at is not null)
order by s.created_at limit $2 for no key update skip locked`

// dropArchives takes scan ids.
const dropArchives = `update scans set archive_removed_at = now(), archive_blob = null, archive_data = null where id = any($1::text[]::uuid[])`

// DropArchives implements host.RetentionStore.
func (s *Store) DropArchives(ctx context.Context, age time.Duration, limit int) (out host.Dropped, err error) {
	err = s.do(ctx, "remove old archives", func(ctx context.Context) error {
		out = host.Dropped{}
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			old, err := pickOld(ctx, tx, limit, pickOldArchives, record.Micros(age))
			if err != nil || len(old.IDs) == 0 {
				return err
			}
			out = host.Dropped{Scans: len(old.IDs), Archives: old.Blobs(), More: len(old.IDs) == limit}
			if _, err = tx.Exec(ctx, dropArchives, old.IDs); err != nil {
				return err
			}
			return freeStorage(ctx, tx, old)
		})
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// freeStorage notes that the archives of scans, which are locked, are kept no
// more.
func freeStorage(ctx context.Context, tx pgx.Tx, old record.Old) error {
	tenants, bytes := old.Freed()
	if len(tenants) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `insert into quota_ledger (tenant_id, reason, storage)
		select t, 'retention', -b from unnest($1::text[]::uuid[], $2::bigint[]) as f (t, b)`, tenants, bytes)
	return err
}

// unusedBlobs takes keys and gives those that nothing needs, in their order. The
// limits keep the planner from joining with whole tables.
const unusedBlobs = `
select k.key from unnest($1::text[]) with ordinality as k (key, n)
left join lateral (select 1 as one from scans s where s.archive_blob = k.key limit 1) used on true
left join lateral (select 1 as one from artifacts a where a.blob = k.key limit 1) made on true
where used.one is null and made.one is null order by k.n`

// UnusedBlobs implements host.RetentionStore.
func (s *Store) UnusedBlobs(ctx context.Context, keys []host.BlobKey) (unused []host.BlobKey, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = record.Clean(string(k))
	}
	err = s.do(ctx, "look for blobs that no scan needs", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, unusedBlobs, list)
		if err != nil {
			return err
		}
		unused, err = pgx.CollectRows(rows, pgx.RowTo[host.BlobKey])
		return err
	})
	return unused, err
}

// Origin implements host.RetentionStore.
func (s *Store) Origin(ctx context.Context) (origin string, err error) {
	err = s.do(ctx, "read the origin of the database", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `select id::text from origin`).Scan(&origin)
	})
	return origin, err
}
