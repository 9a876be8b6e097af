package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/postgres/postgrestest"
	"github.com/securetaghq/securetag/internal/testserver"
)

const projectTenant = "00000000-0000-7000-8000-000000000001"

// fillProjects makes so many projects with so many findings each.
func fillProjects(projects, findings int) string {
	return `insert into tenants (id, name) values ('` + projectTenant + `', 'acme');` + postgrestest.Projects(projectTenant, projects, findings)
}

// TestPlansOfProjects: a page of a project's findings is read by the index in
// its order, whatever the filters, also under row-level security.
func TestPlansOfProjects(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	execute(t, url, fillProjects(3, 4500))
	conn := connect(t, url)
	args := []any{projectTenant, projectTenant, int16(-1), noTenant, int16(6), noTenant}
	for name, more := range map[string][]any{
		"examined": {1999}, "projectFindings": {"", "", "", "", "", 100},
	} {
		var plan string // as the role of tenants, whose policies must not keep conditions from the index
		inContext(t, conn, projectTenant, func(pgx.Tx) { plan = explain(t, conn, postgres.Listed[name], append(slices.Clone(args), more...)...) })
		if !strings.Contains(plan, "project_findings_worst") || strings.Contains(plan, "Sort") {
			t.Errorf("%s does not read project_findings_worst in its order:\n%s", name, plan)
		}
	}
	// A page looks at 2,000 of them, and the pages together at all.
	for rule, want := range map[string]int{"none": 0, "rule-7": 90} {
		pages, found := 0, 0
		for q := (host.ProjectFindingQuery{Rule: rule, Limit: 500}); ; pages++ {
			page, err := s.ProjectFindings(t.Context(), projectTenant, "p1", q)
			if err != nil {
				t.Fatal(err)
			}
			if found += len(page.Items); page.Next == nil {
				break
			}
			q.After = page.Next
		}
		if pages != 2 || found != want {
			t.Errorf("%s: %d findings, and %d pages before the last; want %d and 2", rule, found, pages, want)
		}
	}
}

// BenchmarkProjectFindings reads pages among 1,000,000 findings in 10 projects.
func BenchmarkProjectFindings(b *testing.B) {
	url := testserver.Postgres(b)
	s, err := postgres.Open(b.Context(), postgres.Config{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	if _, err := conn.Exec(b.Context(), fillProjects(10, 100_000)); err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]host.ProjectFindingQuery{
		"all": {}, "severity": {Severity: host.SeverityHigh}, "half": {State: host.BaselineAbsent, Triage: host.TriageOpen},
		"few": {Path: "src/dir7/", Rule: "rule-7"}, "none": {Plugin: "none"},
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				if _, err := s.ProjectFindings(b.Context(), projectTenant, fmt.Sprint("p", 1+i%10), q); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
