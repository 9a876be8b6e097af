package postgres_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// TestRetentionPlansWithStaleStatistics asks the planner when it has counted
// the scans while none was old and few had findings, and now most are and do.
func TestRetentionPlansWithStaleStatistics(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	open(t, postgres.Config{URL: url})
	execute(t, url, `
alter table scans set (autovacuum_enabled = off);
alter table jobs set (autovacuum_enabled = off);
alter table findings set (autovacuum_enabled = off);
insert into tenants (id, name, plan) select gen_random_uuid(), 'tenant-' || n, case n % 2 when 0 then 'free' else '' end from generate_series(1, 20) n;
insert into scans (id, tenant_id, type, archive, archive_blob)
select gen_random_uuid(), id, 'codeaudit', '{"Blob":"b","Size":1}', 'archives/' || gen_random_uuid() from tenants, generate_series(1, 1000);
insert into jobs (id, tenant_id, scan_id, ordinal, plugin, max_attempts, timeout_us)
select gen_random_uuid(), tenant_id, id, 0, 'p', 3, 1000 from scans;
insert into findings (id, tenant_id, scan_id, job_id, lease_epoch, severity, rule_id, fingerprint, title, message, detail)
select gen_random_uuid(), tenant_id, scan_id, id, 1, n % 6, 'r', 'f', 't', 'm', '{}'
from (select * from jobs limit 5) j, generate_series(1, 2000) n;
analyze;
update scans set state = 'succeeded', created_at = now() - interval '1 year', finished_at = now() - interval '1 year' where id in (select id from scans limit 15000);
insert into findings (id, tenant_id, scan_id, job_id, lease_epoch, severity, rule_id, fingerprint, title, message, detail)
select gen_random_uuid(), tenant_id, scan_id, id, 1, n, 'r', 'f', 't', 'm', '{}'
from jobs, generate_series(1, 5) n`)
	conn := connect(t, url)
	rows, err := conn.Query(t.Context(), `select id::text from scans where finished_at is not null limit 200`)
	if err != nil {
		t.Fatal(err)
	}
	scans, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]string, 1000)
	keep := []any{int64(0), []string{"free", "gold"}, []int64{int64(time.Hour / time.Microsecond), 0}, 200}
	readsNoMore(t, conn, keep...)
	for name, tt := range map[string]struct {
		args  []any
		index string
	}{
		"pickOldScans":    {keep, "scans_by_tenant_age"},
		"pickOldArchives": {[]any{int64(time.Hour / time.Microsecond), 200}, "scans_with_archive"},
		"dropFindings":    {[]any{scans, 5000}, "findings_pkey"},
		"dropScans":       {[]any{scans}, "scans_pkey"},
		"dropArchives":    {[]any{scans}, "scans_pkey"},
		"unusedBlobs":     {[]any{keys}, "scans_by_blob"},
		"pickDeleted":     {[]any{string(host.NewDeletionID()), 200}, "scans_deleted"},
		"mark":            {[]any{string(host.NewDeletionID()), string(host.NewScanID()), 1000}, "scans_by_project"},
	} {
		rows, err := conn.Query(t.Context(), "explain "+postgres.Retained[name], tt.args...)
		if err != nil {
			t.Fatalf("explain %s: %v", name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("explain %s: %v", name, err)
		}
		plan := strings.ReplaceAll(strings.Join(lines, "\n"), "Seq Scan on tenants", "all tenants") // those it is to look at
		if !strings.Contains(plan, tt.index) || strings.Contains(plan, "Seq Scan on") {
			t.Errorf("%s does not use %s, or reads a table:\n%s", name, tt.index, plan)
		}
	}
}

// planNode is a node of a plan that was carried out.
type planNode struct {
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []planNode
}

// read is how many rows of a table it read.
func (n planNode) read(table string) (rows float64) {
	if n.Relation == table {
		rows = (n.Rows + n.Removed) * n.Loops
	}
	for _, p := range n.Plans {
		rows += p.read(table)
	}
	return rows
}

// readsNoMore: of 15,000 old scans pickOldScans reads those that it gives, and
// none that have not ended.
func readsNoMore(t *testing.T, conn *pgx.Conn, keep ...any) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	var text []byte
	if err := tx.QueryRow(t.Context(), "explain (analyze, format json) "+postgres.Retained["pickOldScans"], keep...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal(text, &plans); err != nil {
		t.Fatal(err)
	}
	root := plans[0].Plan
	if scans, tenants := root.read("scans"), root.read("tenants"); root.Rows != 200 || scans != 200 || tenants > 20 {
		t.Errorf("for %v scans of 200 it read %v, and %v tenants of 20:\n%s", root.Rows, scans, tenants, text)
	}
}

// TestRetentionLeavesWhatIsHeld has another transaction at a scan: whoever
// requeues one of its jobs, or another host that removes it.
func TestRetentionLeavesWhatIsHeld(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	scan := accept(t, s)
	if _, err := s.Cancel(t.Context(), scan.TenantID, scan.ID); err != nil {
		t.Fatal(err)
	}
	age(t, url, 2*time.Hour)
	conn := connect(t, url)
	drop := func() host.Dropped {
		t.Helper()
		out, err := s.DropScans(t.Context(), host.Keep{Most: time.Hour}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As every change of a job's state begins.
	if _, err := tx.Exec(t.Context(), `select 1 from scans where id = $1 for no key update`, string(scan.ID)); err != nil {
		t.Fatal(err)
	}
	if got := drop(); got.Scans != 0 {
		t.Errorf("dropped %+v, which somebody held", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := drop(); got.Scans != 1 {
		t.Errorf("dropped %+v, want the scan that nobody holds any more", got)
	}
}
