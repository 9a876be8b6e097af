package postgres_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestServerGoesAndComesBack(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	s := open(t, postgres.Config{URL: server.URL()})
	scan := accept(t, s)
	server.Kill()
	calls := map[string]func() error{
		"Ping": func() error { return s.Ping(t.Context()) },
		"Scan": func() error { _, err := s.Scan(t.Context(), scan.TenantID, scan.ID); return err },
		"Claim": func() error {
			_, err := s.Claim(t.Context(), "a", []host.JobID{scan.Jobs[0].ID}, time.Minute)
			return err
		},
		"Dispatch": func() error {
			_, err := s.Dispatch(t.Context(), host.DispatchQuery{Plugins: []string{"p"}, Window: 1, Horizon: time.Minute})
			return err
		},
		"Expire": func() error { _, err := s.Expire(t.Context(), 1); return err },
		"Accept": func() error { _, err := s.Accept(t.Context(), []host.Scan{scan}, nil); return err },
	}
	for name, call := range calls {
		err := call()
		var driver *pgconn.PgError
		if !errors.Is(err, host.ErrUnavailable) || errors.As(err, &driver) {
			t.Errorf("%s without a server: %v", name, err)
		}
	}
	opened := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { // a host that starts before its database
		late, err := postgres.Open(t.Context(), postgres.Config{URL: server.URL(), Wait: time.Minute})
		if err == nil {
			err = late.Close()
		}
		opened <- err
	})
	server.Start()
	wg.Wait()
	if err := <-opened; err != nil {
		t.Errorf("open while the server starts: %v", err)
	}
	got, err := s.Scan(t.Context(), scan.TenantID, scan.ID)
	if err != nil || got.State != host.StateQueued {
		t.Errorf("what was accepted before the crash: %v, %v", got, err)
	}
}

// TestConnectionsTerminated is what an administrator or a failover does to a
// host that goes on working.
func TestConnectionsTerminated(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 4})
	scan := accept(t, s)
	for range 5 {
		execute(t, url, `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid()`)
		// One call may meet the dead connection; it must say that trying again helps.
		if _, err := s.Scan(t.Context(), scan.TenantID, scan.ID); err != nil && !errors.Is(err, host.ErrUnavailable) {
			t.Errorf("after its connection was ended: %v", err)
		}
		for try := 0; ; try++ {
			_, err := s.Scan(t.Context(), scan.TenantID, scan.ID)
			if err == nil {
				break
			}
			if !errors.Is(err, host.ErrUnavailable) || try > 8 {
				t.Fatalf("does not recover: %v", err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, in its backlog, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, tt := range map[string]struct {
		url  string
		want error
	}{
		"not a URL":     {"postgres://%zz", host.ErrInvalid},
		"nobody there":  {"postgres://u:secret@127.0.0.1:1/db?sslmode=disable", host.ErrUnavailable},
		"silent server": {"postgres://u:secret@" + silent.Addr().String() + "/db?sslmode=disable", host.ErrUnavailable},
	} {
		_, err := postgres.Open(t.Context(), postgres.Config{URL: tt.url, Wait: time.Millisecond, Timeout: 300 * time.Millisecond})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.Open(ctx, postgres.Config{URL: "postgres://127.0.0.1:1/db"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

func TestSeveralHostsOpenAtOnce(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), postgres.Config{URL: url, MaxConns: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Tenants(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func accept(t *testing.T, s *postgres.Store) host.Scan {
	t.Helper()
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t"}
	if err := s.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	scans, err := s.Accept(t.Context(), []host.Scan{{ID: host.NewScanID(), TenantID: tenant.ID, Type: "web", Input: host.Input{URL: "https://x/"},
		Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scans[0]
}

// TestReadsOutliveTheirConnections: a server that has ended every idle connection
// costs no read, and does not answer one with an error.
func TestReadsOutliveTheirConnections(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	scan := accept(t, s)
	for round := range 3 {
		var wg sync.WaitGroup
		for range 8 { // as many connections
			wg.Go(func() {
				if _, err := s.Scan(t.Context(), scan.TenantID, scan.ID); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		execute(t, url, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
		for range 10 {
			if _, err := s.Scan(t.Context(), scan.TenantID, scan.ID); err != nil {
				t.Errorf("after every connection was ended: %v", err)
			}
			if _, err := s.Scans(t.Context(), scan.TenantID, host.ScanQuery{}); err != nil {
				t.Errorf("after every connection was ended: %v", err)
			}
		}
	}
}
