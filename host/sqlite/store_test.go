package sqlite_test

import (
	"database/sql"
	"flag"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/sqlite"
	"github.com/securetaghq/securetag/host/sqlite/sqlitetest"
	"github.com/securetaghq/securetag/host/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		crash(path)
	}
	// Each draw is hundreds of transactions; -rapid.checks on the command line
	// comes later and wins.
	_ = flag.Set("rapid.checks", "20")
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		var ahead atomic.Int64
		path := sqlitetest.File(t)
		cfg := sqlite.Config{Path: path, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
		return storetest.Harness{
			Store: open(t, cfg), Advance: func(d time.Duration) { ahead.Add(int64(d)) },
			Another: func() host.Store { return open(t, cfg) },
			Rows:    func(t *testing.T, tenant host.TenantID) map[string]int { return count(t, path, tenant) },
		}
	})
}

// count counts a tenant's rows in every table that has a tenant_id.
func count(t *testing.T, path string, tenant host.TenantID) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `select m.name from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and c.name = 'tenant_id'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var tables []string
	for rows.Next() {
		tables = append(tables, "")
		if err := rows.Scan(&tables[len(tables)-1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, table := range tables {
		var n int
		if err := db.QueryRowContext(t.Context(), `select count(*) from `+table+` where tenant_id = ?`, string(tenant)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			all[table] = n
		}
	}
	return all
}

func open(t *testing.T, cfg sqlite.Config) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), cfg)
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
