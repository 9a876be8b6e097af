package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// one gives ErrNotFound when a statement of a batch touched no row.
func one(tag pgconn.CommandTag) error {
	if tag.RowsAffected() == 0 {
		return host.ErrNotFound
	}
	return nil
}

// takeBackTenant is takeBack for a tenant.
const takeBackTenant = `
update jobs set dispatched_at = null where id = any(array(
    select id from jobs where state = 'queued' and dispatched_at is not null and tenant_id = $1
    order by id for no key update))`

// Suspend implements host.TenantStore. It holds the dispatch lock, as Pause does.
func (s *Store) Suspend(ctx context.Context, t host.TenantID, reason string) error {
	op := fmt.Sprintf("suspend tenant %.64q", string(t))
	if !record.IsID(t) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(dispatchLock)
		b.Queue(`update tenants set suspended_at = coalesce(suspended_at, now()), suspended_reason = $2 where id = $1`,
			string(t), record.Clean(reason)).Exec(one)
		b.Queue(takeBackTenant, string(t))
	})
}

// Unsuspend implements host.TenantStore.
func (s *Store) Unsuspend(ctx context.Context, t host.TenantID) error {
	op := fmt.Sprintf("resume tenant %.64q", string(t))
	if !record.IsID(t) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.do(ctx, op, func(ctx context.Context) error {
		var deleting bool
		err := s.pool.QueryRow(ctx, `
			with u as (update tenants set suspended_at = null, suspended_reason = '' where id = $1 and deleted_at is null)
			select deleted_at is not null from tenants where id = $1`, string(t)).Scan(&deleting)
		if err == nil && deleting {
			return fmt.Errorf("it is being deleted: %w", host.ErrConflict)
		}
		return err
	})
}

// DeleteTenant implements host.TenantStore.
func (s *Store) DeleteTenant(ctx context.Context, t host.TenantID) error {
	op := fmt.Sprintf("delete tenant %.64q", string(t))
	if !record.IsID(t) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(dispatchLock)
		b.Queue(`update tenants set deleted_at = coalesce(deleted_at, now()), suspended_at = coalesce(suspended_at, now()) where id = $1`,
			string(t)).Exec(one)
		b.Queue(`update api_keys set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1`, string(t))
		b.Queue(`update webhooks set disabled_at = now(), disabled_reason = 'the tenant is being deleted' where tenant_id = $1 and disabled_at is null`, string(t))
		b.Queue(takeBackTenant, string(t))
	})
}

// rotateKey takes tenant, key, overlap in microseconds, and of the new key id,
// name, prefix, hash and its end or null. It returns nothing when there is no
// such key that is good.
const rotateKey = `
with old as (
    update api_keys set expires_at = least(expires_at, now() + $3 * interval '1 microsecond')
    where tenant_id = $1 and id = $2 and revoked_at is null and (expires_at is null or expires_at > now())
    returning name, scopes
)
insert into api_keys as a (id, tenant_id, name, prefix, hash, expires_at, scopes)
select $4::uuid, $1, coalesce(nullif($5, ''), o.name), $6, $7, $8::timestamptz, o.scopes from old o
returning ` + keyColumns

// RotateKey implements host.KeyStore.
func (s *Store) RotateKey(ctx context.Context, t host.TenantID, old host.KeyID, overlap time.Duration, next host.Key) (out host.Key, err error) {
	op := fmt.Sprintf("rotate key %.64q", string(old))
	if !record.IsID(t) || !record.IsID(old) {
		return host.Key{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	var rotated, there bool
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(rotateKey, string(t), string(old), record.Micros(max(overlap, 0)),
			string(next.ID), record.Clean(next.Name), record.Clean(next.Prefix), next.Hash[:], orNull(next.ExpiresAt)).
			Query(func(rows pgx.Rows) (err error) {
				out, err = pgx.CollectExactlyOneRow(rows, func(r pgx.CollectableRow) (host.Key, error) { return scanKey(r) })
				if rotated = err == nil; errors.Is(err, pgx.ErrNoRows) {
					err = nil
				}
				return err
			})
		b.Queue(`select exists (select from api_keys where tenant_id = $1 and id = $2)`, string(t), string(old)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
	})
	switch {
	case err != nil, rotated:
		return out, err
	case there:
		return host.Key{}, fmt.Errorf("%s: it is revoked or expired: %w", op, host.ErrConflict)
	}
	return host.Key{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
}

const auditColumns = `id, at, actor, name, action, target, outcome, source, request, times`

// AppendAudit implements host.AuditStore.
func (s *Store) AppendAudit(ctx context.Context, lines []host.AuditLine) error {
	if len(lines) == 0 {
		return nil
	}
	return s.batch(ctx, "write the audit log", func(b *pgx.Batch) {
		for _, l := range lines {
			b.Queue(`insert into audit (id, actor, name, action, target, outcome, source, request, times) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
				append([]any{string(l.ID)}, record.Audit(l)...)...)
		}
	})
}

// Audit implements host.AuditStore.
func (s *Store) Audit(ctx context.Context, q host.AuditQuery) (all []host.AuditLine, err error) {
	const op = "read the audit log"
	var after *string
	if q.After != "" {
		if !record.IsID(q.After) {
			return nil, fmt.Errorf("%s: cursor %.64q is not a UUID: %w", op, string(q.After), host.ErrInvalid)
		}
		after = new(string(q.After))
	}
	err = s.read(ctx, op, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `select `+auditColumns+` from audit
			where ($1 = '' or action = $1) and ($2 = '' or actor = $2) and ($3::uuid is null or id < $3::uuid)
			order by id desc limit $4`, record.Clean(q.Action), record.Clean(q.Actor), after, record.Limit(q.Limit, 100, 1001))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l host.AuditLine, err error) {
			return l, r.Scan(&l.ID, at(&l.At), &l.Actor, &l.Name, &l.Action, &l.Target, &l.Outcome, &l.Source, &l.Request, &l.Times)
		})
		return err
	})
	return all, err
}

// DropAudit implements host.RetentionStore.
func (s *Store) DropAudit(ctx context.Context, limit int) (n int, err error) {
	err = s.do(ctx, "remove old lines of the audit log", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from audit where id = any(array(
			select id from audit where at < now() - $1 * interval '1 microsecond' order by at limit $2 for update skip locked))`,
			record.Micros(host.AuditKept), max(limit, 0))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}
