package migrations_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/migrations"
)

// TestNoneComesBefore: a migration is never put before one that databases have
// applied, which are refused as out of order then. 13 was left out, and stays so.
func TestNoneComesBefore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		var first []int64
		for _, source := range d.open(t, dsn).ListSources() {
			if source.Version <= 15 {
				first = append(first, source.Version)
			}
		}
		if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15}, first); diff != "" {
			t.Errorf("migrations that are applied somewhere (-want +got):\n%s", diff)
		}
	})
}

// TestScansFromBeforeProjects: a database that has scans gets the rest, and of
// scans of projects those are to be tracked that end from then on.
func TestScansFromBeforeProjects(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		p := d.open(t, dsn)
		if _, err := p.UpTo(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		db := d.db(t, dsn)
		run := d.runs(t, db)
		run(`insert into tenants (id, name, created_at) values (<1>, 'one', <now>)`)
		for id, project := range map[string]string{"<2>": "shop", "<3>": "shop", "<4>": ""} {
			run(`insert into scans (id, tenant_id, type, project, url, created_at) values (` + id + `, <1>, 'web', '` + project + `', 'u', <now>)`)
		}
		end := func(id string) {
			t.Helper()
			run(`update scans set state = 'canceled', finished_at = <now> where id = ` + id)
		}
		end("<2>")
		if _, err := migrations.Up(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		end("<3>")
		end("<4>")
		rows, err := db.QueryContext(t.Context(), `select scan_id from untracked_scans`)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		var noted []string
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			noted = append(noted, "'"+id+"'")
		}
		if err := rows.Err(); err != nil || !slices.Equal(noted, []string{d.fill("<3>")}) {
			t.Errorf("to be tracked: %v, %v; want the one that ended after it", noted, err)
		}
	})
}

// TestDeliveriesFromBeforeTheirScans: a delivery that is there knows its scan by
// what it says, and a migration of several transactions that broke off, or was not
// noted, is done over again.
func TestDeliveriesFromBeforeTheirScans(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		p := d.open(t, dsn)
		if _, err := p.UpTo(t.Context(), 16); err != nil {
			t.Fatal(err)
		}
		db := d.db(t, dsn)
		run := d.runs(t, db)
		run(`insert into tenants (id, name, created_at) values (<1>, 'one', <now>)`)
		run(webhook + ` values (<2>, <1>, 'u', 'e', 's', <now>)`)
		scan := strings.Trim(d.fill("<5>"), "'")
		run(delivery + ` values (<3>, <1>, <2>, 'scan.failed', '{"scan":"` + scan + `"}', <now>, <now>, 'pending', 0, null, null)`)
		run(delivery + ` values (<4>, <1>, <2>, 'webhook.test', '{}', <now>, <now>, 'pending', 0, null, null)`)
		if d.driver == "pgx" { // as far as one came whose host died
			run(`alter table webhooks add column version integer not null default 1 check (version > 0)`)
			run(`alter table webhook_deliveries add column scan_id uuid`)
			run(`create index webhook_deliveries_by_scan on webhook_deliveries (scan_id)`)
		}
		if _, err := migrations.Up(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		var told, untold int
		err := db.QueryRowContext(t.Context(), d.fill(`select count(case when scan_id = <5> then 1 end), count(case when scan_id is null then 1 end) from webhook_deliveries`)).Scan(&told, &untold)
		if err != nil || told != 1 || untold != 1 {
			t.Errorf("%d deliveries of the scan and %d of none, %v; want one of each", told, untold, err)
		}
		if d.driver != "pgx" {
			return
		}
		first := d.read(t, dsn)
		for _, version := range []int64{17, 19} {
			if _, err := db.ExecContext(t.Context(), `delete from goose_db_version where version_id = $1`, version); err != nil {
				t.Fatal(err)
			}
			if _, err := p.ApplyVersion(t.Context(), version, true); err != nil {
				t.Errorf("%d over again: %v", version, err)
			}
		}
		if diff := cmp.Diff(first, d.read(t, dsn)); diff != "" {
			t.Errorf("over again they made something else (-first +second):\n%s", diff)
		}
	})
}
