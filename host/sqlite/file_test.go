package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/sqlite"
)

// crashEnv makes the test binary a host that accepts a scan into the named
// file, says so, and dies.
const crashEnv = "SECURETAG_TEST_SQLITE_CRASH"

func crash(path string) {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	scan, err := accept(context.Background(), s)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(scan.TenantID, scan.ID)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func accept(ctx context.Context, s *sqlite.Store) (host.Scan, error) {
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t-" + string(host.NewTenantID())}
	if err := s.CreateTenant(ctx, tenant); err != nil {
		return host.Scan{}, err
	}
	scans, err := s.Accept(ctx, []host.Scan{{ID: host.NewScanID(), TenantID: tenant.ID, Type: "web", Input: host.Input{URL: "https://x/"},
		Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}}, nil)
	if err != nil {
		return host.Scan{}, err
	}
	return scans[0], nil
}

func TestAcceptedScanOutlivesKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "securetag.db")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the host ended with %v: %s", err, out)
	}
	tenant, id, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if !ok {
		t.Fatalf("the host said %q", out)
	}
	s := open(t, sqlite.Config{Path: path})
	scan, err := s.Scan(t.Context(), host.TenantID(tenant), host.ScanID(id))
	if err != nil || scan.State != host.StateQueued {
		t.Errorf("after kill -9: %+v, %v", scan, err)
	}
}

func TestPathsAndModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new dir", "a?b=c#d%41 ö&.db")
	s := open(t, sqlite.Config{Path: path})
	scan, err := accept(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", name, info, err)
		}
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v, want mode 0700", info, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, sqlite.Config{Path: path})
	if _, err := again.Scan(t.Context(), scan.TenantID, scan.ID); err != nil {
		t.Errorf("after it was closed and opened: %v", err)
	}
}

// TestTwoStoresOnOneFile is a running host and the command line beside it.
func TestTwoStoresOnOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "securetag.db")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				scan, err := accept(t.Context(), s)
				if err == nil {
					_, err = s.Claim(t.Context(), "a", []host.JobID{scan.Jobs[0].ID}, time.Minute)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open(t, sqlite.Config{Path: path})
	if all, err := s.Tenants(t.Context()); err != nil || len(all) != 60 {
		t.Errorf("%d tenants, %v, want 60", len(all), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	if _, err := sqlite.Open(t.Context(), sqlite.Config{}); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("no path: %v", err)
	}
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, garbage, filepath.Join(garbage, "below.db")} {
		if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: path}); err == nil || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), garbage) {
			t.Errorf("open %s: %v, want an error that names it", path, err)
		}
	}
	if left, err := os.ReadFile(garbage); err != nil || !strings.HasPrefix(string(left), "not a database") {
		t.Errorf("the file that was no database was changed: %v", err)
	}
}
