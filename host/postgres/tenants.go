package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

const tenantColumns = `t.id, t.name, t.created_at, coalesce(t.weight, 0), t.concurrency, t.suspended_at, t.suspended_reason, t.deleted_at, ` + record.TermsColumns

func scanTenant(r pgx.CollectableRow) (t host.Tenant, err error) {
	var terms record.Terms
	if err := r.Scan(append([]any{&t.ID, &t.Name, at(&t.CreatedAt), &t.Share.Weight, &t.Share.Concurrency,
		at(&t.Suspended.At), &t.Suspended.Reason, at(&t.DeletedAt)}, terms.Dest()...)...); err != nil {
		return t, err
	}
	t.Terms, err = terms.Value()
	return t, err
}

// CreateTenant implements host.TenantStore.
func (s *Store) CreateTenant(ctx context.Context, t host.Tenant) error {
	op := fmt.Sprintf("create tenant %q", t.Name)
	share, err := record.Share(t.Share)
	if err = errors.Join(err, t.Terms.Check()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return s.do(ctx, op, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `insert into tenants (id, name, weight, concurrency, plan, override) values ($1, $2, $3, $4, $5, $6)`,
			string(t.ID), record.Clean(t.Name), record.Weight(share), share.Concurrency, record.Clean(t.Terms.Plan), record.Override(t.Terms.Override))
		return err
	})
}

// SetShare implements host.TenantStore.
func (s *Store) SetShare(ctx context.Context, t host.TenantID, share host.Share) error {
	op := fmt.Sprintf("set the share of tenant %.64q", string(t))
	share, err := record.Share(share)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !record.IsID(t) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.do(ctx, op, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `update tenants set weight = $2, concurrency = $3 where id = $1`, string(t), record.Weight(share), share.Concurrency)
		if err == nil && tag.RowsAffected() == 0 {
			return host.ErrNotFound
		}
		return err
	})
}

// SetTerms implements host.TenantStore.
func (s *Store) SetTerms(ctx context.Context, t host.TenantID, terms host.Terms) error {
	op := fmt.Sprintf("set the terms of tenant %.64q", string(t))
	if err := terms.Check(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !record.IsID(t) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.do(ctx, op, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `update tenants set plan = $2, override = $3 where id = $1`,
			string(t), record.Clean(terms.Plan), record.Override(terms.Override))
		if err == nil && tag.RowsAffected() == 0 {
			return host.ErrNotFound
		}
		return err
	})
}

// TenantByName implements host.TenantStore.
func (s *Store) TenantByName(ctx context.Context, name string) (t host.Tenant, err error) {
	err = s.do(ctx, fmt.Sprintf("find tenant %q", name), func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `select `+tenantColumns+` from tenants t where name = $1`, record.Clean(name))
		if err != nil {
			return err
		}
		t, err = pgx.CollectExactlyOneRow(rows, scanTenant)
		return err
	})
	return t, err
}

// Tenants implements host.TenantStore.
func (s *Store) Tenants(ctx context.Context) (all []host.Tenant, err error) {
	err = s.do(ctx, "list tenants", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `select `+tenantColumns+` from tenants t order by name collate "C"`)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanTenant)
		return err
	})
	return all, err
}

const keyColumns = `id, tenant_id, name, prefix, hash, created_at, expires_at, revoked_at, last_used_at, scopes`

// scanKey reads keyColumns, and what stands behind them into more.
func scanKey(r pgx.CollectableRow, more ...any) (k host.Key, err error) {
	var hash []byte
	var scopes string
	err = r.Scan(append([]any{&k.ID, &k.TenantID, &k.Name, &k.Prefix, &hash,
		at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.RevokedAt), at(&k.LastUsedAt), &scopes}, more...)...)
	copy(k.Hash[:], hash)
	k.Scopes = record.ReadScopes(scopes)
	return k, err
}

// CreateKey implements host.KeyStore.
func (s *Store) CreateKey(ctx context.Context, k host.Key) error {
	op := fmt.Sprintf("create key %s", k.ID)
	if !record.IsID(k.TenantID) {
		return fmt.Errorf("%s: tenant %.64q: %w", op, k.TenantID, host.ErrNotFound)
	}
	return s.tenantBatch(ctx, op, k.TenantID, func(b *pgx.Batch) {
		b.Queue(`insert into api_keys (id, tenant_id, name, prefix, hash, expires_at, scopes) values ($1, $2, $3, $4, $5, $6, $7)`,
			string(k.ID), string(k.TenantID), record.Clean(k.Name), record.Clean(k.Prefix), k.Hash[:], orNull(k.ExpiresAt), record.Scopes(k.Scopes))
	})
}

// useKey takes a hash. It writes at most once a minute for each key, so that
// requests do not wait for a commit.
const useKey = `
with k as (
    select a.*, t.plan, t.override, t.suspended_at is not null as suspended from api_keys a join tenants t on t.id = a.tenant_id
    where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
), u as (
    update api_keys a set last_used_at = date_trunc('minute', now()) from k
    where a.id = k.id and a.last_used_at is distinct from date_trunc('minute', now())
)
select id, tenant_id, name, prefix, hash, created_at, expires_at, revoked_at, date_trunc('minute', now()), scopes, plan, override, suspended from k`

// UseKey implements host.KeyStore.
func (s *Store) UseKey(ctx context.Context, hash [32]byte) (k host.Key, err error) {
	err = s.read(ctx, "look up an API key", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, useKey, hash[:])
		if err != nil {
			return err
		}
		k, err = pgx.CollectExactlyOneRow(rows, func(r pgx.CollectableRow) (k host.Key, err error) {
			var terms record.Terms
			var suspended bool
			if k, err = scanKey(r, append(terms.Dest(), &suspended)...); err != nil {
				return k, err
			}
			k.Suspended = suspended
			k.Terms, err = terms.Value()
			return k, err
		})
		return err
	})
	return k, err
}

// goodKeys takes hashes.
const goodKeys = `
select hash from api_keys where hash = any($1::bytea[]) and revoked_at is null and (expires_at is null or expires_at > now())
union all
select hash from operator_keys where hash = any($1::bytea[]) and revoked_at is null and (expires_at is null or expires_at > now())`

// GoodKeys implements host.KeyStore.
func (s *Store) GoodKeys(ctx context.Context, hashes [][32]byte) (good [][32]byte, err error) {
	asked := make([][]byte, len(hashes))
	for i := range hashes {
		asked[i] = hashes[i][:]
	}
	err = s.read(ctx, "look up keys", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, goodKeys, asked)
		if err != nil {
			return err
		}
		good, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (hash [32]byte, err error) {
			var b []byte
			err = r.Scan(&b)
			copy(hash[:], b)
			return hash, err
		})
		return err
	})
	return good, err
}

// Keys implements host.KeyStore.
func (s *Store) Keys(ctx context.Context, t host.TenantID) (all []host.Key, err error) {
	if !record.IsID(t) {
		return nil, nil
	}
	err = s.tenantRead(ctx, "list keys", t, func(b *pgx.Batch) {
		b.Queue(`select `+keyColumns+` from api_keys where tenant_id = $1 order by created_at, id`, string(t)).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (host.Key, error) { return scanKey(r) })
			return err
		})
	})
	return all, err
}

// RevokeKey implements host.KeyStore.
func (s *Store) RevokeKey(ctx context.Context, t host.TenantID, k host.KeyID) error {
	op := fmt.Sprintf("revoke key %.64q", string(k))
	if !record.IsID(t) || !record.IsID(k) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`update api_keys set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1 and id = $2`, string(t), string(k)).Exec(one)
	})
}
