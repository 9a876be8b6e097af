package postgres_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestMarksInBatches has more scans in a project than get their mark at once, of
// whoever asked, and of a sweeper where that one died after its first statement.
func TestMarksInBatches(t *testing.T) {
	t.Parallel()
	const scans = 2*postgres.MarkAtOnce + 1
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t"}
	if err := s.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	for _, project := range []string{"asked", "died"} {
		all := make([]host.Scan, scans)
		for i := range all {
			all[i] = host.Scan{ID: host.NewScanID(), TenantID: tenant.ID, Type: "web", Project: project, Input: host.Input{URL: "https://x/"},
				Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}
		}
		if _, err := s.Accept(t.Context(), all, nil); err != nil {
			t.Fatal(err)
		}
	}
	d, err := s.DeleteProject(t.Context(), tenant.ID, "asked")
	if err != nil || d.Scans != scans || d.Left != scans {
		t.Errorf("deletion %+v, %v, want %d scans", d, err, scans)
	}
	execute(t, url, `update deletions set finished_at = now()`) // out of the way
	id := host.NewDeletionID()
	execute(t, url, `insert into deletions (id, tenant_id, project) values ('`+string(id)+`', '`+string(tenant.ID)+`', 'died')`)
	if got, err := s.DropDeleted(t.Context(), 1); err != nil || !got.More {
		t.Errorf("dropped %+v, %v", got, err)
	}
	if d, err = s.Deletion(t.Context(), tenant.ID, id); err != nil || d.Scans != scans || !d.FinishedAt.IsZero() {
		t.Errorf("deletion %+v, %v, want %d scans", d, err, scans)
	}
	if left, err := s.Scans(t.Context(), tenant.ID, host.ScanQuery{}); err != nil || len(left) > 0 {
		t.Errorf("%d scans are seen, %v", len(left), err)
	}
}
