package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// BenchmarkBurst is 2,000 jobs from Accept to Finish, for tables that nobody has
// counted yet, for such as were counted while they were empty, and for those when
// the store does not count them again either.
func BenchmarkBurst(b *testing.B) {
	for _, c := range []struct {
		name    string
		tables  interface{ Postgres(testing.TB) string }
		counted bool
	}{{"new", migrated, true}, {"emptied", grown, true}, {"emptied, not counted", grown, false}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s, err := postgres.Open(b.Context(), postgres.Config{URL: c.tables.Postgres(b), MaxConns: 4})
				if err != nil {
					b.Fatal(err)
				}
				if !c.counted {
					s.StopCounting()
				}
				b.StartTimer()
				burst(b, s, 2000)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Error(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N*2000)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

// burst accepts jobs by fifties and then works them off by the window.
func burst(b *testing.B, s *postgres.Store, jobs int) {
	tenant := host.NewTenantID()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(s.CreateTenant(b.Context(), host.Tenant{ID: tenant, Name: fmt.Sprint(tenant)}))
	for range jobs / 50 {
		scans := make([]host.Scan, 50)
		for i := range scans {
			scans[i] = host.Scan{ID: host.NewScanID(), TenantID: tenant, Type: "web", Input: host.Input{URL: "u"},
				Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}
		}
		_, err := s.Accept(b.Context(), scans, nil)
		check(err)
	}
	for done := 0; done < jobs; {
		out, err := s.Dispatch(b.Context(), window200())
		check(err)
		ids := make([]host.JobID, len(out.Bells))
		for i, bell := range out.Bells {
			ids[i] = bell.Job
		}
		claims, err := s.Claim(b.Context(), "host", ids, time.Minute)
		check(err)
		ends := make([]host.Outcome, len(claims))
		for i, c := range claims {
			ends[i] = host.Outcome{Lease: c.Lease, State: host.StateSucceeded, Findings: []host.Finding{{RuleID: "r", Title: "t", Severity: host.SeverityHigh}}}
		}
		_, err = s.Finish(b.Context(), ends)
		check(err)
		if len(ends) == 0 {
			b.Fatalf("nothing is handed out after %d of %d jobs", done, jobs)
		}
		done += len(ends)
	}
}
