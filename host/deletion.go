package host

import (
	"context"
	"time"
)

// DeletionID names a deletion; see [TenantID].
type DeletionID string

// NewDeletionID makes one.
func NewDeletionID() DeletionID { return DeletionID(newID()) }

// DeletionKept is how long a deletion can still be asked for when it is done.
const DeletionKept = 7 * 24 * time.Hour

// Deletion is the removal of scans that their tenant asked for: of one, or of all
// that a project had, and then of the project. Nobody sees them from then on. Their rows and files go bit by
// bit ([RetentionStore] DropDeleted), and with the rows what they take of quotas.
type Deletion struct {
	ID         DeletionID
	TenantID   TenantID
	Scan       ScanID // the one that it is about; "" for a project's
	Project    string // whose scans it is about; "" for one scan
	CreatedAt  time.Time
	FinishedAt time.Time // when the last row was gone; zero: it goes on
	Scans      int       // that it is about
	Left       int       // of them, that are still to be removed
}

// PendingDeletions are those of all tenants that are not done.
type PendingDeletions struct {
	Deletions int
	Scans     int           // that are still to be removed
	Oldest    time.Duration // how long ago the oldest was asked for; 0 when there is none
}

// DeletionStore keeps what tenants want removed. Every method but PendingDeletions
// takes the tenant and sees nothing of any other.
type DeletionStore interface {
	// DeleteScan asks for the removal of a scan, whatever its state. From then on
	// no method of ScanStore sees it, its dead letters are given up, and it is not
	// tracked any more. No webhook is told of its end from then on, and what was to
	// be told of it, or was told, is gone with the call. Of its project's findings
	// those go with it that no other scan ever saw, unless somebody said something
	// of them. ErrNotFound when the tenant has no such scan, or deleted it before.
	DeleteScan(ctx context.Context, t TenantID, id ScanID) (Deletion, error)
	// DeleteProject is DeleteScan for all scans that the tenant has in a project, and
	// removes the project: its gate, its findings and their history. No method of
	// ProjectStore sees it from then on; scans that are accepted later stay, and
	// begin another of that name. ErrNotFound when there is neither. When it ends
	// early with another error, part of the scans may be deleted, and the rest
	// follow.
	DeleteProject(ctx context.Context, t TenantID, project string) (Deletion, error)
	// Deletion says how far one is. ErrNotFound when the tenant has none such, or
	// it has been done for longer than DeletionKept.
	Deletion(ctx context.Context, t TenantID, id DeletionID) (Deletion, error)
	// PendingDeletions counts.
	PendingDeletions(ctx context.Context) (PendingDeletions, error)
}
