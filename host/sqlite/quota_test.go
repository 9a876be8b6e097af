package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host/sqlite"
)

// TestFixQuotas: whatever made the books wrong, fix makes them what the rows say.
func TestFixQuotas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "securetag.db")
	s := open(t, sqlite.Config{Path: path})
	scan, err := accept(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, harm := range []string{
		`update usage set queued = 40, storage = -3, scans = 9`,
		`delete from quota_ledger`,
		`delete from usage`,
		`insert into quota_ledger (tenant_id, at, reason, queued) select id, 0, 'accept', 5 from tenants`,
	} {
		if _, err := db.ExecContext(t.Context(), harm); err != nil {
			t.Fatal(err)
		}
		before, err := s.VerifyQuotas(t.Context(), true)
		if err != nil || len(before) == 0 {
			t.Errorf("%s: found %+v, %v", harm, before, err)
		}
		if after, err := s.VerifyQuotas(t.Context(), false); err != nil || len(after) > 0 {
			t.Errorf("%s: after the fix %+v, %v", harm, after, err)
		}
		if u, err := s.Usage(t.Context(), scan.TenantID); err != nil || u.QueuedScans != 1 || u.Storage != 0 {
			t.Errorf("%s: holds %+v, %v; want one queued scan", harm, u, err)
		}
	}
}
