package host

import (
	"context"
	"time"
)

// RetentionStore is what retention and the sweep for orphans need of the store.
// Any number of hosts may call these side by side: each scan is removed, and
// counted, by exactly one of them.
//
// Only scans that are final are ever touched. One that somebody else holds at
// that moment is left for the next time. Ages are by the store's clock.
type RetentionStore interface {
	// DropScans removes scans that ended longer ago than their tenant's are kept,
	// of a tenant the oldest first, with their jobs and findings: at most limit in
	// one transaction, and fewer when they have many findings, so that a
	// transaction is short or of one scan. The caller removes the blobs that it
	// names.
	DropScans(ctx context.Context, keep Keep, limit int) (Dropped, error)
	// DropArchives notes that the archives of at most limit scans that ended
	// longer ago than age are gone, the oldest first. The scans stay, with
	// Archive.RemovedAt set. The caller removes the blobs that it names.
	DropArchives(ctx context.Context, age time.Duration, limit int) (Dropped, error)
	// DropTenant removes a part of a tenant that is being deleted: it cancels at
	// most limit of its scans that go on, then removes scans as DropScans does,
	// whatever their age, and when none is left the tenant with all that is its.
	// More is false when there is nothing to do at present: running jobs end
	// when their hosts hear of it. The caller removes the blobs that it names.
	DropTenant(ctx context.Context, limit int) (Dropped, error)
	// DropDeleted removes a part of the scans that their tenants deleted: it cancels
	// at most limit of a deletion that go on, then removes scans of it as DropScans
	// does, whatever their age. A deletion of which none is left is done, and is
	// itself removed DeletionKept later. More is as DropTenant has it. The caller
	// removes the blobs that it names.
	DropDeleted(ctx context.Context, limit int) (Dropped, error)
	// DropAudit removes lines of the audit log older than AuditKept, at most
	// limit, and returns how many.
	DropAudit(ctx context.Context, limit int) (int, error)
	// DropRequests forgets requests that were accepted longer ago than OnceKept,
	// at most limit, and returns how many.
	DropRequests(ctx context.Context, limit int) (int, error)
	// UnusedBlobs gives those of the keys that no scan and no artifact needs, in
	// their order.
	UnusedBlobs(ctx context.Context, keys []BlobKey) ([]BlobKey, error)
	// TidyLedger brings the counters of the quotas up to date with what was given back, and
	// keeps of the lines of their ledger that are older than kept what those of a day add up to.
	TidyLedger(ctx context.Context, kept time.Duration) error
	// Origin names the database: made with it, never changed, and the same in
	// what is restored from its backups. At most 64 bytes.
	Origin(ctx context.Context) (string, error)
}

// Keep is how long scans are kept after they ended. 0 is for ever.
type Keep struct {
	// Most bounds it for every tenant.
	Most time.Duration
	// Plans is how long by the plan's name, "" for tenants without one, within
	// Most. A tenant's own, in its [Override], takes the place of its plan's. One
	// whose plan is not here is held to Most: what a plan would have kept must not
	// be gone because its name was mistyped.
	Plans map[string]time.Duration
}

// Dropped is what one call took out of the store.
type Dropped struct {
	Scans    int       // removed, or left without their archive
	Findings int       // removed
	Archives []Archive // whose blobs are to be removed; Blob and Size are set
	// Artifacts are the blobs of artifacts that are to be removed.
	Artifacts []Artifact // Blob and Size are set
	Tenants   int        // removed, with everything
	More      bool       // the call ended at a limit: there may be more
}
