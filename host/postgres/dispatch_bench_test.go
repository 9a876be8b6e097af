package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

// backlog stores n queued jobs of tenants, in scans of one job.
const backlog = `
set session_replication_role = replica; -- checking the foreign keys is a quarter of the work
insert into tenants (id, name) select gen_random_uuid(), 'tenant-' || n from generate_series(1, %[1]d) n;
create temporary table new_scan as
    select gen_random_uuid() as id, t.id as tenant_id, now() - interval '1 hour' + n * interval '1 millisecond' as at
    from (select id, row_number() over () as k from tenants) t, generate_series(1, %[2]d / %[1]d) n;
insert into scans (id, tenant_id, type, url, created_at) select id, tenant_id, 'web', 'u', at from new_scan;
insert into jobs (id, tenant_id, scan_id, scan_type, ordinal, plugin, max_attempts, timeout_us, created_at, run_at)
    select gen_random_uuid(), tenant_id, id, 'web', 0, 'p', 3, 1000000, at, at from new_scan;
insert into lanes (tenant_id, plugin, scan_type, priority) select distinct tenant_id, plugin, scan_type, priority from jobs;
reset session_replication_role;`

// BenchmarkDispatch is a host that rings as fast as jobs end: a backlog, and a
// call each time that 50 of the window's 200 jobs have been claimed and done.
// The time is that of the call alone; of ns/job, what a job costs.
func BenchmarkDispatch(b *testing.B) {
	for _, size := range []struct{ tenants, jobs int }{{1, 1}, {1, 10_000}, {1000, 10_000}, {1000, 1_000_000}, {1, 1_000_000}} {
		b.Run(fmt.Sprintf("tenants=%d/jobs=%d", size.tenants, size.jobs), func(b *testing.B) {
			url := testserver.Postgres(b)
			s, err := postgres.Open(b.Context(), postgres.Config{URL: url, MaxConns: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			conn, err := pgx.Connect(b.Context(), url)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			if _, err := conn.Exec(b.Context(), fmt.Sprintf(backlog, size.tenants, size.jobs)); err != nil {
				b.Fatal(err)
			}
			if _, err := conn.Exec(b.Context(), "vacuum analyze"); err != nil {
				b.Fatal(err)
			}
			q := host.DispatchQuery{Plugins: []string{"p"}, Window: 200, Horizon: time.Hour}
			handed := 0
			var slowest time.Duration
			call := func() {
				began := time.Now()
				out, err := s.Dispatch(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				slowest = max(slowest, time.Since(began))
				handed += len(out.Bells)
			}
			for range 5 {
				call()
			}
			handed, slowest = 0, 0
			for b.Loop() {
				b.StopTimer()
				if _, err := conn.Exec(b.Context(), `
update jobs set state = 'succeeded', finished_at = now(), result_epoch = lease_epoch, dispatched_at = null
where id in (select id from jobs where state = 'queued' and dispatched_at is not null order by dispatched_at limit 50)`); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				call()
			}
			if handed > 0 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(handed), "ns/job")
			}
			b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-ms")
		})
	}
}
