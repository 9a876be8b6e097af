package chaos_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	_ "github.com/securetaghq/securetag/host/sqlite" // registers the driver
)

// books are the witness's own account of what tenants hold. Triggers write each
// change of a row that a quota counts, in its transaction, so it knows nothing
// of counters and ledger and is held against them.
//
// In the order of n the sums are what was held at each moment: whoever takes room
// has looked for it under a lock or as the only writer, so what was given back
// until then has a lower n.
type books struct {
	t        *testing.T
	db       *sql.DB
	embedded bool
}

// Both dialects have the same table. day is the UTC day of an accepted scan;
// running is of jobs.
const (
	booksPostgres = `
create table chaos_books (
    n bigserial primary key, tenant uuid not null, scan uuid not null, day text,
    storage bigint not null, queued bigint not null, scans bigint not null, running bigint not null
);
create function chaos_bytes(s scans) returns bigint language sql immutable as $$
    select case when s.archive is null or s.archive_removed_at is not null then 0 else (s.archive::json ->> 'Size')::bigint end $$;
create function chaos_waits(s scans) returns bigint language sql immutable as $$
    select case when s.id is not null and s.started_at is null and s.finished_at is null then 1 else 0 end::bigint $$;
create function chaos_scan() returns trigger language plpgsql as $$
begin
    insert into chaos_books (tenant, scan, day, storage, queued, scans, running)
    values (coalesce(new.tenant_id, old.tenant_id), coalesce(new.id, old.id), (new.created_at at time zone 'utc')::date::text,
            chaos_bytes(new) - chaos_bytes(old), chaos_waits(new) - chaos_waits(old), case tg_op when 'INSERT' then 1 else 0 end, 0);
    return null;
end $$;
create trigger chaos_scan after insert or delete or update of started_at, finished_at, archive_removed_at on scans
for each row execute function chaos_scan();
create function chaos_job() returns trigger language plpgsql as $$
begin
    insert into chaos_books (tenant, scan, storage, queued, scans, running)
    values (new.tenant_id, new.scan_id, 0, 0, 0, (new.state = 'running')::int - (old.state = 'running')::int);
    return null;
end $$;
create trigger chaos_job after update of state on jobs
for each row when ((old.state = 'running') <> (new.state = 'running')) execute function chaos_job()`

	booksSQLite = `
create table chaos_books (
    n integer primary key autoincrement, tenant text not null, scan text not null, day text,
    storage integer not null, queued integer not null, scans integer not null, running integer not null
);
create trigger chaos_in after insert on scans begin
    insert into chaos_books values (null, new.tenant_id, new.id, date(new.created_at / 1000000, 'unixepoch'), BYTES(new), WAITS(new), 1, 0);
end;
create trigger chaos_changed after update of started_at, finished_at, archive_removed_at on scans begin
    insert into chaos_books values (null, new.tenant_id, new.id, null, BYTES(new) - BYTES(old), WAITS(new) - WAITS(old), 0, 0);
end;
create trigger chaos_out after delete on scans begin
    insert into chaos_books values (null, old.tenant_id, old.id, null, -BYTES(old), -WAITS(old), 0, 0);
end;
create trigger chaos_job after update of state on jobs when (old.state = 'running') <> (new.state = 'running') begin
    insert into chaos_books values (null, new.tenant_id, new.scan_id, null, 0, 0, 0, (new.state = 'running') - (old.state = 'running'));
end;`
)

// openBooks begins the account, of a database in which nothing was accepted yet.
func openBooks(c *cluster) *books {
	c.t.Helper()
	b := &books{t: c.t, embedded: c.settings.embedded}
	text := booksPostgres
	if b.embedded {
		var err error
		if b.db, err = sql.Open("sqlite", "file:"+filepath.Join(c.dir, "data", "securetag.db")+"?_pragma=busy_timeout(10000)"); err != nil {
			c.t.Fatal(err)
		}
		text = booksSQLite
		for _, row := range []string{"new", "old"} {
			text = strings.NewReplacer(
				"BYTES("+row+")", "(case when ROW.archive is null or ROW.archive_removed_at is not null then 0 else cast(ROW.archive ->> '$.Size' as integer) end)",
				"WAITS("+row+")", "(ROW.started_at is null and ROW.finished_at is null)",
			).Replace(text)
			text = strings.ReplaceAll(text, "ROW", row)
		}
	} else {
		b.db = stdlib.OpenDBFromPool(c.db)
	}
	c.t.Cleanup(func() { _ = b.db.Close() })
	if _, err := b.db.ExecContext(c.t.Context(), text); err != nil {
		c.t.Fatalf("begin the books: %v", err)
	}
	return b
}

// lock keeps every host from accepting until the function that it returns is
// called, as a transaction does that is under way elsewhere.
func (b *books) lock() (unlock func()) {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	conn, err := b.db.Conn(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	begin := []string{"begin", "lock table usage in exclusive mode"}
	if b.embedded {
		begin = []string{"begin immediate"}
	}
	for _, text := range begin {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
	}
	return func() {
		if _, err := conn.ExecContext(ctx, "rollback"); err != nil {
			b.t.Error(err)
		}
		if err := conn.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

// holds is what a tenant has of what its plan bounds.
type holds struct{ Storage, Queued, Scans, Running int64 }

// sums runs a query that gives tenants' names and what they hold.
func (b *books) sums(query string) map[string]holds {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), query)
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	all := map[string]holds{}
	for rows.Next() {
		var name string
		var h holds
		if err := rows.Scan(&name, &h.Storage, &h.Queued, &h.Scans, &h.Running); err != nil {
			b.t.Fatal(err)
		}
		all[name] = h
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return all
}

// What tenants hold now; what they held most, of scans in one day; and what the
// ledger adds up to, which has no jobs. A tenant that is gone has its id for a
// name.
const (
	bookNow = `select coalesce(t.name, cast(b.tenant as text)), cast(sum(storage) as bigint), cast(sum(queued) as bigint), cast(sum(scans) as bigint), cast(sum(running) as bigint)
from chaos_books b left join tenants t on t.id = b.tenant group by 1`
	bookMost = `select coalesce(t.name, cast(b.tenant as text)), max(b.storage), max(b.queued), max(b.scans), max(b.running) from (
    select tenant, cast(sum(storage) over w as bigint) as storage, cast(sum(queued) over w as bigint) as queued,
        cast(sum(running) over w as bigint) as running, cast(sum(scans) over (partition by tenant, day order by n) as bigint) as scans
    from chaos_books window w as (partition by tenant order by n)
) b left join tenants t on t.id = b.tenant group by 1`
	bookLeast = `select coalesce(t.name, cast(b.tenant as text)), min(b.storage), min(b.queued), 0, min(b.running) from (
    select tenant, cast(sum(storage) over w as bigint) as storage, cast(sum(queued) over w as bigint) as queued, cast(sum(running) over w as bigint) as running
    from chaos_books window w as (partition by tenant order by n)
) b left join tenants t on t.id = b.tenant group by 1`
	ledgerNow = `select t.name, cast(sum(l.storage) as bigint), cast(sum(l.queued) as bigint), cast(sum(l.scans) as bigint), 0 from (
    select tenant_id, storage, queued, scans from quota_ledger union all select tenant_id, storage, queued, scans from quota_days
) l join tenants t on t.id = l.tenant_id group by 1`
)

// names runs a query that gives one column.
func (b *books) names(query string) map[string]bool {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), query)
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.t.Fatal(err)
		}
		all[name] = true
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return all
}

// number runs a query that gives one number.
func (b *books) number(query string) (n int64) {
	b.t.Helper()
	if err := b.db.QueryRowContext(b.t.Context(), query).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return n
}
