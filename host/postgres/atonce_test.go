package postgres_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestDispatchWaitsForNoScan: a job whose scan somebody else writes to has a
// doorbell instead of a claim. Every host would wait for the one that waited.
func TestDispatchWaitsForNoScan(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	scan := accept(t, s)
	conn := connect(t, url)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select 1 from scans where id = $1 for no key update`, string(scan.ID)); err != nil {
		t.Fatal(err)
	}
	q := host.DispatchQuery{Plugins: []string{"p"}, Window: 5, Horizon: time.Hour, Claim: host.AtOnce{Owner: "o", TTL: time.Minute, Most: 5}}
	out, err := s.Dispatch(t.Context(), q)
	if err != nil || len(out.Claims) != 0 || len(out.Bells) != 1 {
		t.Errorf("while its scan is locked: %+v, %v; want a doorbell", out, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Again = true
	out, err = s.Dispatch(t.Context(), q)
	if err != nil || len(out.Claims) != 1 || len(out.Bells) != 0 {
		t.Errorf("afterwards: %+v, %v; want a claim", out, err)
	}
}
