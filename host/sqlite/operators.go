package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

const operatorColumns = `id, name, prefix, hash, created_at, expires_at, revoked_at, last_used_at`

func scanOperatorKey(scan func(...any) error) (k host.OperatorKey, err error) {
	var hash []byte
	err = scan(&k.ID, &k.Name, &k.Prefix, &hash, at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.RevokedAt), at(&k.LastUsedAt))
	copy(k.Hash[:], hash)
	return k, err
}

// CreateOperatorKey implements host.OperatorStore.
func (s *Store) CreateOperatorKey(ctx context.Context, k host.OperatorKey) error {
	return s.write(ctx, fmt.Sprintf("create operator key %s", k.ID), func(ctx context.Context, tx tx) error {
		if !record.IsID(k.ID) {
			return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
		}
		_, err := tx.ExecContext(ctx,
			`insert into operator_keys (id, name, prefix, hash, created_at, expires_at) values (?, ?, ?, ?, ?, ?)`,
			string(k.ID), record.Clean(k.Name), record.Clean(k.Prefix), k.Hash[:], tx.now, orNull(k.ExpiresAt))
		return err
	})
}

// UseOperatorKey implements host.OperatorStore. As UseKey, it writes at most
// once a minute.
func (s *Store) UseOperatorKey(ctx context.Context, hash [32]byte) (host.OperatorKey, error) {
	const op = "look up an operator key"
	now := s.cfg.Now()
	k, err := scanOperatorKey(s.readers.QueryRowContext(ctx, `select `+operatorColumns+` from operator_keys
		where hash = ? and revoked_at is null and (expires_at is null or expires_at > ?)`, hash[:], now.UnixMicro()).Scan)
	if err != nil {
		return host.OperatorKey{}, translate(ctx, op, err)
	}
	err = s.used(ctx, op, "operator_keys", k.ID, &k.LastUsedAt, now)
	return k, err
}

// OperatorKeys implements host.OperatorStore.
func (s *Store) OperatorKeys(ctx context.Context) (all []host.OperatorKey, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		k, err := scanOperatorKey(r.Scan)
		all = append(all, k)
		return err
	}, `select `+operatorColumns+` from operator_keys order by created_at, id`)
	if err != nil {
		return nil, translate(ctx, "list operator keys", err)
	}
	return all, nil
}

// RevokeOperatorKey implements host.OperatorStore.
func (s *Store) RevokeOperatorKey(ctx context.Context, k host.KeyID) error {
	return s.write(ctx, fmt.Sprintf("revoke operator key %.64q", string(k)), func(ctx context.Context, tx tx) error {
		return changed(tx.ExecContext(ctx, `update operator_keys set revoked_at = coalesce(revoked_at, ?) where id = ?`, tx.now, string(k)))
	})
}
