package record

import (
	"maps"
	"slices"

	"github.com/securetaghq/securetag/host"
)

const (
	// dropFindings is how many findings one transaction of retention removes at
	// most, unless a single scan has more.
	dropFindings = 5_000
	// DropRows is how many one statement removes.
	DropRows = 2_500
)

// OldColumns are those of scans s that Old takes.
const OldColumns = `s.id, s.tenant_id, s.archive, s.archive_blob is not null, s.archive is not null and s.archive_removed_at is null,
	s.critical + s.high + s.medium + s.low + s.info + s.unknown`

// Old are the scans that one transaction of retention is about, oldest first.
type Old struct {
	IDs      []string
	tenants  []string
	archives []host.Archive // zero where none is kept any more; without a Blob where none is needed
	findings []int
}

// OldRow is a row of OldColumns.
type OldRow struct {
	id       string
	tenant   string
	archive  *string
	needed   bool // the blob
	kept     bool // the archive, wherever it is
	findings int
}

// Dest is where to scan the row.
func (r *OldRow) Dest() []any {
	return []any{&r.id, &r.tenant, &r.archive, &r.needed, &r.kept, &r.findings}
}

// Add takes a row that was scanned.
func (o *Old) Add(r OldRow) error {
	var a host.Archive
	if r.kept {
		if err := decode("archive", r.archive, &a); err != nil {
			return err
		}
		if !r.needed {
			a.Blob = ""
		}
	}
	o.tenants = append(o.tenants, r.tenant)
	o.IDs, o.archives, o.findings = append(o.IDs, r.id), append(o.archives, a), append(o.findings, r.findings)
	return nil
}

// Fit leaves out those whose findings are too many for one transaction with the
// scans before them, and says whether there were any.
func (o *Old) Fit() (left bool) {
	sum := 0
	for i, n := range o.findings {
		if sum += n; i > 0 && sum > dropFindings {
			o.IDs, o.tenants, o.archives, o.findings = o.IDs[:i], o.tenants[:i], o.archives[:i], o.findings[:i]
			return true
		}
	}
	return false
}

// Blobs are the archives whose blobs go with the scans.
func (o *Old) Blobs() (out []host.Archive) {
	for _, a := range o.archives {
		if a.Blob != "" {
			out = append(out, host.Archive{Blob: a.Blob, Size: a.Size})
		}
	}
	return out
}

// Freed is how much storage goes with the scans' archives, by tenant in order.
func (o *Old) Freed() (tenants []string, bytes []int64) {
	sum := map[string]int64{}
	for i, t := range o.tenants {
		if o.archives[i].Size > 0 {
			sum[t] += o.archives[i].Size
		}
	}
	for _, t := range slices.Sorted(maps.Keys(sum)) {
		tenants, bytes = append(tenants, t), append(bytes, sum[t])
	}
	return tenants, bytes
}
