package migrations_test

import (
	"slices"
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
		run := func(statement string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), d.fill(statement)); err != nil {
				t.Fatal(err)
			}
		}
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
