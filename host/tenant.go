package host

import "time"

// Tenant is who is isolated from whom. Everything but tenants belongs to one.
type Tenant struct {
	ID        TenantID
	Name      string // unique, ^[a-z0-9][a-z0-9-]{0,62}$
	CreatedAt time.Time
	Share     Share
	Terms     Terms
	// Suspended is why and since when none of its jobs start and its keys are
	// refused.
	Suspended Suspension
	DeletedAt time.Time // since when its data is being removed; zero: it stays
}

// Suspension is why and since when a tenant is suspended; At is zero when it is
// not.
type Suspension struct {
	At     time.Time
	Reason string // for people, one line of at most 200 bytes
}

// Key is an API key. The secret itself is shown once, when the key is made,
// and kept only as its SHA-256: it is 256 random bits, so a slow hash would
// protect nothing more.
type Key struct {
	ID         KeyID
	TenantID   TenantID
	Name       string   // what the operator calls it
	Prefix     string   // the first characters, to recognise a key in a list
	Hash       [32]byte // SHA-256 of the whole key
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
	LastUsedAt time.Time // zero: never used; kept to the minute
	Scopes     Scopes    // none: the default ones
	// Terms are its tenant's, and Suspended whether that is. Only UseKey gives
	// them.
	Terms     Terms
	Suspended bool
}
