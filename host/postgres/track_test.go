package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestFindingsBehindTheirProject: what writes to several findings of a project that
// is being tracked waits for the project and holds none of them meanwhile, so that
// it cannot meet with who tracks.
func TestFindingsBehindTheirProject(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	scan := populated(t, s, "a")
	found, err := s.ProjectFindings(t.Context(), scan.TenantID, "p", host.ProjectFindingQuery{})
	if err != nil || len(found.Items) != 1 {
		t.Fatal(found, err)
	}
	if _, err := s.DeleteScan(t.Context(), scan.TenantID, scan.ID); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	for what, write := range map[string]func(context.Context) error{
		"triage": func(ctx context.Context) error {
			_, err := s.TriageMany(ctx, scan.TenantID, "p", []host.ProjectFindingID{found.Items[0].ID}, host.Said{Triage: host.TriageOpen, Author: "k"})
			return err
		},
		"deletion": func(ctx context.Context) error {
			for {
				if out, err := s.DropDeleted(ctx, 10); err != nil || !out.More {
					return err
				}
			}
		},
	} {
		execute(t, url, `update project_findings set triaged_at = null`) // else a deletion leaves it
		tracking, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tracking.Exec(t.Context(), `select 1 from projects for update`); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- write(context.WithoutCancel(t.Context())) }()
		awaitBlocked(t, url)
		if _, err := tracking.Exec(t.Context(), `select 1 from project_findings for update nowait`); err != nil {
			t.Errorf("%s holds findings while it waits for their project: %v", what, err)
		}
		if err := tracking.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPlanOfTracking: what a tenant has deleted before costs the look for scans to
// track nothing.
func TestPlanOfTracking(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	open(t, postgres.Config{URL: url})
	execute(t, url, `
insert into tenants (id, name) values ('`+projectTenant+`', 'acme');
insert into scans (id, tenant_id, type, project, url, state, finished_at) select gen_random_uuid(), '`+projectTenant+`', 'web', 'p', 'u', 'canceled', now() from generate_series(1, 2000);
insert into untracked_scans (scan_id, tenant_id) select id, tenant_id from scans;
insert into deletions (id, tenant_id, scan_id, marked_at, finished_at)
select gen_random_uuid(), '`+projectTenant+`', gen_random_uuid(), now(), now() from generate_series(1, 5000);
analyze`)
	if plan := explain(t, connect(t, url), postgres.PickUntracked); !strings.Contains(plan, "deletions_pending") || !strings.Contains(plan, "untracked_scans_due") {
		t.Errorf("it reads what is done:\n%s", plan)
	}
}
