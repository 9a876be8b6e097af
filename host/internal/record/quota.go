package record

import "github.com/securetaghq/securetag/host"

// Discrepancies are those of a tenant's quotas that do not add up, of counter,
// ledger and rows for storage, queued scans and scans of the day.
func Discrepancies(tenant string, v [9]int64) (out []host.Discrepancy) {
	for i, q := range []host.QuotaName{host.QuotaStorage, host.QuotaQueuedScans, host.QuotaScansPerDay} {
		d := host.Discrepancy{Tenant: tenant, Quota: q, Counter: v[3*i], Ledger: v[3*i+1], Actual: v[3*i+2]}
		if d.Counter != d.Actual || d.Ledger != d.Actual {
			out = append(out, d)
		}
	}
	return out
}
