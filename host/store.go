package host

import (
	"context"
	"time"
)

// Store is the truth. One implementation is postgres, one is sqlite; both pass
// storetest. All methods are safe for concurrent use, bounded by ctx, and use
// the store's own clock. Times come back in UTC with microseconds. Errors wrap
// a sentinel of this package; what the server could not answer wraps
// ErrUnavailable.
type Store interface {
	TenantStore
	KeyStore
	ScanStore
	JobStore
	RetentionStore
	QueueStore
	OperatorStore
	AuditStore
	QuotaStore
	ProjectStore
	DeletionStore
	WebhookStore
	DeliveryStore
	OutboxStore
	TargetStore
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	// Close releases the connections. Idempotent.
	Close() error
}

// TenantStore keeps tenants.
type TenantStore interface {
	// CreateTenant stores a tenant; ErrConflict when the name is taken,
	// ErrInvalid for a share or terms out of bounds.
	CreateTenant(ctx context.Context, t Tenant) error
	// SetShare changes what a tenant gets, from the next Dispatch on.
	// ErrNotFound when there is none such, ErrInvalid for a share out of bounds.
	SetShare(ctx context.Context, t TenantID, s Share) error
	// SetTerms changes what a tenant may use, from the next UseKey on.
	// ErrNotFound when there is none such, ErrInvalid for what [Terms.Check]
	// refuses.
	SetTerms(ctx context.Context, t TenantID, terms Terms) error
	// Suspend refuses a tenant's keys and starts none of its jobs; what runs goes
	// on. Again, it changes only the reason. ErrNotFound when there is none such.
	Suspend(ctx context.Context, t TenantID, reason string) error
	// Unsuspend takes that back; idempotent. ErrNotFound when there is none such,
	// ErrConflict when it is being deleted.
	Unsuspend(ctx context.Context, t TenantID) error
	// DeleteTenant suspends a tenant for good and revokes its keys. Its data goes
	// bit by bit, by DropTenant, and its name is free when all is gone.
	// Idempotent. ErrNotFound when there is none such.
	DeleteTenant(ctx context.Context, t TenantID) error
	// TenantByName returns ErrNotFound when there is none.
	TenantByName(ctx context.Context, name string) (Tenant, error)
	// Tenants lists all, by name.
	Tenants(ctx context.Context) ([]Tenant, error)
}

// KeyStore keeps API keys.
type KeyStore interface {
	// CreateKey stores a key; ErrNotFound when its tenant does not exist.
	CreateKey(ctx context.Context, k Key) error
	// RotateKey stores next, for the tenant, with the scopes of the key old (and
	// its name, if it has none), and lets old end overlap from now, unless it
	// ends earlier: both or neither. ErrNotFound when the tenant has no such key,
	// ErrConflict when that is revoked or expired. It returns next as stored.
	RotateKey(ctx context.Context, t TenantID, old KeyID, overlap time.Duration, next Key) (Key, error)
	// UseKey returns the key with this hash, with its tenant's terms, and notes that it was used.
	// ErrNotFound when there is none, or it is revoked or expired.
	UseKey(ctx context.Context, hash [32]byte) (Key, error)
	// GoodKeys gives those of the hashes, in any order, for which UseKey or
	// UseOperatorKey has a key. It is one look-up for any number, and notes
	// nothing: for whoever is asked about many keys that are most likely none.
	GoodKeys(ctx context.Context, hashes [][32]byte) ([][32]byte, error)
	// Keys lists a tenant's keys, oldest first, revoked ones included.
	Keys(ctx context.Context, t TenantID) ([]Key, error)
	// RevokeKey revokes one; idempotent. ErrNotFound when the tenant has none
	// such.
	RevokeKey(ctx context.Context, t TenantID, k KeyID) error
}

// ScanStore is what the API and intake need of scans. Every method takes the
// tenant and sees nothing of any other, nor of what is being deleted
// ([DeletionStore]).
type ScanStore interface {
	// Accept stores scans and their jobs, queued, all of them or none, in one
	// transaction that survives a crash of the machine once it returns nil, and
	// returns them in the same order. Times are set by the store. Each scan must
	// have at least one job.
	//
	// quotas are those of the scans' tenants; one that is not there has none.
	// However many hosts accept at the same time, no tenant comes to hold more.
	// [*OverQuota] when not all scans fit.
	//
	// A scan's Secrets are kept until it ends, whatever ends it: the transaction
	// that stores its end removes them. Its SecretOptions stay.
	//
	// Of those of a tenant's scans that are Once with the same key one is
	// accepted within OnceKept, however many hosts are asked: for the others,
	// whether there is room or not, it is [*Repeated], and nothing is stored. No
	// two of scans may have the same key. A key is free again when its scan is
	// removed.
	Accept(ctx context.Context, scans []Scan, quotas map[TenantID]Quota) ([]Scan, error)
	// Earlier is what a request with this key led to. ErrNotFound when the tenant
	// had none within OnceKept.
	Earlier(ctx context.Context, t TenantID, key [32]byte) (*Earlier, error)
	// Scan returns a scan with its jobs.
	Scan(ctx context.Context, t TenantID, id ScanID) (Scan, error)
	// Scans lists, newest first, without jobs.
	Scans(ctx context.Context, t TenantID, q ScanQuery) ([]Scan, error)
	// Cancel asks for a scan's end: queued jobs become canceled at once,
	// running ones when their host hears of it. Idempotent. ErrConflict when
	// the scan ended in another way.
	Cancel(ctx context.Context, t TenantID, id ScanID) (Scan, error)
	// Findings lists the findings of a scan's delivered jobs by (severity rank,
	// id). ErrNotFound when the tenant has no such scan.
	Findings(ctx context.Context, t TenantID, id ScanID, q FindingQuery) ([]Finding, error)
	// Artifacts lists the artifacts of a scan's delivered jobs, by plugin and
	// name. ErrNotFound when the tenant has no such scan.
	Artifacts(ctx context.Context, t TenantID, id ScanID) ([]Artifact, error)
}

// ScanQuery narrows a list. The zero value is everything; Limit 0 means 50,
// and at most 500 are returned.
type ScanQuery struct {
	Type    string
	Project string
	State   State
	After   ScanID // continue behind this scan; ids are ordered by time
	Limit   int
}

// FindingQuery narrows findings. Limit 0 means 100, at most 1000.
type FindingQuery struct {
	Severity Severity // only this one; "" for all
	Plugin   string   // only of this one; "" for all
	After    *FindingCursor
	Limit    int
}

// FindingCursor is the last finding of the page before.
type FindingCursor struct {
	Rank int
	ID   FindingID
}

// JobStore is the job's life, for dispatch. Each method is one transaction.
// Whatever carries a lease changes nothing when the lease is gone.
type JobStore interface {
	// Dispatch marks ready jobs of the query's plugins as handed out and returns
	// their doorbells: at most the window minus those of them already out and
	// unclaimed, so that jobs which no host can run hold up nobody. A job out for longer
	// than the horizon is handed out again, so a lost doorbell costs at most that.
	// Queued jobs over their deadline become timed_out here. What is paused
	// ([QueueStore]) is not handed out.
	//
	// With a claim, the first of the jobs that are handed out are claimed as by
	// Claim, in the same transaction, up to so many. They have no doorbell. One
	// whose scan somebody else writes to at that moment has one instead.
	//
	// It is fair: tenants with ready jobs take turns in proportion to their
	// weights, whatever their backlogs, and one that was not served since it
	// came goes first. Within a tenant the order is priority, then time.
	//
	// No cap is ever exceeded, however many hosts dispatch: a job counts while
	// it runs, or is queued and handed out. One that was handed out twice the
	// horizon ago and is of a plugin that nobody rings for counts no more.
	//
	// What it costs depends on the window, on what runs, and a little on the
	// number of tenants with queued jobs; not on how many they have.
	Dispatch(ctx context.Context, q DispatchQuery) (Dispatched, error)
	// Undispatch takes the mark back from jobs whose doorbell could not be rung.
	Undispatch(ctx context.Context, ids []JobID) error
	// MendLanes makes sure that Dispatch will find the queued jobs: when one is
	// stored at the moment in which Dispatch forgets its lane, which it had
	// found empty, the lane is missing. It looks at up to limit lanes of those
	// that have queued jobs, goes on there the next time, and returns how many
	// it mended.
	MendLanes(ctx context.Context, limit int) (int, error)
	// Claim takes those among ids for owner, until ttl from now, that are queued
	// and handed out: attempt and epoch grow by one, the lease id is new. Others
	// are left out, and so is what is paused. A job whose mark was taken back, or
	// that ran and was given back since its doorbell rang, counts for no cap until
	// it is handed out again, so an old doorbell must not claim it.
	Claim(ctx context.Context, owner string, ids []JobID, ttl time.Duration) ([]Claim, error)
	// Heartbeat extends the leases and stores progress; a lease that is lost or
	// expired gets no pulse.
	Heartbeat(ctx context.Context, beats []Beat, ttl time.Duration) ([]Pulse, error)
	// AddFindings keeps findings early, so that a large result needs no memory.
	// They show only once Finish delivers the job under the same lease.
	// ErrLeaseLost when the lease is gone.
	AddFindings(ctx context.Context, l Lease, batch []Finding) error
	// Finish ends attempts. A canceled scan turns a retry into canceled. It
	// returns the outcomes that were not stored because their lease was gone.
	Finish(ctx context.Context, outcomes []Outcome) (lost []Lease, err error)
	// Expire takes jobs from hosts whose lease ran out: back to queued, or
	// final when canceled, out of attempts, over the deadline, or after
	// CrashLimit crashes. At most limit; returns them.
	Expire(ctx context.Context, limit int) ([]Taken, error)
	// ReleaseOwner gives back every job that owner holds, attempt included, and
	// returns them. Only for an owner that is known to be dead.
	ReleaseOwner(ctx context.Context, owner string) ([]Taken, error)
}

// Taken is a job whose attempt the store ended, because its host is gone, or
// its time limit passed while no host had it.
type Taken struct {
	Tenant  TenantID
	Scan    ScanID
	Job     JobID
	Plugin  string
	Attempt int
	State   State     // what it came to: queued, failed, canceled or timed_out
	Code    ErrorCode // why; "" when it is canceled, or given back as if it had not been tried
}

// Dispatched is what Dispatch handed out.
type Dispatched struct {
	Bells  []Doorbell
	Claims []Claim // what was claimed at once
	// Overdue are queued jobs whose time limit passed, which ended them.
	Overdue []Taken
	// Next is how long until another queued job becomes ready (a retry's
	// backoff, a horizon) if nothing else happens; 0 when none is waiting. It
	// may be early; retries that no room or cap lets go are not counted.
	Next time.Duration
	// Capped says that a cap keeps ready jobs back, or may. Worth another look
	// when a job has ended.
	Capped bool
	// More says that ready jobs were left because the window is full. When it
	// was full to begin with, it may say so of jobs that were canceled since.
	// What was claimed takes no room any more: with claims, look again at once.
	More bool
}
