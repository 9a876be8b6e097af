package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// findRequest takes a tenant, a key and the time at which what is remembered
// begins.
const findRequest = `
select tenant_id, key, digest, scan, created_at from accepted_requests where tenant_id = ? and key = ? and created_at > ?`

// repeated is *host.Repeated when some of the scans were asked for before.
func (tx tx) repeated(ctx context.Context, scans []host.Scan) error {
	found := map[host.ScanID]*host.Earlier{}
	for _, s := range scans {
		if s.Once == nil {
			continue
		}
		err := rows(ctx, tx, func(r *sql.Rows) error {
			var row record.Request
			if err := r.Scan(row.Dest(at)...); err != nil {
				return err
			}
			return row.Match(scans, found)
		}, findRequest, string(s.TenantID), s.Once.Key[:], tx.now-record.Micros(host.OnceKept))
		if err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return &host.Repeated{Scans: found}
	}
	return nil
}

// keepRequest remembers by what a scan was asked for, in the place of what is too
// old to count.
func (tx tx) keepRequest(ctx context.Context, s host.Scan) error {
	if s.Once == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `insert or replace into accepted_requests (tenant_id, key, digest, scan_id, scan, created_at) values (?, ?, ?, ?, ?, ?)`,
		string(s.TenantID), s.Once.Key[:], s.Once.Digest[:], string(s.ID), record.Encode(s), tx.now)
	return err
}

// Earlier implements host.ScanStore.
func (s *Store) Earlier(ctx context.Context, t host.TenantID, key [32]byte) (e *host.Earlier, err error) {
	const op = "look for an earlier request"
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var row record.Request
		if err := r.Scan(row.Dest(at)...); err != nil {
			return err
		}
		e, err = row.Value()
		return err
	}, findRequest, string(t), key[:], s.cfg.Now().UnixMicro()-record.Micros(host.OnceKept))
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	if e == nil {
		return nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return e, nil
}

// DropRequests implements host.RetentionStore.
func (s *Store) DropRequests(ctx context.Context, limit int) (n int, err error) {
	err = s.write(ctx, "forget old requests", func(ctx context.Context, tx tx) error {
		r, err := tx.ExecContext(ctx, `delete from accepted_requests where rowid in (
			select rowid from accepted_requests where created_at <= ? order by created_at limit ?)`,
			tx.now-record.Micros(host.OnceKept), max(limit, 0))
		if err != nil {
			return err
		}
		gone, err := r.RowsAffected()
		n = int(gone)
		return err
	})
	return n, err
}
