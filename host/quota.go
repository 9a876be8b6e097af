package host

import (
	"context"
	"fmt"
	"time"
)

// QuotaStore keeps account of what tenants hold.
//
// A tenant's counters change in the transaction that changes what they count:
// Accept takes, a claim or a cancel gives a place in the queue back, retention
// the storage. So a host that dies in between leaves neither a debt nor a gift.
// Each such change leaves a line in a ledger whose sums are the counters.
type QuotaStore interface {
	// Usage is what a tenant holds now. ErrNotFound when there is none such.
	Usage(ctx context.Context, t TenantID) (Usage, error)
	// VerifyQuotas compares the counters with the ledger and both with the rows
	// that they count, at one moment, while everything goes on, and gives those
	// that differ by tenant and quota. With fix it makes them what the rows say
	// and leaves a line in the ledger that says so.
	VerifyQuotas(ctx context.Context, fix bool) ([]Discrepancy, error)
}

// QuotaName names a quota as the configuration and the API do.
type QuotaName string

const (
	QuotaStorage     QuotaName = "storage_quota"
	QuotaScansPerDay QuotaName = "scans_per_day"
	QuotaQueuedScans QuotaName = "queued_scans"
)

// Usage is what a tenant holds.
type Usage struct {
	Storage     int64     // bytes of its archives, packed, that are kept
	QueuedScans int64     // that have neither started nor ended
	ScansToday  int64     // accepted since 00:00 UTC
	ResetsAt    time.Time // when ScansToday begins again
}

// Shortage is why a scan was not accepted: with it the tenant would hold more
// than its quota. It wraps ErrOverQuota.
type Shortage struct {
	Quota               QuotaName
	Used, Limit, Needed int64
	ResetsAt            time.Time // zero: not by itself
}

func (s *Shortage) Error() string {
	return fmt.Sprintf("%s: %d of %d are used and %d are needed: %v", s.Quota, s.Used, s.Limit, s.Needed, ErrOverQuota)
}

func (s *Shortage) Unwrap() error { return ErrOverQuota }

// OverQuota says for which of several scans there is no room. The others fit
// together. It wraps ErrOverQuota.
type OverQuota struct{ Scans map[ScanID]*Shortage }

func (o *OverQuota) Error() string {
	for _, s := range o.Scans {
		if len(o.Scans) == 1 {
			return s.Error()
		}
	}
	return fmt.Sprintf("%d scans: %v", len(o.Scans), ErrOverQuota)
}

func (o *OverQuota) Unwrap() error { return ErrOverQuota }

// Shortage is what a tenant with this usage lacks for a scan of an archive of
// storage bytes, 0 for none; nil when it fits.
func (u Usage) Shortage(q Quota, storage int64) *Shortage {
	switch {
	case q.ScansPerDay > 0 && u.ScansToday+1 > q.ScansPerDay:
		return &Shortage{QuotaScansPerDay, u.ScansToday, q.ScansPerDay, 1, u.ResetsAt}
	case q.QueuedScans > 0 && u.QueuedScans+1 > q.QueuedScans:
		return &Shortage{QuotaQueuedScans, u.QueuedScans, q.QueuedScans, 1, time.Time{}}
	case q.Storage > 0 && storage > 0 && u.Storage+storage > q.Storage:
		return &Shortage{QuotaStorage, u.Storage, q.Storage, storage, time.Time{}}
	}
	return nil
}

// Take is the usage with one more scan.
func (u Usage) Take(storage int64) Usage {
	u.ScansToday++
	u.QueuedScans++
	u.Storage += storage
	return u
}

// Fit finds those of the scans for which there is no room, in their order; nil
// when all fit. It changes usage.
func Fit(scans []Scan, usage map[TenantID]Usage, quotas map[TenantID]Quota) error {
	over := &OverQuota{Scans: map[ScanID]*Shortage{}}
	for _, s := range scans {
		u, storage := usage[s.TenantID], s.Storage()
		if short := u.Shortage(quotas[s.TenantID], storage); short != nil {
			over.Scans[s.ID] = short
			continue
		}
		usage[s.TenantID] = u.Take(storage)
	}
	if len(over.Scans) == 0 {
		return nil
	}
	return over
}

// Discrepancy is a quota whose account does not add up.
type Discrepancy struct {
	Tenant  string // its name
	Quota   QuotaName
	Counter int64 // what is held by the counter
	Ledger  int64 // by the sum of the ledger
	Actual  int64 // by the rows; what fix makes of the others
}
