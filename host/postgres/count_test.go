package postgres_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestCountsWhatItFills: a burst that comes when all tables are known to be empty
// is known of before it is over, though nothing but the store would count it.
func TestCountsWhatItFills(t *testing.T) {
	t.Parallel()
	url := grown.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 2})
	conn := connect(t, url)
	known := func() (jobs, scans int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `select (select reltuples::int from pg_class where oid = 'jobs'::regclass),
			(select reltuples::int from pg_class where oid = 'scans'::regclass)`).Scan(&jobs, &scans); err != nil {
			t.Fatal(err)
		}
		return jobs, scans
	}
	tenant := host.NewTenantID()
	if err := s.CreateTenant(t.Context(), host.Tenant{ID: tenant, Name: "t"}); err != nil {
		t.Fatal(err)
	}
	burst := func(n int) {
		t.Helper()
		var scans []host.Scan
		for range n {
			scans = append(scans, host.Scan{ID: host.NewScanID(), TenantID: tenant, Type: "web", Input: host.Input{URL: "u"},
				Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 3, Timeout: time.Hour}}})
		}
		if _, err := s.Accept(t.Context(), scans, nil); err != nil {
			t.Fatal(err)
		}
	}
	burst(postgres.CountEvery - 1)
	if jobs, scans := known(); jobs != 0 || scans != 0 {
		t.Fatalf("somebody else has counted %d jobs and %d scans: this test shows nothing", jobs, scans)
	}
	burst(1)
	for jobs, scans := known(); jobs != postgres.CountEvery || scans != postgres.CountEvery; jobs, scans = known() {
		if jobs != 0 && jobs != postgres.CountEvery || scans != 0 && scans != postgres.CountEvery || t.Context().Err() != nil {
			t.Fatalf("%d jobs and %d scans are known of, want %d", jobs, scans, postgres.CountEvery)
		}
	}
}

// TestClosedWhileCounting: Close waits for a count and ends it, however many rows
// come meanwhile.
func TestClosedWhileCounting(t *testing.T) {
	t.Parallel()
	url := grown.Postgres(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		go s.Grew(postgres.CountEvery)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.Grew(postgres.CountEvery) // which goleak would find
}
