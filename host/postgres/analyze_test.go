package postgres_test

import (
	"testing"

	"github.com/securetaghq/securetag/host/postgres"
)

// TestAnalyzesWhatItFills: a burst that comes when all tables are known to be empty
// is known of before it is over, though nothing but the store would look.
func TestAnalyzesWhatItFills(t *testing.T) {
	t.Parallel()
	url := grown.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 2})
	conn := connect(t, url)
	var there int
	if err := conn.QueryRow(t.Context(), `select count(*) from pg_tables where schemaname = current_schema() and tablename = any($1)`, postgres.Growing).Scan(&there); err != nil || there != len(postgres.Growing) {
		t.Errorf("of %q %d are tables: %v", postgres.Growing, there, err)
	}
	known := func() (jobs, scans int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `select (select reltuples::int from pg_class where oid = 'jobs'::regclass),
			(select reltuples::int from pg_class where oid = 'scans'::regclass)`).Scan(&jobs, &scans); err != nil {
			t.Fatal(err)
		}
		return jobs, scans
	}
	tenant := newTenant(t, s)
	acceptMany(t, s, tenant, postgres.AnalyzeEvery-1)
	if jobs, scans := known(); jobs != 0 || scans != 0 {
		t.Fatalf("of %d jobs and %d scans somebody else knows: this test shows nothing", jobs, scans)
	}
	acceptOne(t, s, tenant)
	for jobs, scans := known(); jobs != postgres.AnalyzeEvery || scans != postgres.AnalyzeEvery; jobs, scans = known() {
		if jobs != 0 && jobs != postgres.AnalyzeEvery || scans != 0 && scans != postgres.AnalyzeEvery || t.Context().Err() != nil {
			t.Fatalf("%d jobs and %d scans are known of, want %d", jobs, scans, postgres.AnalyzeEvery)
		}
	}
}

// TestClosedWhileAnalyzing: Close waits for a look and ends it, however many rows
// come meanwhile.
func TestClosedWhileAnalyzing(t *testing.T) {
	t.Parallel()
	url := grown.Postgres(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		go s.Grew(postgres.AnalyzeEvery)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.Grew(postgres.AnalyzeEvery) // which goleak would find
}
