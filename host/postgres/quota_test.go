package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestKilledBetweenReserveAndCommit: a host that has taken room and dies before
// its transaction is committed has taken none. Another that waits for the same
// counters goes on with what they were before.
func TestKilledBetweenReserveAndCommit(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	first := accept(t, s)
	quotas := map[host.TenantID]host.Quota{first.TenantID: {QueuedScans: 2}}

	dying := connect(t, url)
	tx, err := dying.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `update usage set queued = queued + 1, storage = storage + 7, scans = scans + 1 where tenant_id = $1`, first.TenantID); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		scan := host.Scan{ID: host.NewScanID(), TenantID: first.TenantID, Type: "web", Input: host.Input{URL: "https://x/"},
			Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}
		_, err := s.Accept(context.WithoutCancel(t.Context()), []host.Scan{scan}, quotas)
		accepted <- err
	}()
	awaitBlocked(t, url)
	execute(t, url, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'`)
	if err := <-accepted; err != nil {
		t.Errorf("what fits: %v", err)
	}
	u, err := s.Usage(t.Context(), first.TenantID)
	if err != nil || u.QueuedScans != 2 || u.Storage != 0 || u.ScansToday != 2 {
		t.Errorf("holds %+v, %v; want 2 scans", u, err)
	}
	if wrong, err := s.VerifyQuotas(t.Context(), false); err != nil || len(wrong) > 0 {
		t.Errorf("the books: %+v, %v", wrong, err)
	}
}

// awaitBlocked returns when a statement waits for a lock.
func awaitBlocked(t *testing.T, url string) {
	t.Helper()
	conn := connect(t, url)
	for waiting := false; !waiting; {
		if err := conn.QueryRow(t.Context(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFixQuotas: whatever made the books wrong, fix makes them what the rows say,
// while what was given back and not counted yet stays given back.
func TestFixQuotas(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	tenant := accept(t, s).TenantID
	canceled := acceptOne(t, s, tenant)
	if _, err := s.Cancel(t.Context(), tenant, canceled.ID); err != nil {
		t.Fatal(err)
	}
	for _, harm := range []string{
		`update usage set queued = 40, storage = -3, scans = 9`,
		`delete from quota_ledger`,
		`delete from usage`,
		`insert into quota_ledger (tenant_id, reason, queued, counted) select id, 'accept', 5, true from tenants`,
	} {
		execute(t, url, harm)
		before, err := s.VerifyQuotas(t.Context(), true)
		if err != nil || len(before) == 0 {
			t.Errorf("%s: found %+v, %v", harm, before, err)
		}
		if after, err := s.VerifyQuotas(t.Context(), false); err != nil || len(after) > 0 {
			t.Errorf("%s: after the fix %+v, %v", harm, after, err)
		}
		if u, err := s.Usage(t.Context(), tenant); err != nil || u.QueuedScans != 1 || u.Storage != 0 {
			t.Errorf("%s: holds %+v, %v; want one queued scan", harm, u, err)
		}
	}
}

// TestAcceptWithoutCounters: a tenant that was made by an older host has none.
func TestAcceptWithoutCounters(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	tenant := accept(t, s).TenantID
	execute(t, url, `delete from usage; delete from quota_ledger; delete from scans`)
	acceptOne(t, s, tenant)
	if u, err := s.Usage(t.Context(), tenant); err != nil || u.QueuedScans != 1 || u.ScansToday != 1 {
		t.Errorf("holds %+v, %v", u, err)
	}
	nobody := host.Scan{ID: host.NewScanID(), TenantID: host.NewTenantID(), Type: "web", Input: host.Input{URL: "https://x/"},
		Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}
	if _, err := s.Accept(t.Context(), []host.Scan{nobody}, nil); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("of no tenant: %v", err)
	}
}
