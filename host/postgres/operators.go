package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

const operatorColumns = `id, name, prefix, hash, created_at, expires_at, revoked_at, last_used_at`

func scanOperatorKey(r pgx.CollectableRow) (k host.OperatorKey, err error) {
	var hash []byte
	err = r.Scan(&k.ID, &k.Name, &k.Prefix, &hash, at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.RevokedAt), at(&k.LastUsedAt))
	copy(k.Hash[:], hash)
	return k, err
}

// CreateOperatorKey implements host.OperatorStore.
func (s *Store) CreateOperatorKey(ctx context.Context, k host.OperatorKey) error {
	return s.do(ctx, fmt.Sprintf("create operator key %s", k.ID), func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `insert into operator_keys (id, name, prefix, hash, expires_at) values ($1, $2, $3, $4, $5)`,
			string(k.ID), record.Clean(k.Name), record.Clean(k.Prefix), k.Hash[:], orNull(k.ExpiresAt))
		return err
	})
}

// useOperatorKey takes a hash. As useKey, it writes at most once a minute.
const useOperatorKey = `
with k as (
    select * from operator_keys
    where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
), u as (
    update operator_keys o set last_used_at = date_trunc('minute', now()) from k
    where o.id = k.id and o.last_used_at is distinct from date_trunc('minute', now())
)
select id, name, prefix, hash, created_at, expires_at, revoked_at, date_trunc('minute', now()) from k`

// UseOperatorKey implements host.OperatorStore.
func (s *Store) UseOperatorKey(ctx context.Context, hash [32]byte) (k host.OperatorKey, err error) {
	err = s.read(ctx, "look up an operator key", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, useOperatorKey, hash[:])
		if err != nil {
			return err
		}
		k, err = pgx.CollectExactlyOneRow(rows, scanOperatorKey)
		return err
	})
	return k, err
}

// OperatorKeys implements host.OperatorStore.
func (s *Store) OperatorKeys(ctx context.Context) (all []host.OperatorKey, err error) {
	err = s.do(ctx, "list operator keys", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `select `+operatorColumns+` from operator_keys order by created_at, id`)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanOperatorKey)
		return err
	})
	return all, err
}

// RevokeOperatorKey implements host.OperatorStore.
func (s *Store) RevokeOperatorKey(ctx context.Context, k host.KeyID) error {
	op := fmt.Sprintf("revoke operator key %.64q", string(k))
	if !record.IsID(k) {
		return fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.do(ctx, op, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `update operator_keys set revoked_at = coalesce(revoked_at, now()) where id = $1`, string(k))
		if err == nil && tag.RowsAffected() == 0 {
			return host.ErrNotFound
		}
		return err
	})
}
