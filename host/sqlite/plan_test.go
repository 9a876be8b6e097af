package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/sqlite"
)

// TestRetentionReadsNoMore: old scans come from the index in the order in which
// they are wanted, so that a limit ends the reading; nothing is sorted first.
func TestRetentionReadsNoMore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "securetag.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	rows, err := db.QueryContext(t.Context(), "explain query plan "+sqlite.PickOldScans, 0, 1, "{}", 200)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(step + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if p := plan.String(); !strings.Contains(p, "SEARCH s USING INDEX scans_by_tenant_age (tenant_id=? AND created_at<?)") || strings.Contains(p, "TEMP B-TREE") {
		t.Errorf("it reads more than it gives:\n%s", p)
	}
}
