package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

// BenchmarkAccept is what one batch costs, of one tenant and of several, with
// quotas that are far off and without.
func BenchmarkAccept(b *testing.B) {
	for _, c := range []struct{ scans, tenants int }{{1, 1}, {32, 1}, {32, 8}, {128, 1}} {
		for _, bounded := range []bool{false, true} {
			b.Run(fmt.Sprintf("scans=%d/tenants=%d/quotas=%v", c.scans, c.tenants, bounded), func(b *testing.B) {
				benchAccept(b, c.scans, c.tenants, bounded)
			})
		}
	}
}

func benchAccept(b *testing.B, scans, tenants int, bounded bool) {
	s, err := postgres.Open(b.Context(), postgres.Config{URL: testserver.Postgres(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	ids, quotas := make([]host.TenantID, tenants), map[host.TenantID]host.Quota{}
	for i := range ids {
		ids[i] = host.NewTenantID()
		if err := s.CreateTenant(b.Context(), host.Tenant{ID: ids[i], Name: fmt.Sprint("t", i)}); err != nil {
			b.Fatal(err)
		}
		if bounded {
			quotas[ids[i]] = host.Quota{Storage: 1 << 50, ScansPerDay: 1 << 40, QueuedScans: 1 << 40}
		}
	}
	for b.Loop() {
		batch := make([]host.Scan, scans)
		for i := range batch {
			batch[i] = host.Scan{ID: host.NewScanID(), TenantID: ids[i%tenants], Type: "codeaudit",
				Input: host.Input{Archive: &host.Archive{Blob: "archives/x", Size: 1000}},
				Jobs:  []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}
		}
		if _, err := s.Accept(b.Context(), batch, quotas); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*scans)/b.Elapsed().Seconds(), "scans/s")
}
