package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
	"github.com/securetaghq/securetag/migrations"
)

// migrated is what tests copy that are not about migrating.
var migrated = testserver.NewTemplate(migrate)

func migrate(ctx context.Context, url string) error {
	p, err := postgres.Migrations(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	_, err = migrations.Up(ctx, p)
	return errors.Join(err, p.Close())
}

// grown is migrated, and what tests copy that must hold at the planner's worst
// moment: all tables were analyzed while they were empty, and nobody does so
// again. A connection that is made then keeps its plans while they grow. A plan that
// reads a table whole for each row of another is found only so, and otherwise on the
// day on which autovacuum comes by between two bursts.
var grown = testserver.NewTemplate(func(ctx context.Context, url string) error {
	if err := migrate(ctx, url); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `
do $$ declare name text; begin
	for name in select tablename from pg_tables where schemaname = current_schema() loop
		execute format('alter table %I set (autovacuum_enabled = off)', name);
	end loop;
	-- One page that held something, and holds nothing: what ANALYZE writes then.
	update pg_class set relpages = 1, reltuples = 0 where relnamespace = current_schema()::regnamespace and relkind in ('r', 'i');
end $$`)
	return errors.Join(err, conn.Close(ctx))
})

// databases are grown ones that tests use in turn. The suite has a store a
// test, and to make, migrate and drop a database costs more than most of its
// tests; to empty one costs little.
type databases struct {
	t *testing.T // at whose end they are dropped

	mu   sync.Mutex
	free []string
}

// take is the URL of an empty one that is the test's until its end. One of a
// test that failed is not used again.
func (d *databases) take(t *testing.T) string {
	t.Helper()
	url := d.pop()
	if url == "" {
		url = grown.Postgres(d.t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		empty(t, url)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, url)
	})
	return url
}

func (d *databases) pop() (url string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.free); n > 0 {
		url, d.free = d.free[n-1], d.free[:n-1]
	}
	return url
}

// empty leaves what the migrations made: the tables, and the one row of origin.
// A replica's session checks no foreign key and fires no trigger, so any order
// will do.
func empty(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's has ended
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `
do $$ declare name text; begin
	set local session_replication_role = replica;
	for name in select tablename from pg_tables
		where schemaname = current_schema and tablename not in ('origin', 'goose_db_version') loop
		execute format('delete from %I', name);
	end loop;
end $$`); err != nil {
		t.Fatalf("empty a database for the next test: %v", err)
	}
}
