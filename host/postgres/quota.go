package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// takeRoom is parts of Accept: tenants with what their scans need of each quota
// and what these are, as arrays ($20-$25). held locks the tenants' counters, in
// one order, and reads them as they are then; over is those whose scans do not
// all fit, or who have no counters yet. Nothing is written while there is one.
const takeRoom = `want as materialized (
    select * from unnest($20::text[]::uuid[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[])
        as w (tenant_id, storage, scans, max_storage, max_queued, max_scans)
), held as materialized (
    select tenant_id, storage, queued, case when ` + sameDay + ` then scans else 0 end as scans
    from usage where tenant_id = any($20::text[]::uuid[]) order by tenant_id for no key update
), over as materialized (
    select w.tenant_id from want w left join held h on h.tenant_id = w.tenant_id
    where h.tenant_id is null
       or w.max_storage > 0 and w.storage > 0 and h.storage + w.storage > w.max_storage
       or w.max_queued > 0 and h.queued + w.scans > w.max_queued
       or w.max_scans > 0 and h.scans + w.scans > w.max_scans
), counted as (
    update usage set storage = usage.storage + w.storage, queued = usage.queued + w.scans,
        scans = case when ` + sameDay + ` then usage.scans else 0 end + w.scans,
        day = case when ` + sameDay + ` then day else greatest(` + today + `, day + interval '24 hours') end
    from want w where usage.tenant_id = w.tenant_id and not exists (select from over)
), noted as (
    insert into quota_ledger (tenant_id, reason, storage, queued, scans, counted)
    select tenant_id, 'accept', storage, scans, scans, true from want where not exists (select from over)
)`

// A day is told by its length too, so that a row that says when one began need
// not be changed when it ends. The next begins no sooner, whatever the clock does:
// each line of the ledger is of one day.
const (
	sameDay = `day > now() - interval '24 hours'`
	today   = `date_trunc('day', now() at time zone 'utc') at time zone 'utc'`
)

// needRows are what the scans of each tenant need, as arrays.
type needRows struct {
	tenant                                         []string
	storage, scans, maxStorage, maxQueued, maxDays []int64
}

func needsOf(scans []host.Scan, quotas map[host.TenantID]host.Quota) (r needRows) {
	sorted := slices.SortedFunc(slices.Values(scans), func(a, b host.Scan) int { return cmp.Compare(a.TenantID, b.TenantID) })
	for _, s := range sorted {
		if n := len(r.tenant); n == 0 || r.tenant[n-1] != string(s.TenantID) {
			q := quotas[s.TenantID]
			r.tenant, r.storage, r.scans = append(r.tenant, string(s.TenantID)), append(r.storage, 0), append(r.scans, 0)
			r.maxStorage, r.maxQueued, r.maxDays = append(r.maxStorage, q.Storage), append(r.maxQueued, q.QueuedScans), append(r.maxDays, q.ScansPerDay)
		}
		last := len(r.tenant) - 1
		r.storage[last] += s.Storage()
		r.scans[last]++
	}
	return r
}

// countPending takes tenants whose counters are locked and adds to them what
// the ledger has beside them.
const countPending = `
with line as (
    update quota_ledger set counted = true where tenant_id = any($1::text[]::uuid[]) and not counted
    returning tenant_id, storage, queued, scans
)
update usage u set storage = u.storage + l.storage, queued = u.queued + l.queued
from (select tenant_id, sum(storage)::bigint as storage, sum(queued)::bigint as queued from line group by tenant_id) l
where u.tenant_id = l.tenant_id`

// queueCount puts what brings the counters of tenants up to date, and makes those
// that are missing. Only the last statement knows what was locked by then.
func queueCount(b *pgx.Batch, tenants []string) {
	b.Queue(`insert into usage (tenant_id) select unnest($1::text[]::uuid[]) order by 1 on conflict do nothing`, tenants)
	b.Queue(`select 1 from usage where tenant_id = any($1::text[]::uuid[]) order by tenant_id for no key update`, tenants)
	b.Queue(countPending, tenants)
}

// usageOf takes tenants.
const usageOf = `
select u.tenant_id, u.storage + coalesce(p.storage, 0), u.queued + coalesce(p.queued, 0),
    case when ` + sameDay + ` then u.scans else 0 end, case when ` + sameDay + ` then day else ` + today + ` end + interval '24 hours'
from usage u cross join lateral (
    select sum(storage)::bigint as storage, sum(queued)::bigint as queued from quota_ledger where tenant_id = u.tenant_id and not counted
) p
where u.tenant_id = any($1::text[]::uuid[])`

// usageOfOne is usageOf in the context of the only tenant: its plan is another.
const usageOfOne = usageOf + `
-- as one of them`

func queueUsage(b *pgx.Batch, query string, tenants []string, out *map[host.TenantID]host.Usage) {
	b.Queue(query, tenants).Query(func(rows pgx.Rows) error {
		*out = map[host.TenantID]host.Usage{}
		var t host.TenantID
		var u host.Usage
		_, err := pgx.ForEachRow(rows, []any{&t, &u.Storage, &u.QueuedScans, &u.ScansToday, at(&u.ResetsAt)}, func() error {
			(*out)[t] = u
			return nil
		})
		return err
	})
}

// shortages brings the counters of the scans' tenants up to date and says for
// which scans there is no room, nil when there is for all.
func (s *Store) shortages(ctx context.Context, op string, scans []host.Scan, quotas map[host.TenantID]host.Quota) error {
	tenants := needsOf(scans, nil).tenant
	var usage map[host.TenantID]host.Usage
	err := s.batch(ctx, op, func(b *pgx.Batch) {
		queueCount(b, tenants)
		queueUsage(b, usageOf, tenants, &usage)
	})
	if err != nil {
		return err
	}
	return host.Fit(scans, usage, quotas)
}

// Usage implements host.QuotaStore.
func (s *Store) Usage(ctx context.Context, t host.TenantID) (host.Usage, error) {
	op := fmt.Sprintf("read the usage of tenant %.64q", string(t))
	if !record.IsID(t) {
		return host.Usage{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	var usage map[host.TenantID]host.Usage
	err := s.tenantRead(ctx, op, t, func(b *pgx.Batch) { queueUsage(b, usageOfOne, []string{string(t)}, &usage) })
	if err != nil {
		return host.Usage{}, err
	}
	u, ok := usage[t]
	if ok {
		return u, nil
	}
	// One that has accepted nothing yet may have no counters.
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`select `+today+` + interval '24 hours' from tenants where id = $1`, string(t)).QueryRow(func(row pgx.Row) error { return row.Scan(at(&u.ResetsAt)) })
	})
	return u, err
}

// tidyAtOnce bounds how many tenants' counters one transaction locks.
const tidyAtOnce = 64

// addDays takes an age in microseconds and how many of the oldest lines to look
// at. It returns how many it has put into their days.
const addDays = `
with old as (
    delete from quota_ledger where id = any(array(select id from quota_ledger order by id limit $2 for update skip locked))
      and counted and at < now() - $1 * interval '1 microsecond'
    returning tenant_id, date_trunc('day', at at time zone 'utc') at time zone 'utc' as day, reason, storage, queued, scans
), sums as (
    insert into quota_days as d (tenant_id, day, reason, storage, queued, scans)
    select tenant_id, day, reason, sum(storage), sum(queued), sum(scans) from old group by 1, 2, 3 order by 1, 2, 3
    on conflict (tenant_id, day, reason) do update
    set storage = d.storage + excluded.storage, queued = d.queued + excluded.queued, scans = d.scans + excluded.scans
)
select count(*) from old`

// linesAtOnce bounds one transaction that adds lines up.
const linesAtOnce = 10_000

// TidyLedger implements host.RetentionStore.
func (s *Store) TidyLedger(ctx context.Context, kept time.Duration) error {
	const op = "tidy the quota ledger"
	for after := ""; ; {
		var tenants []string
		err := s.do(ctx, op, func(ctx context.Context) error {
			rows, err := s.pool.Query(ctx, `select distinct tenant_id::text from quota_ledger where not counted and tenant_id > $1::text::uuid order by 1 limit $2`,
				cmp.Or(after, "00000000-0000-0000-0000-000000000000"), tidyAtOnce)
			if err != nil {
				return err
			}
			tenants, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err == nil && len(tenants) > 0 {
			err = s.batch(ctx, op, func(b *pgx.Batch) { queueCount(b, tenants) })
		}
		if err != nil {
			return err
		}
		if len(tenants) < tidyAtOnce {
			break
		}
		after = tenants[len(tenants)-1]
	}
	for n := linesAtOnce; n == linesAtOnce; {
		err := s.do(ctx, op, func(ctx context.Context) error {
			return s.pool.QueryRow(ctx, addDays, record.Micros(kept), linesAtOnce).Scan(&n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// accounts is what each tenant holds by its counters, by the ledger and by the
// rows, in one snapshot. Whoever changes one of these changes all in the same
// transaction. How many scans a day had no row says for long, so there the ledger
// has the last word.
const accounts = `
select t.id::text as tenant, t.name, coalesce(u.storage, 0) + coalesce(p.storage, 0) as storage_counter,
    coalesce(l.storage, 0) as storage_ledger, coalesce(s.storage, 0) as storage_actual,
    coalesce(u.queued, 0) + coalesce(p.queued, 0) as queued_counter, coalesce(l.queued, 0) as queued_ledger, coalesce(s.queued, 0) as queued_actual,
    case when ` + sameDay + ` then u.scans else 0 end as scans_counter, coalesce(l.scans, 0) as scans_ledger, coalesce(l.scans, 0) as scans_actual
from tenants t
left join usage u on u.tenant_id = t.id
left join (select tenant_id, sum(storage)::bigint as storage, sum(queued)::bigint as queued from quota_ledger where not counted group by 1) p
    on p.tenant_id = t.id
left join (
    select l.tenant_id, sum(l.storage)::bigint as storage, sum(l.queued)::bigint as queued,
        coalesce(sum(l.scans) filter (where ` + sameDay + ` and l.at >= day), 0)::bigint as scans
    from (
        select tenant_id, at, storage, queued, scans from quota_ledger
        union all select tenant_id, day, storage, queued, scans from quota_days
    ) l join usage on usage.tenant_id = l.tenant_id group by 1
) l on l.tenant_id = t.id
left join (
    select tenant_id, coalesce(sum((archive::json ->> 'Size')::bigint) filter (where archive_removed_at is null), 0)::bigint as storage,
        count(*) filter (where started_at is null and finished_at is null) as queued
    from scans group by 1
) s on s.tenant_id = t.id
order by t.name collate "C"`

// correct makes counters and ledger what the rows say, for those of which a
// snapshot that was taken under the counters' locks says that they are not.
const correct = `
with a as materialized (select * from (` + accounts + `) a
    where storage_counter <> storage_actual or storage_ledger <> storage_actual
       or queued_counter <> queued_actual or queued_ledger <> queued_actual or scans_counter <> scans_actual
), noted as (
    insert into quota_ledger (tenant_id, reason, storage, queued, counted)
    select tenant::uuid, 'correct', storage_actual - storage_ledger, queued_actual - queued_ledger, true from a
)
update usage u set storage = u.storage + a.storage_actual - a.storage_counter, queued = u.queued + a.queued_actual - a.queued_counter,
    scans = a.scans_actual
from a where u.tenant_id = a.tenant::uuid`

// verifySettings let the planner read whole tables.
const verifySettings = `
select set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true), set_config('enable_bitmapscan', 'on', true)`

// VerifyQuotas implements host.QuotaStore.
func (s *Store) VerifyQuotas(ctx context.Context, fix bool) (all []host.Discrepancy, err error) {
	err = s.batch(ctx, "verify the quotas", func(b *pgx.Batch) {
		b.Queue(verifySettings)
		if fix {
			b.Queue(`insert into usage (tenant_id) select id from tenants order by 1 on conflict do nothing`)
			b.Queue(`select 1 from usage order by tenant_id for no key update`)
		}
		b.Queue(accounts).Query(func(rows pgx.Rows) error {
			all = nil
			var tenant, name string
			var v [9]int64
			_, err := pgx.ForEachRow(rows, []any{&tenant, &name, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8]}, func() error {
				all = append(all, record.Discrepancies(name, v)...)
				return nil
			})
			return err
		})
		if fix {
			b.Queue(correct)
		}
	})
	return all, err
}

// acceptTries bounds how often room that was found is looked for again because
// others took it.
const acceptTries = 16
