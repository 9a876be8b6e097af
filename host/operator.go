package host

import (
	"context"
	"time"
)

// OperatorKey opens /admin: the queue, the tenants and their keys. It belongs to no tenant,
// and a tenant's key is never one. It is kept as [Key] is.
type OperatorKey struct {
	ID         KeyID
	Name       string   // who has it
	Prefix     string   // the first characters, to recognise a key in a list
	Hash       [32]byte // SHA-256 of the whole key
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
	LastUsedAt time.Time // zero: never used; kept to the minute
}

// OperatorStore keeps operators' keys.
type OperatorStore interface {
	// CreateOperatorKey stores a key; ErrConflict when there is one like it.
	CreateOperatorKey(ctx context.Context, k OperatorKey) error
	// UseOperatorKey returns the key with this hash and notes that it was used.
	// ErrNotFound when there is none, or it is revoked or expired.
	UseOperatorKey(ctx context.Context, hash [32]byte) (OperatorKey, error)
	// OperatorKeys lists all, oldest first, revoked ones included.
	OperatorKeys(ctx context.Context) ([]OperatorKey, error)
	// RevokeOperatorKey revokes one; idempotent. ErrNotFound when there is none
	// such.
	RevokeOperatorKey(ctx context.Context, k KeyID) error
}
