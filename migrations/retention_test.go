package migrations_test

import (
	"testing"

	"github.com/securetaghq/securetag/migrations"
)

// TestOldRowsGetTheirBlob: scans that were accepted before retention was there
// name their blob after it.
func TestOldRowsGetTheirBlob(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		p := d.open(t, dsn)
		if _, err := p.UpTo(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		db := d.db(t, dsn)
		for _, statement := range []string{
			`insert into tenants (id, name, created_at) values (<1>, 'one', <now>)`,
			`insert into scans (id, tenant_id, type, archive, created_at) values
				(<2>, <1>, 'codeaudit', '{"Blob":"archives/x","Filename":"K\u00f6ln \"1\".zip","Size":10}', <now>),
				(<3>, <1>, 'codeaudit', '{"Blob":"","Size":10}', <now>)`,
			`insert into scans (id, tenant_id, type, url, created_at) values (<4>, <1>, 'web', 'u', <now>)`,
		} {
			if _, err := db.ExecContext(t.Context(), d.fill(statement)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := migrations.Up(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]string{"<2>": "archives/x", "<3>": "null", "<4>": "null"} {
			var got string
			err := db.QueryRowContext(t.Context(), d.fill(`select coalesce(archive_blob, 'null') from scans where id = `+id)).Scan(&got)
			if err != nil || got != want {
				t.Errorf("scan %s has blob %s, %v; want %s", id, got, err, want)
			}
		}
	})
}
