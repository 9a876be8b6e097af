package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

// TestEveryTableIsConfined: each table with a tenant_id has the policy that the
// others have, and the role of tenants may do nothing with one that has none.
func TestEveryTableIsConfined(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	open(t, postgres.Config{URL: url})
	conn := connect(t, url)
	policies := map[string]string{}
	rows, err := conn.Query(t.Context(), `select tablename, policyname || ' ' || cmd || ' ' || roles::text || ' ' || qual || coalesce(with_check, '') from pg_policies where schemaname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	var table, policy string
	if _, err := pgx.ForEachRow(rows, []any{&table, &policy}, func() error { policies[table] += policy; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, table := range tenantTables(t, conn) {
		if diff := cmp.Diff(policies["scans"], policies[table]); diff != "" || policies[table] == "" {
			t.Errorf("table %s has a tenant_id and not the policy that keeps tenants apart: its migration must enable row level security "+
				"and create the policy own_tenant, as 00015 does (-scans +%s):\n%s", table, table, diff)
		}
	}
	if want := strings.ReplaceAll(policies["scans"], "tenant_id =", "id ="); policies["tenants"] != want {
		t.Errorf("tenants: %s, want %s", policies["tenants"], want)
	}
	loose, err := pgx.CollectRows(must(conn.Query(t.Context(), `select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')
		and not relrowsecurity and has_table_privilege('securetag_tenant', oid, 'select, insert, update, delete')`)), pgx.RowTo[string])
	if err != nil || len(loose) > 0 {
		t.Errorf("the role of tenants has rights on tables without a policy: %v, %v", loose, err)
	}
}

func must(rows pgx.Rows, err error) pgx.Rows {
	if err != nil {
		panic(err)
	}
	return rows
}

// tenantTables are those with a tenant_id.
func tenantTables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	all, err := pgx.CollectRows(must(conn.Query(t.Context(), `select table_name::text from information_schema.columns
		where column_name = 'tenant_id' and table_schema = 'public' order by 1`)), pgx.RowTo[string])
	if err != nil || len(all) < 10 {
		t.Fatalf("tables: %v, %v", all, err)
	}
	return all
}

// populated makes a tenant with rows in every table that tenants have.
func populated(t *testing.T, s *postgres.Store, name string) host.Scan {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tenant := host.Tenant{ID: host.NewTenantID(), Name: name}
	check(s.CreateTenant(t.Context(), tenant))
	key := host.Key{ID: host.NewKeyID(), TenantID: tenant.ID, Scopes: host.AllScopes()}
	_, _ = rand.Read(key.Hash[:])
	check(s.CreateKey(t.Context(), key))
	accept := func() host.Scan {
		scans, err := s.Accept(t.Context(), []host.Scan{{ID: host.NewScanID(), TenantID: tenant.ID, Type: "web", Project: "p",
			Input: host.Input{URL: "https://" + name + "/"},
			Jobs:  []host.Job{{ID: host.NewJobID(), Plugin: name, MaxAttempts: 3, Timeout: time.Hour}}}}, nil)
		check(err)
		return scans[0]
	}
	end := func(o host.Outcome) {
		out, err := s.Dispatch(t.Context(), host.DispatchQuery{Plugins: []string{name}, Window: 1, Horizon: time.Hour, Claim: host.AtOnce{Owner: "a", Most: 1, TTL: time.Minute}})
		check(err)
		if len(out.Claims) != 1 {
			t.Fatalf("claimed %d jobs", len(out.Claims))
		}
		o.Lease = out.Claims[0].Lease
		lost, err := s.Finish(t.Context(), []host.Outcome{o})
		check(err)
		if len(lost) > 0 {
			t.Fatal("lost the lease")
		}
	}
	scan := accept()
	end(host.Outcome{State: host.StateQueued, Error: &host.JobError{Code: host.CodePluginFailed, Message: "x", Attempt: 1}})
	id := host.NewArtifactID()
	end(host.Outcome{State: host.StateSucceeded, Findings: []host.Finding{{ID: host.NewFindingID(), RuleID: "r", Title: "t", Severity: host.SeverityHigh}},
		Artifacts: []host.Artifact{{ID: id, Name: "a", MediaType: "a/b", Blob: host.BlobKey(id)}}})
	check(s.TidyLedger(t.Context(), 0))
	for tracked := new(host.Tracking); tracked != nil; { // another tenant's may wait as well
		var err error
		tracked, err = s.Track(t.Context(), 10)
		check(err)
	}
	found, err := s.ProjectFindings(t.Context(), tenant.ID, "p", host.ProjectFindingQuery{})
	check(err)
	_, err = s.Triage(t.Context(), tenant.ID, found.Items[0].ID, 0, host.Said{Triage: host.TriageConfirmed, Author: "k"})
	check(err)
	accept()
	end(host.Outcome{State: host.StateSucceeded}) // and waits to be tracked
	last := accept()
	_, err = s.DeleteScan(t.Context(), tenant.ID, last.ID)
	check(err)
	return scan
}

// TestTenantsAreConfined: whatever a statement in one tenant's context says, it has
// nothing of another's; and without a tenant, nothing at all.
func TestTenantsAreConfined(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	if err := s.RowSecurity(); err != nil {
		t.Fatal(err)
	}
	a, b := populated(t, s, "a"), populated(t, s, "b")
	conn := connect(t, url)
	// counts gives the rows that the role of tenants sees, for a tenant.
	counts := func(tenant string) map[string]int {
		out := map[string]int{}
		inContext(t, conn, tenant, func(tx pgx.Tx) {
			for _, table := range append(tenantTables(t, conn), "tenants") {
				var n int
				if err := tx.QueryRow(t.Context(), `select count(*) from `+table).Scan(&n); err != nil {
					t.Fatal(err)
				}
				out[table] = n
			}
		})
		return out
	}
	own := count(t, url, b.TenantID)
	own["tenants"] = 1
	for table, n := range counts(string(b.TenantID)) {
		if n != own[table] {
			t.Errorf("b sees %d rows of %s, want its own %d", n, table, own[table])
		}
		delete(own, table)
	}
	for table, n := range counts("") {
		if n != 0 {
			t.Errorf("nobody sees %d rows of %s", n, table)
		}
	}
	theirs := count(t, url, a.TenantID)
	for _, table := range tenantTables(t, conn) {
		if theirs[table] == 0 {
			t.Logf("a has no row of %s: only that it has the policy is tested", table)
			continue
		}
		for what, sql := range map[string]string{
			"reads":   `select 1 from ` + table + ` where tenant_id = $1`,
			"locks":   `select 1 from ` + table + ` where tenant_id = $1 for update`,
			"changes": `update ` + table + ` set tenant_id = tenant_id where tenant_id = $1`,
			"removes": `delete from ` + table + ` where tenant_id = $1`,
		} {
			inContext(t, conn, string(b.TenantID), func(tx pgx.Tx) {
				if tag, err := tx.Exec(t.Context(), sql, string(a.TenantID)); err != nil || tag.RowsAffected() != 0 {
					t.Errorf("b %s %d rows of a's in %s: %v", what, tag.RowsAffected(), table, err)
				}
			})
		}
		inContext(t, conn, string(b.TenantID), func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), `update `+table+` set tenant_id = $1`, string(a.TenantID))
			if err == nil || !strings.Contains(err.Error(), "row-level security") && table != "finding_history" { // which nobody may change
				t.Errorf("b gives its rows of %s to a: %v", table, err)
			}
		})
	}
	for _, table := range []string{"operator_keys", "audit", "pauses", "origin"} {
		inContext(t, conn, string(b.TenantID), func(tx pgx.Tx) {
			if _, err := tx.Exec(t.Context(), `select 1 from `+table); err == nil {
				t.Errorf("b reads %s", table)
			}
		})
	}
}

// inContext runs f as the store runs what a tenant asks for, and takes it back.
func inContext(t *testing.T, conn *pgx.Conn, tenant string, f func(pgx.Tx)) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), postgres.AsTenant, tenant); err != nil {
		t.Fatal(err)
	}
	f(tx)
}

// TestWithoutPredicates runs the store's own statements, less what they say of the
// tenant, in the context of another.
func TestWithoutPredicates(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Config{URL: migrated.Postgres(t)})
	a, b := populated(t, s, "a"), populated(t, s, "b")
	for name, sql := range postgres.TenantReads() {
		loose := strings.NewReplacer("s.tenant_id = $1", "$1 <> ''", "f.tenant_id = $1", "$1 <> ''", "a.tenant_id = $1", "$1 <> ''",
			"where tenant_id = $1", "where $1 <> ''").Replace(sql)
		if loose == sql {
			t.Errorf("%s does not name the tenant as this test knows it", name)
		}
		for tenant, want := range map[host.TenantID]bool{a.TenantID: true, b.TenantID: false} {
			n, err := s.CountAs(t.Context(), tenant, loose, string(a.TenantID), string(a.ID))
			if err != nil || (n > 0) != want {
				t.Errorf("%s without its predicate has %d rows of a's, %v, want some: %v", name, n, err, want)
			}
		}
	}
}

// TestWithoutTheRole: a host that may not make roles works none the less and says
// what to do; when that is done, the database keeps tenants apart.
func TestWithoutTheRole(t *testing.T) {
	t.Parallel()
	admin := testserver.Postgres(t)
	open(t, postgres.Config{URL: testserver.Postgres(t)}) // where the role is made
	app, password := "app_"+strings.ToLower(rand.Text()), rand.Text()
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	execute(t, admin, fmt.Sprintf(`create role %[1]s login password '%[2]s'; alter database %[3]s owner to %[1]s; alter schema public owner to %[1]s`, app, password, database))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's has ended
		defer cancel()
		conn, err := pgx.Connect(ctx, admin)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err := conn.Exec(ctx, fmt.Sprintf(`reassign owned by %[1]s to current_user; drop owned by %[1]s; drop role %[1]s`, app)); err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(app, password)
	first, err := postgres.Open(t.Context(), postgres.Config{URL: u.String(), MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if err := first.RowSecurity(); err == nil || !strings.Contains(err.Error(), `grant securetag_tenant to "`+app+`"`) {
		t.Errorf("row security: %v, want what to do", err)
	}
	a, b := populated(t, first, "a"), populated(t, first, "b")
	execute(t, admin, `grant securetag_tenant to `+app)
	second := open(t, postgres.Config{URL: u.String(), MaxConns: 2})
	if err := second.RowSecurity(); err != nil {
		t.Fatalf("after what was to do: %v", err)
	}
	if n, err := second.CountAs(t.Context(), b.TenantID, `select 1 from scans where $1 <> '' and id = $2`, "x", string(a.ID)); err != nil || n != 0 {
		t.Errorf("b sees %d scans of a's, %v", n, err)
	}
	for _, s := range []*postgres.Store{first, second} {
		if got, err := s.Scan(t.Context(), b.TenantID, b.ID); err != nil || got.State != host.StateSucceeded {
			t.Errorf("b's own: %+v, %v", got, err)
		}
	}
}
