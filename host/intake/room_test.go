package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// fullStore has no room for scans of the project "full", and what usage says.
type fullStore struct {
	intake.Store
	mu     sync.Mutex
	stored int
	usage  host.Usage
	asked  int
}

func (s *fullStore) Accept(_ context.Context, scans []host.Scan, _ map[host.TenantID]host.Quota) ([]host.Scan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := &host.OverQuota{Scans: map[host.ScanID]*host.Shortage{}}
	for _, scan := range scans {
		if scan.Project == "full" {
			over.Scans[scan.ID] = &host.Shortage{Quota: host.QuotaQueuedScans, Used: 1, Limit: 1, Needed: 1}
		}
	}
	if len(over.Scans) > 0 {
		return nil, fmt.Errorf("accept: %w", over)
	}
	s.stored += len(scans)
	return scans, nil
}

func (s *fullStore) Usage(context.Context, host.TenantID) (host.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.usage, nil
}

func newFull(t *testing.T) (*intake.Intake, *fullStore) {
	t.Helper()
	s := &fullStore{}
	types := []intake.ScanType{{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1}}
	in, err := intake.New(s, nil, nil, types, func() {}, intake.Config{MaxArchive: 1000}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return in, s
}

// TestOverQuotaAmongOthers: who shares a transaction with somebody over quota
// does not notice.
func TestOverQuotaAmongOthers(t *testing.T) {
	t.Parallel()
	in, store := newFull(t)
	var wg sync.WaitGroup
	for i := range 40 {
		project := []string{"fits", "full", "fits", "fits"}[i%4]
		wg.Go(func() {
			_, err := in.AcceptURL(t.Context(), intake.Request{Tenant: host.NewTenantID(), Type: "dast", Project: project}, "https://x/")
			var short *host.Shortage
			if full := project == "full"; full != errors.As(err, &short) || !full && err != nil {
				t.Errorf("project %s: %v", project, err)
			}
		})
	}
	wg.Wait()
	if store.stored != 30 {
		t.Errorf("%d scans are stored, want 30", store.stored)
	}
}

// TestRoom: what is remembered lets in, and only what the store says now refuses.
func TestRoom(t *testing.T) {
	t.Parallel()
	in, store := newFull(t)
	tenant, plan := host.NewTenantID(), host.Plan{Quota: host.Quota{Storage: 100}}
	if _, err := in.Room(t.Context(), tenant, host.Plan{}, 1<<40); err != nil || store.asked != 0 {
		t.Errorf("without a quota: %v, asked %d times", err, store.asked)
	}
	store.usage = host.Usage{Storage: 95}
	b, err := in.Room(t.Context(), tenant, plan, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.StageWithin(t.Context(), b, "a.zip", strings.NewReader("PK4567")); !errors.Is(err, host.ErrOverQuota) || errors.Is(err, host.ErrTooLarge) {
		t.Errorf("a byte more than there is room: %v", err)
	}
	var short *host.Shortage
	if _, err := in.Room(t.Context(), tenant, plan, 6); !errors.As(err, &short) || *short != (host.Shortage{Quota: host.QuotaStorage, Used: 95, Limit: 100, Needed: 6}) {
		t.Errorf("known to be too large: %v", err)
	}
	store.usage = host.Usage{Storage: 90} // something was given back
	if _, err := in.Room(t.Context(), tenant, plan, 10); err != nil {
		t.Errorf("after room was given back: %v", err)
	}
	if _, err := in.StageWithin(t.Context(), intake.Bounds{Archive: 3}, "a.zip", strings.NewReader("PK45")); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("over the plan's size: %v", err)
	}
}
