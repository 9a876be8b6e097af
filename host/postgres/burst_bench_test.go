package postgres_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

// BenchmarkBurst is 2,000 jobs from Accept to Finish, for tables that nobody has
// analyzed yet, for such as were analyzed while they were empty, and for those when
// the store does not analyze them again either.
func BenchmarkBurst(b *testing.B) {
	for _, c := range []struct {
		name     string
		tables   *testserver.Template
		analyzed bool
	}{{"new", migrated, true}, {"emptied", grown, true}, {"emptied, not analyzed", grown, false}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s, err := postgres.Open(b.Context(), postgres.Config{URL: c.tables.Postgres(b), MaxConns: 4})
				if err != nil {
					b.Fatal(err)
				}
				if !c.analyzed {
					s.StopAnalyzing()
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
	tenant := newTenant(b, s)
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for range jobs / 50 {
		acceptMany(b, s, tenant, 50)
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
