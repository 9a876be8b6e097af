package host

import (
	"context"
	"time"
)

// MaxTargets is how many targets a tenant may register.
const MaxTargets = 100

// Proof is how a tenant showed that a target is its own.
type Proof string

const (
	ProofNone Proof = "" // it has not
	// ProofDNS: whoever governs the name said so. It covers every port of the host
	// and the names below it.
	ProofDNS Proof = "dns"
	// ProofFile: whoever governs the web server said so. It covers the ports 80 and
	// 443 of the host, or the one port that the target names, and nothing below.
	ProofFile Proof = "well_known"
)

// Target is a host that a tenant says is its own, to be scanned.
type Target struct {
	ID       TargetID
	TenantID TenantID
	// Host is a name in ASCII and lower case, alone or with a port behind a colon.
	Host string
	// Token is what the tenant publishes. Each target has another one, so that what
	// one tenant publishes proves nothing for another.
	Token     string
	CreatedAt time.Time

	Proof     Proof
	ProvenAt  time.Time // when a check last found the token; zero: never, or the proof is gone
	CheckedAt time.Time // when the last check began; zero: there was none
	Fault     string    // what the last check found wrong, in words; "": nothing
}

// TargetCheck is what a check found.
type TargetCheck struct {
	Proof Proof  // ProofNone: the token was not found
	Fault string // why not, in words
	// Gone says that the token is certainly not there any more: an earlier proof
	// ends now. Otherwise it stays, and ends by its time.
	Gone bool
}

// TargetStore keeps targets. What takes a tenant sees nothing of any other's: what
// it has not is ErrNotFound, and that another one has the same host changes no
// answer.
type TargetStore interface {
	// CreateTarget stores one and returns it as stored. ErrConflict when the tenant
	// has one of the same host, ErrOverQuota when it has MaxTargets.
	CreateTarget(ctx context.Context, t Target) (Target, error)
	// Targets lists them, by host.
	Targets(ctx context.Context, t TenantID) ([]Target, error)
	Target(ctx context.Context, t TenantID, id TargetID) (Target, error)
	// DeleteTarget removes one, and its proof with it.
	DeleteTarget(ctx context.Context, t TenantID, id TargetID) error
	// BeginTargetCheck notes that a check begins now and returns the target.
	// ErrConflict when the last one began less than pause ago.
	BeginTargetCheck(ctx context.Context, t TenantID, id TargetID, pause time.Duration) (Target, error)
	// EndTargetCheck stores what a check found and returns the target.
	EndTargetCheck(ctx context.Context, t TenantID, id TargetID, c TargetCheck) (Target, error)
	// DueTargets takes targets of whatever tenants whose proof still holds and
	// whose last check began longer than age ago, at most limit, the longest ago
	// first, and notes that a check begins now: no other host takes the same. life
	// is how long a proof holds.
	DueTargets(ctx context.Context, age, life time.Duration, limit int) ([]Target, error)
	// Permit gives what it takes to decide what a tenant may have scanned: its
	// terms, and by host those of its targets whose proof is younger than life.
	// ErrNotFound when there is no such tenant.
	Permit(ctx context.Context, t TenantID, life time.Duration) (Terms, []Target, error)
}
