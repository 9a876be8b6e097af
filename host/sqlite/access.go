package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// takeBackTenant is takeBack for a tenant.
func (tx tx) takeBackTenant(ctx context.Context, t host.TenantID) error {
	_, err := tx.ExecContext(ctx, `update jobs set dispatched_at = null where state = 'queued' and dispatched_at is not null and tenant_id = ?`, string(t))
	return err
}

// Suspend implements host.TenantStore.
func (s *Store) Suspend(ctx context.Context, t host.TenantID, reason string) error {
	return s.write(ctx, fmt.Sprintf("suspend tenant %.64q", string(t)), func(ctx context.Context, tx tx) error {
		err := changed(tx.ExecContext(ctx, `update tenants set suspended_at = coalesce(suspended_at, ?), suspended_reason = ? where id = ?`,
			tx.now, record.Clean(reason), string(t)))
		if err != nil {
			return err
		}
		return tx.takeBackTenant(ctx, t)
	})
}

// Unsuspend implements host.TenantStore.
func (s *Store) Unsuspend(ctx context.Context, t host.TenantID) error {
	return s.write(ctx, fmt.Sprintf("resume tenant %.64q", string(t)), func(ctx context.Context, tx tx) error {
		var deleting bool
		if err := tx.QueryRowContext(ctx, `select deleted_at is not null from tenants where id = ?`, string(t)).Scan(&deleting); err != nil {
			return err
		}
		if deleting {
			return fmt.Errorf("it is being deleted: %w", host.ErrConflict)
		}
		return changed(tx.ExecContext(ctx, `update tenants set suspended_at = null, suspended_reason = '' where id = ?`, string(t)))
	})
}

// DeleteTenant implements host.TenantStore.
func (s *Store) DeleteTenant(ctx context.Context, t host.TenantID) error {
	return s.write(ctx, fmt.Sprintf("delete tenant %.64q", string(t)), func(ctx context.Context, tx tx) error {
		err := changed(tx.ExecContext(ctx, `update tenants set deleted_at = coalesce(deleted_at, ?1), suspended_at = coalesce(suspended_at, ?1) where id = ?2`,
			tx.now, string(t)))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `update api_keys set revoked_at = coalesce(revoked_at, ?) where tenant_id = ?`, tx.now, string(t)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `update webhooks set disabled_at = ?, disabled_reason = 'the tenant is being deleted' where tenant_id = ? and disabled_at is null`,
			tx.now, string(t))
		if err != nil {
			return err
		}
		return tx.takeBackTenant(ctx, t)
	})
}

// RotateKey implements host.KeyStore.
func (s *Store) RotateKey(ctx context.Context, t host.TenantID, old host.KeyID, overlap time.Duration, next host.Key) (out host.Key, err error) {
	err = s.write(ctx, fmt.Sprintf("rotate key %.64q", string(old)), func(ctx context.Context, tx tx) error {
		was, err := scanKey(tx.QueryRowContext(ctx, `select `+keyColumns+` from api_keys a where tenant_id = ? and id = ?`, string(t), string(old)).Scan)
		if err != nil {
			return err
		}
		if !was.RevokedAt.IsZero() || !was.ExpiresAt.IsZero() && was.ExpiresAt.UnixMicro() <= tx.now {
			return fmt.Errorf("it is revoked or expired: %w", host.ErrConflict)
		}
		end := tx.now + record.Micros(max(overlap, 0))
		if _, err := tx.ExecContext(ctx, `update api_keys set expires_at = min(coalesce(expires_at, ?1), ?1) where id = ?2`, end, string(old)); err != nil {
			return err
		}
		if !record.IsID(next.ID) {
			return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
		}
		name := record.Clean(next.Name)
		if name == "" {
			name = was.Name
		}
		_, err = tx.ExecContext(ctx,
			`insert into api_keys (id, tenant_id, name, prefix, hash, created_at, expires_at, scopes) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			string(next.ID), string(t), name, record.Clean(next.Prefix), next.Hash[:], tx.now, orNull(next.ExpiresAt), record.Scopes(was.Scopes))
		if err != nil {
			return err
		}
		out, err = scanKey(tx.QueryRowContext(ctx, `select `+keyColumns+` from api_keys a where id = ?`, string(next.ID)).Scan)
		return err
	})
	if err != nil {
		return host.Key{}, err
	}
	return out, nil
}

const auditColumns = `id, at, actor, name, action, target, outcome, source, request, times`

// AppendAudit implements host.AuditStore.
func (s *Store) AppendAudit(ctx context.Context, lines []host.AuditLine) error {
	if len(lines) == 0 {
		return nil
	}
	return s.write(ctx, "write the audit log", func(ctx context.Context, tx tx) error {
		for _, l := range lines {
			if !record.IsID(l.ID) {
				return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
			}
			_, err := tx.ExecContext(ctx, `insert into audit (`+auditColumns+`) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				append([]any{string(l.ID), tx.now}, record.Audit(l)...)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Audit implements host.AuditStore.
func (s *Store) Audit(ctx context.Context, q host.AuditQuery) (all []host.AuditLine, err error) {
	const op = "read the audit log"
	if q.After != "" && !record.IsID(q.After) {
		return nil, fmt.Errorf("%s: cursor %.64q is not a UUID: %w", op, string(q.After), host.ErrInvalid)
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var l host.AuditLine
		err := r.Scan(&l.ID, at(&l.At), &l.Actor, &l.Name, &l.Action, &l.Target, &l.Outcome, &l.Source, &l.Request, &l.Times)
		all = append(all, l)
		return err
	}, `select `+auditColumns+` from audit
		where (?1 = '' or action = ?1) and (?2 = '' or actor = ?2) and (?3 = '' or id < ?3)
		order by id desc limit ?4`, record.Clean(q.Action), record.Clean(q.Actor), string(q.After), record.Limit(q.Limit, 100, 1001))
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	return all, nil
}

// DropAudit implements host.RetentionStore.
func (s *Store) DropAudit(ctx context.Context, limit int) (n int, err error) {
	err = s.write(ctx, "remove old lines of the audit log", func(ctx context.Context, tx tx) error {
		r, err := tx.ExecContext(ctx, `delete from audit where id in (select id from audit where at < ? order by at limit ?)`,
			tx.now-record.Micros(host.AuditKept), max(limit, 0))
		if err != nil {
			return err
		}
		gone, err := r.RowsAffected()
		n = int(gone)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// pickTenantScans is pickOldScans for the ended scans of a tenant, of any age.
const pickTenantScans = `
select ` + record.OldColumns + ` from scans s
where s.tenant_id = ?1 and s.finished_at is not null order by s.id limit ?2`

// DropTenant implements host.RetentionStore. One whose jobs still run does not
// keep the others.
func (s *Store) DropTenant(ctx context.Context, limit int) (host.Dropped, error) {
	deleted, err := s.strings(ctx, "find tenants to remove", `select id from tenants where deleted_at is not null order by deleted_at, id`)
	if err != nil {
		return host.Dropped{}, err
	}
	for _, t := range deleted {
		if out, err := s.dropTenant(ctx, t, limit); err != nil || out.More {
			return out, err
		}
	}
	return host.Dropped{}, nil
}

func (s *Store) dropTenant(ctx context.Context, t string, limit int) (host.Dropped, error) {
	open, err := s.strings(ctx, "find the scans of a tenant that go on",
		`select id from scans where tenant_id = ? and finished_at is null and cancel_requested_at is null order by id limit ?`, t, max(limit, 0))
	if err != nil {
		return host.Dropped{}, err
	}
	if err := s.cancelAll(ctx, t, open); err != nil {
		return host.Dropped{}, err
	}
	out, err := s.dropPicked(ctx, "remove the scans of a tenant", limit, nil, pickTenantScans, func(tx) []any { return []any{t} })
	if err != nil || len(open)+out.Scans > 0 {
		out.More = err == nil
		return out, err
	}
	if out, err = s.dropProjectFindings(ctx, t); err != nil || out.More {
		return out, err
	}
	err = s.write(ctx, "remove a tenant", func(ctx context.Context, tx tx) error {
		out = host.Dropped{}
		var left bool
		if err := tx.QueryRowContext(ctx, `select exists (select 1 from scans where tenant_id = ?)`, t).Scan(&left); err != nil || left {
			return err
		}
		for _, table := range []string{"api_keys", "webhooks", "targets"} {
			if _, err := tx.ExecContext(ctx, `delete from `+table+` where tenant_id = ?`, t); err != nil {
				return err
			}
		}
		r, err := tx.ExecContext(ctx, `delete from tenants where id = ?`, t)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		out.Tenants, out.More = int(n), err == nil
		return err
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// cancelAll asks for the end of a tenant's scans.
func (s *Store) cancelAll(ctx context.Context, tenant string, scans []string) error {
	for _, id := range scans {
		err := s.write(ctx, "cancel scan "+id, func(ctx context.Context, tx tx) error {
			return tx.cancel(ctx, host.TenantID(tenant), host.ScanID(id))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) strings(ctx context.Context, op, query string, args ...any) (all []string, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var one string
		err := r.Scan(&one)
		all = append(all, one)
		return err
	}, query, args...)
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	return all, nil
}
