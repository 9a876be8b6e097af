package migrations_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/securetaghq/securetag/internal/testserver"
	"github.com/securetaghq/securetag/migrations"
)

// migrateEnv makes the test binary a process that migrates one database:
// "dialect dsn".
const migrateEnv = "SECURETAG_TEST_MIGRATE"

func TestMain(m *testing.M) {
	if job := os.Getenv(migrateEnv); job != "" {
		os.Exit(migrateOnce(job))
	}
	goleak.VerifyTestMain(m)
}

func migrateOnce(job string) int {
	name, dsn, _ := strings.Cut(job, " ")
	p, err := dialects[name].provider(dsn)
	if err == nil {
		var applied []int64
		if applied, err = migrations.Up(context.Background(), p); err == nil {
			fmt.Println("applied", len(applied))
			return 0
		}
	}
	fmt.Println(err)
	return 1
}

// dialect is one database to try the migrations on.
type dialect struct {
	driver   string
	now      string // a time in SQL
	create   func(t *testing.T) (dsn string)
	provider func(dsn string) (*goose.Provider, error)
	schema   string // lists what there is
}

var dialects = map[string]dialect{
	"postgres": {
		driver: "pgx", now: "now()",
		create: func(t *testing.T) string { return testserver.Postgres(t) },
		provider: func(dsn string) (*goose.Provider, error) {
			db, err := sql.Open("pgx", dsn)
			if err != nil {
				return nil, err
			}
			return migrations.Postgres(db)
		},
		schema: `
			select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
			from information_schema.columns where table_schema = 'public' and table_name not like 'goose%'
			union all select indexdef from pg_indexes where schemaname = 'public' and tablename not like 'goose%'
			union all select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint
			where connamespace = 'public'::regnamespace and conrelid::regclass::text not like 'goose%' order by 1`,
	},
	"sqlite": {
		driver: "sqlite", now: "1700000000000000",
		create: func(t *testing.T) string {
			u := url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "m.db"),
				RawQuery: "_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)"}
			return u.String()
		},
		provider: func(dsn string) (*goose.Provider, error) {
			db, err := sql.Open("sqlite", dsn)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(1)
			return migrations.SQLite(db)
		},
		schema: `select sql from sqlite_master where sql is not null and name not like '%goose%' and name not like 'sqlite%' order by 1`,
	},
}

// each runs a test on a new, empty database of every dialect.
func each(t *testing.T, test func(t *testing.T, d dialect, dsn string)) {
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d, d.create(t))
		})
	}
}

func (d dialect) open(t *testing.T, dsn string) *goose.Provider {
	t.Helper()
	p, err := d.provider(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestUpDownUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		p := d.open(t, dsn)
		sources := p.ListSources() // by version; a number may be missing between two
		all := len(sources)
		up := func() string {
			t.Helper()
			applied, err := migrations.Up(t.Context(), p)
			if err != nil || len(applied) != all {
				t.Fatalf("up applied %v, %v; there are %d", applied, err, all)
			}
			return d.read(t, dsn)
		}
		first := up()
		if !strings.Contains(first, "findings") {
			t.Fatalf("the schema has no findings: %s", first)
		}
		if applied, err := migrations.Up(t.Context(), p); err != nil || len(applied) != 0 {
			t.Errorf("up again applied %v, %v", applied, err)
		}
		for n := all; n > 0; n-- {
			if v, err := migrations.Down(t.Context(), p); err != nil || v != sources[n-1].Version {
				t.Fatalf("down took back %d, %v; want %d", v, err, sources[n-1].Version)
			}
		}
		if left := d.read(t, dsn); left != "" {
			t.Errorf("down left behind:\n%s", left)
		}
		if _, err := migrations.Down(t.Context(), p); err == nil {
			t.Error("down of an empty database says nothing")
		}
		if diff := cmp.Diff(first, up()); diff != "" {
			t.Errorf("up after down made something else (-first +second):\n%s", diff)
		}
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		p := d.open(t, dsn)
		if _, err := p.UpByOne(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := migrations.Status(t.Context(), p)
		if err != nil || len(all) < 2 || all[0].State != goose.StateApplied || all[1].State != goose.StatePending {
			t.Errorf("status %v, %v; want one applied and the rest pending", all, err)
		}
	})
}

// TestSeveralProcessesAtOnce starts the migration of one empty database in
// several processes and, within this one, on several connections.
func TestSeveralProcessesAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		name := strings.TrimPrefix(t.Name(), "TestSeveralProcessesAtOnce/")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), migrateEnv+"="+name+" "+dsn)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("a process: %v: %s", err, out)
				}
			})
			p := d.open(t, dsn)
			wg.Go(func() {
				if _, err := migrations.Up(t.Context(), p); err != nil {
					t.Errorf("a connection: %v", err)
				}
			})
		}
		wg.Wait()
		p := d.open(t, dsn)
		if pending, err := p.HasPending(t.Context()); err != nil || pending {
			t.Errorf("afterwards pending: %v, %v", pending, err)
		}
		var n int
		db := d.db(t, dsn)
		// On SQLite 15 does nothing, so that nothing keeps a second one from noting it,
		// too. Any other cannot be done twice.
		if err := db.QueryRowContext(t.Context(), `select count(case when version_id <> 15 then 1 end) from goose_db_version where version_id > 0`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if want := len(p.ListSources()) - 1; n != want {
			t.Errorf("%d migrations are noted, want each of %d once", n, want)
		}
	})
}

func (d dialect) db(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (d dialect) read(t *testing.T, dsn string) string {
	t.Helper()
	rows, err := d.db(t, dsn).QueryContext(t.Context(), d.schema)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
