package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// ledger is where a transaction notes what it changes of what tenants hold, and why.
type ledger struct {
	tx
	reason string
}

// note changes the counters of a tenant and leaves a line that says so. Its
// counters are there.
func (l ledger) note(ctx context.Context, tenant string, storage, queued, scans int64) error {
	day := startOfDay(l.now)
	_, err := l.ExecContext(ctx, `
insert into usage (tenant_id, storage, queued, scans, day) values (?1, ?2, ?3, ?4, ?5)
on conflict do update set storage = storage + excluded.storage, queued = queued + excluded.queued,
    scans = case when day = excluded.day then scans else 0 end + excluded.scans, day = excluded.day`, tenant, storage, queued, scans, day)
	if err != nil {
		return err
	}
	_, err = l.ExecContext(ctx, `insert into quota_ledger (tenant_id, at, reason, storage, queued, scans) values (?, ?, ?, ?, ?, ?)`,
		tenant, l.now, l.reason, storage, queued, scans)
	return err
}

// startOfDay is when the day of a time began, in microseconds, UTC.
func startOfDay(now int64) int64 { return now - now%(24*time.Hour).Microseconds() }

// takeRoom counts the scans for their tenants; *host.OverQuota when not all fit.
func (tx tx) takeRoom(ctx context.Context, scans []host.Scan, quotas map[host.TenantID]host.Quota) error {
	usage, added := map[host.TenantID]host.Usage{}, map[host.TenantID]host.Usage{}
	var order []host.TenantID
	for _, s := range scans {
		if _, ok := usage[s.TenantID]; !ok {
			u, err := readUsage(ctx, tx, s.TenantID, tx.now)
			if err != nil {
				return err
			}
			usage[s.TenantID] = u
			order = append(order, s.TenantID)
		}
		added[s.TenantID] = added[s.TenantID].Take(s.Storage())
	}
	if err := host.Fit(scans, usage, quotas); err != nil {
		return err
	}
	for _, t := range order {
		a := added[t]
		if err := (ledger{tx, "accept"}).note(ctx, string(t), a.Storage, a.QueuedScans, a.ScansToday); err != nil {
			return err
		}
	}
	return nil
}

// leaveQueue counts those of the scans, by a condition on them, that have neither
// started nor ended and now do one or the other.
func (tx tx) leaveQueue(ctx context.Context, reason, where string, args ...any) error {
	left := map[string]int64{}
	err := rows(ctx, tx, func(r *sql.Rows) error {
		var t string
		var n int64
		err := r.Scan(&t, &n)
		left[t] = n
		return err
	}, `select tenant_id, count(*) from scans where started_at is null and finished_at is null and `+where+` group by tenant_id`, args...)
	for t, n := range left {
		if err == nil {
			err = ledger{tx, reason}.note(ctx, t, 0, -n, 0)
		}
	}
	return err
}

// freeStorage notes that the archives of scans are kept no more.
func (tx tx) freeStorage(ctx context.Context, old record.Old) error {
	tenants, bytes := old.Freed()
	for i, t := range tenants {
		if err := (ledger{tx, "retention"}).note(ctx, t, -bytes[i], 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// readUsage gives ErrNotFound when there is no such tenant.
func readUsage(ctx context.Context, db querier, t host.TenantID, now int64) (u host.Usage, err error) {
	found, day := false, startOfDay(now)
	err = rows(ctx, db, func(r *sql.Rows) error {
		found = true
		return r.Scan(&u.Storage, &u.QueuedScans, &u.ScansToday)
	}, `select coalesce(u.storage, 0), coalesce(u.queued, 0), iif(u.day = ?, u.scans, 0)
		from tenants t left join usage u on u.tenant_id = t.id where t.id = ?`, day, string(t))
	if err == nil && !found {
		err = fmt.Errorf("tenant %.64q: %w", string(t), host.ErrNotFound)
	}
	u.ResetsAt = time.UnixMicro(day).UTC().Add(24 * time.Hour)
	return u, err
}

// Usage implements host.QuotaStore.
func (s *Store) Usage(ctx context.Context, t host.TenantID) (host.Usage, error) {
	u, err := readUsage(ctx, s.readers, t, s.cfg.Now().UnixMicro())
	if err != nil {
		return host.Usage{}, translate(ctx, fmt.Sprintf("read the usage of tenant %.64q", string(t)), err)
	}
	return u, nil
}

// TidyLedger implements host.RetentionStore. The counters are always up to date.
func (s *Store) TidyLedger(ctx context.Context, kept time.Duration) error {
	return s.write(ctx, "tidy the quota ledger", func(ctx context.Context, tx tx) error {
		before := tx.now - record.Micros(kept)
		_, err := tx.ExecContext(ctx, `
insert into quota_days (tenant_id, day, reason, storage, queued, scans)
select tenant_id, at - at % ?2, reason, sum(storage), sum(queued), sum(scans) from quota_ledger where at < ?1 group by 1, 2, 3
on conflict do update set storage = storage + excluded.storage, queued = queued + excluded.queued, scans = scans + excluded.scans`,
			before, record.Micros(24*time.Hour))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `delete from quota_ledger where at < ?`, before)
		return err
	})
}

// accounts takes when the day began and gives what each tenant holds by its
// counters, by the ledger and by the rows. How many scans a day had no row says
// for long, so there the ledger has the last word.
const accounts = `
select t.id, t.name, coalesce(u.storage, 0), coalesce(l.storage, 0), coalesce(s.storage, 0),
    coalesce(u.queued, 0), coalesce(l.queued, 0), coalesce(s.queued, 0),
    iif(u.day = ?1, u.scans, 0), coalesce(l.scans, 0), coalesce(l.scans, 0)
from tenants t
left join usage u on u.tenant_id = t.id
left join (
    select tenant_id, sum(storage) as storage, sum(queued) as queued, sum(iif(at >= ?1, scans, 0)) as scans
    from (
        select tenant_id, at, storage, queued, scans from quota_ledger
        union all select tenant_id, day, storage, queued, scans from quota_days
    ) group by tenant_id
) l on l.tenant_id = t.id
left join (
    select tenant_id, coalesce(sum(cast(archive ->> 'Size' as integer)) filter (where archive_removed_at is null), 0) as storage,
        count(*) filter (where started_at is null and finished_at is null) as queued
    from scans group by tenant_id
) s on s.tenant_id = t.id
order by t.name`

// VerifyQuotas implements host.QuotaStore.
func (s *Store) VerifyQuotas(ctx context.Context, fix bool) (all []host.Discrepancy, err error) {
	const op = "verify the quotas"
	if !fix {
		_, all, err = readAccounts(ctx, s.readers, s.cfg.Now().UnixMicro())
		if err != nil {
			return nil, translate(ctx, op, err)
		}
		return all, nil
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		var wrong map[string][9]int64
		if wrong, all, err = readAccounts(ctx, tx, tx.now); err != nil {
			return err
		}
		for t, v := range wrong {
			// To what the ledger says, and then from there with a line that says so.
			_, err := tx.ExecContext(ctx, `insert into usage (tenant_id, storage, queued, scans, day) values (?1, ?2, ?3, ?4, ?5)
				on conflict do update set storage = ?2, queued = ?3, scans = ?4, day = ?5`, t, v[1], v[4], v[8], startOfDay(tx.now))
			if err == nil {
				err = ledger{tx, "correct"}.note(ctx, t, v[2]-v[1], v[5]-v[4], 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// readAccounts gives the accounts of the tenants whose do not add up.
func readAccounts(ctx context.Context, db querier, now int64) (wrong map[string][9]int64, all []host.Discrepancy, err error) {
	wrong = map[string][9]int64{}
	err = rows(ctx, db, func(r *sql.Rows) error {
		var tenant, name string
		var v [9]int64
		if err := r.Scan(&tenant, &name, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8]); err != nil {
			return err
		}
		if d := record.Discrepancies(name, v); len(d) > 0 {
			wrong[tenant], all = v, append(all, d...)
		}
		return nil
	}, accounts, startOfDay(now))
	return wrong, all, err
}
