package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/storetest"
)

func TestMain(m *testing.M) {
	// Each draw is hundreds of transactions; -rapid.checks on the command line
	// comes later and wins.
	_ = flag.Set("rapid.checks", "20")
	goleak.VerifyTestMain(withTemplate{m})
}

// withTemplate drops after the tests what they copied.
type withTemplate struct{ m *testing.M }

func (w withTemplate) Run() int {
	code := w.m.Run()
	if err := errors.Join(migrated.Drop(context.Background()), grown.Drop(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestStore(t *testing.T) {
	t.Parallel()
	reused := &databases{t: t}
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		url := reused.take(t)
		s := open(t, postgres.Config{URL: url, MaxConns: 8})
		return storetest.Harness{
			Store: s, Advance: func(d time.Duration) { age(t, url, d) },
			Another: func() host.Store { return open(t, postgres.Config{URL: url, MaxConns: 2}) },
			Rows:    func(t *testing.T, tenant host.TenantID) map[string]int { return count(t, url, tenant) },
		}
	})
}

// count counts a tenant's rows in every table that has a tenant_id.
func count(t *testing.T, url string, tenant host.TenantID) map[string]int {
	t.Helper()
	conn := connect(t, url)
	rows, err := conn.Query(t.Context(), `select table_name from information_schema.columns where column_name = 'tenant_id' and table_schema = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, table := range tables {
		var n int
		if err := conn.QueryRow(t.Context(), `select count(*) from `+table+` where tenant_id = $1`, string(tenant)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			all[table] = n
		}
	}
	return all
}

func open(t *testing.T, cfg postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// age moves every time in the database back by d, which to the store looks as
// if d had passed: its clock is the server's and cannot be set.
func age(t *testing.T, url string, d time.Duration) {
	t.Helper()
	var all strings.Builder // sent over one connection: to make it costs more
	for _, table := range []string{"tenants", "api_keys", "scans", "jobs", "findings", "lanes", "turns", "pauses", "attempts", "operator_keys", "usage", "quota_ledger", "quota_days", "audit", "accepted_requests", "deletions", "webhooks", "webhook_deliveries", "targets",
		"projects", "project_findings", "project_runs", "scan_outcomes", "untracked_scans"} {
		all.WriteString(`
do $$ declare list text; begin
	select string_agg(format('%1$I = %1$I - interval ''` + d.String() + `''', attname), ', ') into list
	from pg_attribute where attrelid = '` + table + `'::regclass and atttypid = 'timestamptz'::regtype;
	if '` + table + `' = 'audit' then alter table audit disable trigger audit_keep; end if;
	execute 'update ` + table + ` set ' || list;
	if '` + table + `' = 'audit' then alter table audit enable trigger audit_keep; end if;
end $$;`)
	}
	execute(t, url, all.String())
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// connect connects as the store does, with its settings for the planner.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.RuntimeParams, postgres.Planning)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
