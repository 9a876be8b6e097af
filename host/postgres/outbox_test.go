package postgres_test

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/postgres"
)

// TestPlansOfOutbox: what a scan's end costs does not grow with the webhooks of
// others, nor what a claim costs with the backlog and the log.
func TestPlansOfOutbox(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	open(t, postgres.Config{URL: url})
	execute(t, url, `
insert into tenants (id, name) select gen_random_uuid(), 'tenant-' || n from generate_series(1, 500) n;
insert into webhooks (id, tenant_id, url, events, secret) select gen_random_uuid(), id, 'u', 'e', 's' from tenants, generate_series(1, 4);
insert into webhook_deliveries (tenant_id, webhook_id, event, data, state)
select tenant_id, id, 'e', '{}', case when n = 1 then 'pending' else 'delivered' end from webhooks, generate_series(1, 10) n;
analyze`)
	conn := connect(t, url)
	for statement, args := range postgres.Outbox {
		plan := explain(t, conn, statement, args...)
		for _, table := range []string{"webhooks", "webhook_deliveries", "scans", "jobs"} {
			if strings.Contains(plan, "Seq Scan on "+table) {
				t.Errorf("it reads all of %s:\n%s\n%s", table, plan, statement)
			}
		}
		index := "webhooks_tenant_id_id_key"
		if strings.Contains(statement, "recursive lane") {
			index = "webhook_deliveries_due"
		}
		if !strings.Contains(plan, index) {
			t.Errorf("it does not use %s:\n%s\n%s", index, plan, statement)
		}
	}
}
