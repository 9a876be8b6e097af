package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// keepLanes is two parts of a statement whose part j returns the lanes of jobs
// that it has made. A lane that Dispatch found empty is marked as live again,
// unless somebody else is about to: nobody waits for another's commit. A new one
// is waited for, once, by whoever makes the same.
//
// Dispatch may at this very moment mark the lane as empty, or drop it, because
// it cannot see what is not committed yet. It looks again at lanes that it found
// empty, for two seconds; a commit that takes longer than that leaves its job to
// MendLanes.
const keepLanes = `empty as (
    select l.tenant_id, l.plugin, l.scan_type, l.priority
    from (select distinct tenant_id, plugin, scan_type, priority from j) n
    join lanes l on l.tenant_id = n.tenant_id and l.plugin = n.plugin and l.scan_type = n.scan_type and l.priority = n.priority
    where l.wake_at = '-infinity' and l.empty_at is not null for no key update of l skip locked
), live as (
    update lanes l set empty_at = null from empty e
    where l.tenant_id = e.tenant_id and l.plugin = e.plugin and l.scan_type = e.scan_type and l.priority = e.priority
      and l.wake_at = '-infinity'
), made as (
    insert into lanes (tenant_id, plugin, scan_type, priority)
    select distinct tenant_id, plugin, scan_type, priority from j order by 1, 2, 3, 4
    on conflict do nothing
)`

// mendLanes takes the lane to begin behind and a limit. It walks the lanes that
// have queued jobs, one step each whatever the backlog, makes those live that
// are missing, and returns the last it looked at, if it reached the limit, and
// how many it made.
const mendLanes = `
with recursive step as (
    (select tenant_id, plugin, scan_type, priority, 1 as n from jobs
     where state = 'queued' and dispatched_at is null
       and (tenant_id, plugin, scan_type, priority) > ($1::uuid, $2::text, $3::text, $4::smallint)
     order by tenant_id, plugin, scan_type, priority limit 1)
    union all
    select j.*, s.n + 1 from step s cross join lateral (
        select tenant_id, plugin, scan_type, priority from jobs
        where state = 'queued' and dispatched_at is null
          and (tenant_id, plugin, scan_type, priority) > (s.tenant_id, s.plugin, s.scan_type, s.priority)
        order by tenant_id, plugin, scan_type, priority limit 1
    ) j where s.n < $5
), made as (
    -- A resting lane is no missing one: what is ready makes a live row.
    insert into lanes (tenant_id, plugin, scan_type, priority)
    select tenant_id, plugin, scan_type, priority from step s
    where not exists (select from lanes l where l.tenant_id = s.tenant_id and l.plugin = s.plugin
                      and l.scan_type = s.scan_type and l.priority = s.priority and l.wake_at = '-infinity')
      and exists (select from jobs j where j.tenant_id = s.tenant_id and j.plugin = s.plugin and j.scan_type = s.scan_type
                  and j.priority = s.priority and j.state = 'queued' and j.dispatched_at is null and j.run_at <= now())
    order by 1, 2, 3, 4
    on conflict do nothing returning 1
)
select (select count(*) from made), tenant_id, plugin, scan_type, priority from step where n = $5
union all
select (select count(*) from made), '00000000-0000-0000-0000-000000000000', '', '', 0
where not exists (select from step where n = $5)`

// forgetTurns takes nothing. It drops what tenants had that wait for nothing
// and whose next turn could begin now.
const forgetTurns = `
delete from turns t where ends <= (select max(began) from turns)
  and not exists (select from lanes l where l.tenant_id = t.tenant_id)`

// laneKey is where MendLanes goes on.
type laneKey struct {
	tenant, plugin, scanType string
	priority                 int16
}

// MendLanes implements host.JobStore.
func (s *Store) MendLanes(ctx context.Context, limit int) (n int, err error) {
	s.mending.Lock()
	defer s.mending.Unlock()
	from := s.mended
	if from.tenant == "" {
		from.tenant = "00000000-0000-0000-0000-000000000000"
	}
	var to laneKey
	err = s.batch(ctx, "mend lanes", func(b *pgx.Batch) {
		b.Queue(dispatchSettings)
		b.Queue(mendLanes, from.tenant, from.plugin, from.scanType, from.priority, max(limit, 1)).QueryRow(func(row pgx.Row) error {
			return row.Scan(&n, &to.tenant, &to.plugin, &to.scanType, &to.priority)
		})
		b.Queue(forgetTurns)
	})
	if err != nil {
		return 0, err
	}
	s.mended = to
	return n, nil
}
