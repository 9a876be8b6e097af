package record

import (
	"time"

	"github.com/securetaghq/securetag/host"
)

// DeletionColumns are those of deletions d that Deletion takes.
const DeletionColumns = `d.id, d.tenant_id, d.scan_id, d.project, d.created_at, d.finished_at, d.scans,
	(select count(*) from scans where deletion_id = d.id)`

// Deletion is a row of DeletionColumns.
type Deletion struct {
	deletion      host.Deletion
	scan, project *string
}

// Dest is where to scan the row; at scans times.
func (r *Deletion) Dest(at func(*time.Time) any) []any {
	d := &r.deletion
	return []any{&d.ID, &d.TenantID, &r.scan, &r.project, at(&d.CreatedAt), at(&d.FinishedAt), &d.Scans, &d.Left}
}

// Value is the row that was scanned.
func (r *Deletion) Value() host.Deletion {
	d := r.deletion
	if r.scan != nil {
		d.Scan = host.ScanID(*r.scan)
	}
	if r.project != nil {
		d.Project = *r.project
	}
	return d
}
