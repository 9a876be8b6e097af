package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

const tenantColumns = `t.id, t.name, t.created_at, coalesce(t.weight, 0), t.concurrency, t.suspended_at, t.suspended_reason, t.deleted_at, ` + record.TermsColumns

func scanTenant(scan func(...any) error) (t host.Tenant, err error) {
	var terms record.Terms
	if err := scan(append([]any{&t.ID, &t.Name, at(&t.CreatedAt), &t.Share.Weight, &t.Share.Concurrency,
		at(&t.Suspended.At), &t.Suspended.Reason, at(&t.DeletedAt)}, terms.Dest()...)...); err != nil {
		return t, err
	}
	t.Terms, err = terms.Value()
	return t, err
}

// CreateTenant implements host.TenantStore.
func (s *Store) CreateTenant(ctx context.Context, t host.Tenant) error {
	return s.write(ctx, fmt.Sprintf("create tenant %q", t.Name), func(ctx context.Context, tx tx) error {
		if !record.IsID(t.ID) {
			return fmt.Errorf("id %.64q is not a UUID: %w", string(t.ID), host.ErrInvalid)
		}
		share, err := record.Share(t.Share)
		if err = errors.Join(err, t.Terms.Check()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `insert into tenants (id, name, created_at, weight, concurrency, plan, override) values (?, ?, ?, ?, ?, ?, ?)`,
			string(t.ID), record.Clean(t.Name), tx.now, record.Weight(share), share.Concurrency, record.Clean(t.Terms.Plan), record.Override(t.Terms.Override))
		return err
	})
}

// SetShare implements host.TenantStore.
func (s *Store) SetShare(ctx context.Context, t host.TenantID, share host.Share) error {
	return s.write(ctx, fmt.Sprintf("set the share of tenant %.64q", string(t)), func(ctx context.Context, tx tx) error {
		share, err := record.Share(share)
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `update tenants set weight = ?, concurrency = ? where id = ?`, record.Weight(share), share.Concurrency, string(t))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return host.ErrNotFound
	})
}

// SetTerms implements host.TenantStore.
func (s *Store) SetTerms(ctx context.Context, t host.TenantID, terms host.Terms) error {
	return s.write(ctx, fmt.Sprintf("set the terms of tenant %.64q", string(t)), func(ctx context.Context, tx tx) error {
		if err := terms.Check(); err != nil {
			return err
		}
		return changed(tx.ExecContext(ctx, `update tenants set plan = ?, override = ? where id = ?`,
			record.Clean(terms.Plan), record.Override(terms.Override), string(t)))
	})
}

// TenantByName implements host.TenantStore.
func (s *Store) TenantByName(ctx context.Context, name string) (t host.Tenant, err error) {
	t, err = scanTenant(s.readers.QueryRowContext(ctx, `select `+tenantColumns+` from tenants t where name = ?`, record.Clean(name)).Scan)
	if err != nil {
		return host.Tenant{}, translate(ctx, fmt.Sprintf("find tenant %q", name), err)
	}
	return t, nil
}

// Tenants implements host.TenantStore.
func (s *Store) Tenants(ctx context.Context) (all []host.Tenant, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		t, err := scanTenant(r.Scan)
		all = append(all, t)
		return err
	}, `select `+tenantColumns+` from tenants t order by name`)
	if err != nil {
		return nil, translate(ctx, "list tenants", err)
	}
	return all, nil
}

const keyColumns = `a.id, a.tenant_id, a.name, a.prefix, a.hash, a.created_at, a.expires_at, a.revoked_at, a.last_used_at, a.scopes`

// scanKey reads keyColumns, and what stands behind them into more.
func scanKey(scan func(...any) error, more ...any) (k host.Key, err error) {
	var hash []byte
	var scopes string
	err = scan(append([]any{&k.ID, &k.TenantID, &k.Name, &k.Prefix, &hash,
		at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.RevokedAt), at(&k.LastUsedAt), &scopes}, more...)...)
	copy(k.Hash[:], hash)
	k.Scopes = record.ReadScopes(scopes)
	return k, err
}

// CreateKey implements host.KeyStore.
func (s *Store) CreateKey(ctx context.Context, k host.Key) error {
	return s.write(ctx, fmt.Sprintf("create key %s", k.ID), func(ctx context.Context, tx tx) error {
		if !record.IsID(k.ID) {
			return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
		}
		_, err := tx.ExecContext(ctx,
			`insert into api_keys (id, tenant_id, name, prefix, hash, created_at, expires_at, scopes) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			string(k.ID), string(k.TenantID), record.Clean(k.Name), record.Clean(k.Prefix), k.Hash[:], tx.now, orNull(k.ExpiresAt), record.Scopes(k.Scopes))
		return err
	})
}

// UseKey implements host.KeyStore. It writes at most once a minute for each
// key, so that requests do not wait for a commit.
func (s *Store) UseKey(ctx context.Context, hash [32]byte) (host.Key, error) {
	const op = "look up an API key"
	now := s.cfg.Now()
	var terms record.Terms
	var suspended bool
	k, err := scanKey(s.readers.QueryRowContext(ctx, `select `+keyColumns+`, `+record.TermsColumns+`, t.suspended_at is not null
		from api_keys a join tenants t on t.id = a.tenant_id
		where hash = ? and revoked_at is null and (expires_at is null or expires_at > ?)`, hash[:], now.UnixMicro()).Scan, append(terms.Dest(), &suspended)...)
	if err == nil {
		k.Suspended = suspended
		k.Terms, err = terms.Value()
	}
	if err != nil {
		return host.Key{}, translate(ctx, op, err)
	}
	err = s.used(ctx, op, "api_keys", k.ID, &k.LastUsedAt, now)
	return k, err
}

// goodKeys takes a JSON array of hashes in hex, and twice the time.
const goodKeys = `
with asked as materialized (select unhex(value) as hash from json_each(?))
select k.hash from asked join api_keys k on k.hash = asked.hash where revoked_at is null and (expires_at is null or expires_at > ?)
union all
select k.hash from asked join operator_keys k on k.hash = asked.hash where revoked_at is null and (expires_at is null or expires_at > ?)`

// GoodKeys implements host.KeyStore.
func (s *Store) GoodKeys(ctx context.Context, hashes [][32]byte) (good [][32]byte, err error) {
	now, asked := s.cfg.Now().UnixMicro(), make([]string, len(hashes))
	for i := range hashes {
		asked[i] = hex.EncodeToString(hashes[i][:])
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var b []byte
		err := r.Scan(&b)
		good = append(good, [32]byte{})
		copy(good[len(good)-1][:], b)
		return err
	}, goodKeys, list(asked), now, now)
	if err != nil {
		return nil, translate(ctx, "look up keys", err)
	}
	return good, nil
}

// used notes in a table of keys, and in last, the minute in which a key is used.
func (s *Store) used(ctx context.Context, op, table string, key host.KeyID, last *time.Time, now time.Time) error {
	minute := now.UTC().Truncate(time.Minute)
	if last.Equal(minute) {
		return nil
	}
	*last = minute
	return s.write(ctx, op, func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `update `+table+` set last_used_at = ? where id = ?`, minute.UnixMicro(), string(key))
		return err
	})
}

// Keys implements host.KeyStore.
func (s *Store) Keys(ctx context.Context, t host.TenantID) (all []host.Key, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		k, err := scanKey(r.Scan)
		all = append(all, k)
		return err
	}, `select `+keyColumns+` from api_keys a where tenant_id = ? order by created_at, id`, string(t))
	if err != nil {
		return nil, translate(ctx, "list keys", err)
	}
	return all, nil
}

// RevokeKey implements host.KeyStore.
func (s *Store) RevokeKey(ctx context.Context, t host.TenantID, k host.KeyID) error {
	return s.write(ctx, fmt.Sprintf("revoke key %.64q", string(k)), func(ctx context.Context, tx tx) error {
		return changed(tx.ExecContext(ctx, `update api_keys set revoked_at = coalesce(revoked_at, ?) where tenant_id = ? and id = ?`,
			tx.now, string(t), string(k)))
	})
}

// changed gives ErrNotFound when a statement changed no row.
func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return host.ErrNotFound
	}
	return err
}
