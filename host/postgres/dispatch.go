package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// dispatchLock is the advisory lock under which one host at a time fills the
// window, so that it and the caps are exact. It is held for one batch.
const dispatchLock = `select pg_advisory_xact_lock(hashtext('securetag dispatch'))`

// dispatchSettings are for the transactions that only mark jobs as handed out or
// claim them. A mark that a crash of the server loses is rung again, and a claim
// is refused by the fence, so nobody waits for the disk (see lazily). Unlike
// every other statement it joins small sets that it has read whole, which are
// best hashed; what it looks up in a large table it does so row by row (lateral),
// as a plan that was made while the table was small is kept when it has grown.
const dispatchSettings = `
select set_config('synchronous_commit', 'off', true), set_config('enable_nestloop', 'off', true),
       set_config('enable_hashjoin', 'on', true)`

// dispatch takes the window, owner and length in microseconds of the leases of
// what it claims, the horizon in microseconds, the plugins, whether everything is
// to be rung again, the tenants' default cap, names and caps of plugins and of
// scan types, how many jobs to claim, and names, weights and caps of plans. It
// returns how it went (see handedOut) beside each job that it marked as handed
// out, or claimed; once if there is none.
//
// No part of it reads the backlog. It reads whole what is out or runs, which
// slots and window bound, and lanes and turns, a few rows a tenant; of jobs it
// reads by jobs_lane what may fit into the window.
//
// Tenants take turns by start-time fair queueing: a job takes 1/weight of a
// turn, a tenant's next one begins where its last one ended but never before
// the turn that is being served (moment), so that who was away saves nothing
// up, and the earliest go first. Who was not served since it came goes before
// others whose turn begins at the same time, the newest first: each is that
// but once. Which of its jobs a tenant's turn is for, priority says, then age.
//
// A tenant's quota is more than its share of the window but not all of it, lest
// every one reads as many jobs as there is room. It can leave room for others
// empty; the caller comes again then. Caps are looked at in order of turns, so
// the first of each lane that is not full is never turned away.
//
// The first of those that go are claimed, if their scans can be locked before
// them, as everywhere: who else writes to a scan is not waited for, since all
// other hosts wait for this one. Such a job is handed out like the rest.
const dispatch = `
with busy as materialized (
    -- What no living host rings for any more holds no cap: it would for ever.
    select id, scan_id, tenant_id, plugin, scan_type, deadline_at, dispatched_at as rung_at,
           ($6 or dispatched_at <= now() - $4 * interval '1 microsecond') as lost
    from jobs
    where (state = 'running' or (state = 'queued' and dispatched_at is not null))
      and (dispatched_at is null or plugin = any($5::text[]) or dispatched_at > now() - 2 * $4 * interval '1 microsecond')
), room as materialized (
    select greatest(0, $1::bigint - count(*))::int as n from busy where rung_at is not null and not lost and plugin = any($5::text[])
), plugin_room as materialized (
    select c.name, c.cap - (select count(*) from busy b where b.plugin = c.name) as n from unnest($8::text[], $9::int[]) as c (name, cap)
), type_room as materialized (
    select c.name, c.cap - (select count(*) from busy b where b.scan_type = c.name) as n from unnest($10::text[], $11::int[]) as c (name, cap)
), plugin (names) as materialized (
    select array(` + unpausedPlugins + `)
), lost as materialized (
    -- They have had their turn and count for the caps already.
    select id, scan_id, rung_at from busy
    where lost and plugin = any((select names from plugin)::text[]) and ` + typeUnpaused + `
      and (deadline_at is null or deadline_at > now())
), lane as materialized (
    select tenant_id, plugin, scan_type, priority, since, empty_at from lanes
    where (select n from room) > 0 -- most calls end here, with the window full
      and wake_at = '-infinity' and plugin = any((select names from plugin)::text[]) and ` + typeUnpaused + `
      and plugin <> all (array(select name from plugin_room where n <= 0))
      and scan_type <> all (array(select name from type_room where n <= 0))
), moment as materialized (
    select coalesce(max(began), 0) as turn from turns
), plan_share as materialized (
    select * from unnest($13::text[], $14::float8[], $15::int[]) as p (name, weight, cap)
), tenant as materialized (
    select l.tenant_id, l.live, coalesce(t.weight, p.weight, o.weight, 1) as weight, l.since, case when l.since <= u.served_at then u.served_at end as served_at,
           greatest(coalesce(u.ends, 0), (select turn from moment)) as starts,
           coalesce(nullif(coalesce(t.concurrency, p.cap, o.cap, $7::int), 0), 2147483647) - coalesce(b.n, 0) as free
    from (select tenant_id, min(since) as since, bool_or(empty_at is null) as live from lane group by tenant_id) l
    join tenants t on t.id = l.tenant_id
    left join plan_share p on p.name = t.plan
    left join plan_share o on o.name = case when p.name is null then '*' end
    left join turns u on u.tenant_id = l.tenant_id
    left join (select tenant_id, count(*) as n from busy group by tenant_id) b on b.tenant_id = l.tenant_id
    where coalesce(nullif(coalesce(t.concurrency, p.cap, o.cap, $7::int), 0), 2147483647) > coalesce(b.n, 0)
), chosen as materialized (
    (select * from tenant where live order by starts, served_at nulls first, since desc, tenant_id limit (select n from room))
    union all
    -- Lanes that were empty may have been given a job while they were found so.
    (select * from tenant where not live order by random() limit 64)
), quota as materialized (
    select c.*, least(c.free, r.n, 1 + ceil(2 * r.n * c.weight / greatest(s.weight, c.weight)))::int as n
    from chosen c, room r, (select coalesce(sum(weight), 0) as weight from chosen where live) s
), probe as materialized (
    select q.*, l.plugin, l.scan_type, l.priority, j.id, j.scan_id, j.run_at, j.run_at <= now() as ready
    from quota q join lane l on l.tenant_id = q.tenant_id
    left join lateral (
        select j.id, j.scan_id, j.run_at from jobs j
        where j.tenant_id = l.tenant_id and j.plugin = l.plugin and j.scan_type = l.scan_type and j.priority = l.priority
          and j.state = 'queued' and j.dispatched_at is null and (j.deadline_at is null or j.deadline_at > now())
        order by j.run_at, j.id limit q.n + 1
    ) j on true
), turn as materialized (
    select p.*, p.starts + (p.k - 1) / p.weight as begins
    from (select *, row_number() over (partition by tenant_id order by priority, run_at, id) as k from probe where ready) p
    where p.k <= p.n
), allowed as (
    select * from turn where (select count(*) from plugin_room) + (select count(*) from type_room) = 0
    union all
    select a.* from turn a join (
        select id, plugin, scan_type,
               row_number() over (partition by plugin order by begins, served_at nulls first, since desc, tenant_id, k) as of_plugin,
               row_number() over (partition by scan_type order by begins, served_at nulls first, since desc, tenant_id, k) as of_type
        from turn where (select count(*) from plugin_room) + (select count(*) from type_room) > 0
    ) o on o.id = a.id
    where o.of_plugin <= coalesce((select n from plugin_room where name = o.plugin), 2147483647)
      and o.of_type <= coalesce((select n from type_room where name = o.scan_type), 2147483647)
), picked as materialized (
    select * from allowed order by begins, served_at nulls first, since desc, tenant_id, k
    limit greatest(0, (select n from room) - (select count(*) from lost))
), going as materialized (
    -- In the order in which they are claimed: what was lost has had its turn.
    select id, scan_id, row_number() over () <= $12::int as wanted from (
        (select id, scan_id from lost order by rung_at, id limit (select n from room)) union all select id, scan_id from picked
    ) g
), scan as materialized (
    select s.* from (select distinct scan_id from going where wanted) g
    cross join lateral (select * from scans where id = g.scan_id for no key update skip locked) s
), bound as materialized (
    select id, wanted and scan_id = any(array(select id from scan)) as mine from going
), locked as materialized (
    -- Looked at again once locked: a claim or a cancel may have come between.
    select j.id, b.mine from bound b cross join lateral (
        select id from jobs
        where id = b.id and state = 'queued' and (dispatched_at is null or $6 or dispatched_at <= now() - $4 * interval '1 microsecond')
          and run_at <= now() and (deadline_at is null or deadline_at > now())
        for no key update skip locked
    ) j
), done as (
    update jobs set dispatched_at = now() where id = any(array(select id from locked where not mine)) returning id, plugin
), claimed as (
    update jobs j ` + setClaimed + `
    where j.id = any(array(select id from locked where mine)) returning j.*
), started as (
    update scans s ` + setStarted + ` and s.id = any(array(select scan_id from claimed))
), begun as (
    insert into quota_ledger (tenant_id, reason, queued)
    select tenant_id, 'start', -count(*) from scan
    where id = any(array(select scan_id from claimed)) and started_at is null group by tenant_id
), charged as (
    insert into turns as u (tenant_id, began, ends, served_at)
    select p.tenant_id, max(p.begins), max(p.begins + 1 / p.weight), now() from picked p group by p.tenant_id
    on conflict (tenant_id) do update set began = excluded.began, ends = excluded.ends, served_at = excluded.served_at
), seen as materialized (
    select p.tenant_id, p.plugin, p.scan_type, p.priority, count(*) filter (where p.ready) as ready,
           count(*) filter (where p.ready) > count(k.id) as more, min(p.run_at) filter (where not p.ready) as next
    from probe p left join picked k on k.id = p.id
    group by p.tenant_id, p.plugin, p.scan_type, p.priority
), change as materialized (
    -- An accept that is under way holds the row: it has something for it.
    select l.tenant_id, l.plugin, l.scan_type, l.priority, s.more,
           s.ready = 0 and coalesce(l.empty_at < now() - interval '2 seconds', false) as gone
    from seen s cross join lateral (
        select l.* from lanes l where l.tenant_id = s.tenant_id and l.plugin = s.plugin and l.scan_type = s.scan_type
          and l.priority = s.priority and l.wake_at = '-infinity'
          and case when s.more then l.empty_at is not null
              else l.empty_at is null or (l.empty_at < now() - case when s.ready > 0 then interval '1 second' else interval '2 seconds' end) end
        for no key update skip locked
    ) l
), marked as (
    update lanes l set empty_at = case when not c.more then now() end from change c
    where not c.gone and l.tenant_id = c.tenant_id and l.plugin = c.plugin and l.scan_type = c.scan_type
      and l.priority = c.priority and l.wake_at = '-infinity'
), dropped as (
    delete from lanes l using change c
    where c.gone and l.tenant_id = c.tenant_id and l.plugin = c.plugin and l.scan_type = c.scan_type
      and l.priority = c.priority and l.wake_at = '-infinity'
), woken as (
    delete from lanes l using seen s
    where not s.more and l.tenant_id = s.tenant_id and l.plugin = s.plugin and l.scan_type = s.scan_type
      and l.priority = s.priority and l.wake_at > '-infinity' and l.wake_at is distinct from s.next
), resting as (
    insert into lanes (tenant_id, plugin, scan_type, priority, wake_at)
    select tenant_id, plugin, scan_type, priority, next from seen where not more and next is not null
    on conflict do nothing
)
select t.*, d.id, d.plugin, ` + claimColumns + `
from (select
    exists (select from plugin_room where n <= 0) or exists (select from type_room where n <= 0)
        or (select count(distinct tenant_id) from lane) > (select count(*) from tenant)
        or exists (select from seen s join quota q on q.tenant_id = s.tenant_id where s.more and q.n = q.free),
    (select n from room) <= (select count(*) from picked) + (select count(*) from lost),
    (select count(*) from picked) > 0,
    (select count(*) from lost) > (select n from room) or exists (select from seen where more)
        or (select count(*) from tenant where live) > (select n from room)
        or (select n from room) = 0 and exists (
            select from lanes where wake_at = '-infinity' and empty_at is null and plugin = any((select names from plugin)::text[]) and ` + typeUnpaused + `),
    coalesce((extract(epoch from least(
        (select min(rung_at) from busy where not lost) + $4 * interval '1 microsecond',
        (select case when exists (select from done) then now() + $4 * interval '1 microsecond' end),
        (select min(next) from seen where not more),
        (select min(wake_at) from lanes where wake_at > now()),
        (select min(deadline_at) from jobs where state = 'queued' and deadline_at > now())
    ) - now()) * 1000000)::bigint, 0)
) t left join (done d full join claimed j on j.id = d.id left join scan s on s.id = j.scan_id) on true`

// wakeLanes makes the resting lanes live whose time has come.
const wakeLanes = `
with due as (
    delete from lanes where wake_at > '-infinity' and wake_at <= now() returning tenant_id, plugin, scan_type, priority
)
insert into lanes (tenant_id, plugin, scan_type, priority)
select distinct tenant_id, plugin, scan_type, priority from due order by 1, 2, 3, 4
on conflict (tenant_id, plugin, scan_type, priority, wake_at) do update set empty_at = null`

// anyOverdue says whether a queued job is over its deadline.
const anyOverdue = `select exists (select from jobs where state = 'queued' and deadline_at <= now())`

// overdueAtOnce bounds one transaction of Dispatch that ends overdue jobs.
const overdueAtOnce = 500

// fills bounds the statements of one Dispatch.
const fills = 8

// handedOut is what one statement did.
type handedOut struct {
	bells   []host.Doorbell
	claims  []host.Claim
	capped  bool // caps keep something back, or may
	full    bool // the window is
	some    bool // it handed out something that had not been out
	more    bool // ready jobs were left
	overdue bool
	next    time.Duration
}

// Dispatch implements host.JobStore.
func (s *Store) Dispatch(ctx context.Context, q host.DispatchQuery) (host.Dispatched, error) {
	var out host.Dispatched
	var last handedOut
	unfinished := true // the bound on statements ended it
	for range fills {
		one, err := s.handOut(ctx, q)
		if err != nil && len(out.Bells)+len(out.Claims) == 0 {
			return host.Dispatched{}, err
		}
		if err != nil {
			return out, nil //nolint:nilerr // the bells are marked as handed out: they must be rung
		}
		last = one
		out.Bells, out.Claims = append(out.Bells, one.bells...), append(out.Claims, one.claims...)
		// What was claimed is out no more, and has had its place in the window.
		q.Again, q.Claim.Most, q.Window = false, q.Claim.Most-len(one.claims), q.Window-len(one.claims)
		if one.full || !one.some || !one.more {
			unfinished = false
			break
		}
	}
	out.More, out.Capped, out.Next = last.more && (last.full || unfinished), last.capped, last.next
	for last.overdue {
		taken, err := s.sweep(ctx, "end overdue jobs", pickOverdue, timeOut, overdueAtOnce)
		if err != nil {
			// As above. The overdue jobs are found again by the next call.
			return out, nil //nolint:nilerr // said above
		}
		out.Overdue = append(out.Overdue, taken...)
		if last.overdue = len(taken) == overdueAtOnce; last.overdue && len(out.Claims) > 0 {
			out.Next = time.Microsecond // their leases run: the rest with the next call, at once
			break
		}
	}
	return out, nil
}

func (s *Store) handOut(ctx context.Context, q host.DispatchQuery) (h handedOut, err error) {
	plugins, pluginCaps := caps(q.Caps.Plugins)
	types, typeCaps := caps(q.Caps.ScanTypes)
	shares := sharesOf(q.Caps.Plans)
	err = s.batch(ctx, "dispatch", func(b *pgx.Batch) {
		h = handedOut{}
		b.Queue(dispatchLock)
		b.Queue(dispatchSettings)
		b.Queue(wakeLanes)
		b.Queue(dispatch, max(q.Window, 0), record.Clean(q.Claim.Owner), record.Micros(q.Claim.TTL), record.Micros(q.Horizon),
			record.CleanAll(q.Plugins), q.Again, max(q.Caps.Tenant, 0), plugins, pluginCaps, types, typeCaps,
			max(q.Claim.Most, 0), shares.name, shares.weight, shares.cap).Query(h.read)
		b.Queue(anyOverdue).QueryRow(func(row pgx.Row) error { return row.Scan(&h.overdue) })
	})
	return h, err
}

// read takes the rows of dispatch.
func (h *handedOut) read(rows pgx.Rows) error {
	for rows.Next() {
		var next int64
		var bell, plugin *string
		var c claimRow
		status := []any{&h.capped, &h.full, &h.some, &h.more, &next, &bell, &plugin}
		dest := append(status, c.dest()...)
		if len(rows.RawValues()[len(status)]) == 0 { // no claim: nothing is read of it
			clear(dest[len(status):])
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		h.next = time.Duration(next) * time.Microsecond
		switch {
		case bell != nil:
			h.bells = append(h.bells, host.Doorbell{Job: host.JobID(*bell), Plugin: *plugin})
		case dest[len(status)] != nil:
			claim, err := c.value()
			if err != nil {
				return err
			}
			h.claims = append(h.claims, claim)
		}
	}
	return rows.Err()
}

// caps gives the names and caps of those that have one.
func caps(of map[string]int) (names []string, most []int32) {
	names, most = []string{}, []int32{}
	for name, n := range of {
		if n > 0 {
			names, most = append(names, record.Clean(name)), append(most, int32(min(n, 1<<30)))
		}
	}
	return names, most
}

// shareRows are the shares of plans as arrays.
type shareRows struct {
	name   []string
	weight []*float64
	cap    []*int32
}

func sharesOf(plans map[string]host.Share) (r shareRows) {
	for name, s := range plans {
		var most *int32
		if s.Concurrency != nil {
			most = new(int32(min(max(*s.Concurrency, 0), 1<<30)))
		}
		r.name, r.weight, r.cap = append(r.name, record.Clean(name)), append(r.weight, record.Weight(s)), append(r.cap, most)
	}
	return r
}

// Undispatch implements host.JobStore. The jobs' lanes come back by a trigger.
// Their tenants have lost a turn, which is not worth keeping account of.
func (s *Store) Undispatch(ctx context.Context, jobs []host.JobID) error {
	list := ids(jobs)
	if len(list) == 0 {
		return nil
	}
	return s.batch(ctx, fmt.Sprintf("take back %d doorbells", len(list)), func(b *pgx.Batch) {
		b.Queue(dispatchSettings)
		b.Queue(`update jobs set dispatched_at = null where id = any(array(
			select id from jobs where id = any($1::text[]::uuid[]) and dispatched_at is not null
			order by id for no key update))`, list)
	})
}
