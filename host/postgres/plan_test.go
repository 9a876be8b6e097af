package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host/postgres"
)

// TestPlansWithStaleStatistics asks the planner at its worst moment: it has
// counted 200,000 jobs when none was running, and now many are. A statement that
// lets it choose a partial index would read them all, for every lease; one that
// looks for work must not read the backlog.
func TestPlansWithStaleStatistics(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	open(t, postgres.Config{URL: url})
	execute(t, url, "alter table jobs set (autovacuum_enabled = off)")
	execute(t, url, fmt.Sprintf(backlog, 20, 200_000)+`;
analyze;
update jobs set state = 'running', attempt = 1, lease_epoch = 1, lease_id = gen_random_uuid(), lease_owner = 'o',
    lease_expires_at = now() + interval '1 hour', started_at = now(), deadline_at = now() + interval '1 hour'
where id in (select id from jobs limit 15000)`)
	conn := connect(t, url)
	fencedPlans(t, conn)
	searchPlans(t, conn)
}

// fencedPlans: what a writer with a lease does finds its job by its id.
func fencedPlans(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var job, lease string
	if err := conn.QueryRow(t.Context(), `select id, lease_id from jobs where state = 'running' limit 1`).Scan(&job, &lease); err != nil {
		t.Fatal(err)
	}
	jobs, epochs, leases := []string{job}, []int64{1}, []string{lease}
	none := []*string{nil}
	args := map[string][]any{
		"claim":     {jobs, "owner", int64(1)},
		"heartbeat": {jobs, epochs, leases, []string{"{}"}, int64(1)},
		"finish": {jobs, epochs, leases, []string{"succeeded"}, none, []bool{false}, []string{"{}"},
			[]int64{0}, []bool{false}, []bool{false}, none},
		"finishNoting": {jobs, epochs, leases, []string{"queued"}, none, []bool{false}, []string{"{}"},
			[]int64{0}, []bool{false}, []bool{true}, none},
		"insertFindings": {jobs, epochs, leases, []int32{1}, []string{job}, []int16{1}, []string{"r"}, []string{"f"},
			[]string{"t"}, []string{"m"}, []string{"{}"}, []*int64{nil}, []*int64{nil}, []*int64{nil}},
	}
	for name, statement := range postgres.Fenced {
		plan := explain(t, conn, statement, args[name]...)
		if !strings.Contains(plan, "jobs_pkey") {
			t.Errorf("%s does not use the primary key:\n%s", name, plan)
		}
		for _, bad := range []string{"jobs_busy", "jobs_lane", "jobs_overdue", "Seq Scan on jobs"} {
			if strings.Contains(plan, bad) {
				t.Errorf("%s uses %s:\n%s", name, bad, plan)
			}
		}
	}
}

// searchPlans: what looks for work does so by the index that holds just that.
// Dispatch is asked for its generic plan, which is what it runs by.
func searchPlans(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for name, c := range map[string]struct {
		statement string
		args      []any
		uses      []string
	}{
		"expire":   {postgres.PickExpired, []any{200}, []string{"jobs_busy"}},
		"overdue":  {postgres.PickOverdue, []any{500}, []string{"jobs_overdue"}},
		"release":  {postgres.Releasable, []any{"o"}, []string{"jobs_busy"}},
		"mend":     {postgres.MendLanes, []any{noTenant, "", "", 0, 500}, []string{"jobs_lane"}},
		"dispatch": {"execute dispatch (200, 'o', 1, 1000000, '{p}', false, 0, '{}', '{}', '{}', '{}', 50, '{}', '{}', '{}')", nil, []string{"jobs_lane", "jobs_busy", "jobs_pkey", "jobs_overdue"}},
	} {
		if name == "dispatch" {
			for _, s := range []string{
				"prepare dispatch (bigint, text, bigint, bigint, text[], bool, int, text[], int[], text[], int[], int, text[], float8[], int[]) as " + postgres.DispatchStatement,
				strings.ReplaceAll(postgres.DispatchSettings, ", true)", ", false)"), // beyond this statement
			} {
				if _, err := conn.Exec(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
		}
		plan := explain(t, conn, c.statement, c.args...)
		for _, index := range c.uses {
			if !strings.Contains(plan, index) {
				t.Errorf("%s does not use %s:\n%s", name, index, plan)
			}
		}
		if strings.Contains(plan, "Seq Scan on jobs") {
			t.Errorf("%s reads every job:\n%s", name, plan)
		}
	}
}

const noTenant = "00000000-0000-0000-0000-000000000000"

func explain(t *testing.T, conn *pgx.Conn, statement string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "explain "+statement, args...)
	if err != nil {
		t.Fatalf("explain: %v\n%s", err, statement)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("explain: %v\n%s", err, statement)
	}
	return strings.Join(lines, "\n")
}

// TestPlansOfOverviews: among many jobs that have ended, what operators look at
// is found by index, or a look would cost more with every scan ever made.
func TestPlansOfOverviews(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	open(t, postgres.Config{URL: url})
	execute(t, url, `
alter table jobs set (autovacuum_enabled = off);
insert into tenants (id, name) select gen_random_uuid(), 'tenant-' || n from generate_series(1, 20) n;
insert into scans (id, tenant_id, type, url)
select gen_random_uuid(), id, 'web', 'u' from tenants, generate_series(1, 1000);
insert into jobs (id, tenant_id, scan_id, scan_type, ordinal, plugin, max_attempts, timeout_us, lease_epoch, result_epoch, state, finished_at)
select gen_random_uuid(), tenant_id, id, type, 0, 'p', 3, 1000, 1, 1, 'succeeded', now() from scans;
update jobs set state = 'queued', result_epoch = null, finished_at = null where id in (select id from jobs limit 100);
update jobs set state = 'failed', result_epoch = null, error = '{}', dead_at = now()
where id in (select id from jobs where state = 'succeeded' limit 100);
analyze`)
	conn := connect(t, url)
	for statement, args := range postgres.Overviews {
		rows, err := conn.Query(t.Context(), "explain "+statement, args...)
		if err != nil {
			t.Fatalf("explain %s: %v", statement, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("explain %s: %v", statement, err)
		}
		if plan := strings.Join(lines, "\n"); strings.Contains(plan, "Seq Scan on jobs") || !strings.Contains(plan, "jobs_dead") {
			t.Errorf("it reads every job:\n%s\n%s", statement, plan)
		}
	}
}
