package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Dispatch implements host.JobStore. It is fair between tenants as package
// postgres says, turn by turn where that takes them all at once.
func (s *Store) Dispatch(ctx context.Context, q host.DispatchQuery) (out host.Dispatched, err error) {
	err = s.write(ctx, "dispatch", func(ctx context.Context, tx tx) error {
		out = host.Dispatched{}
		overdue, err := tx.endOverdue(ctx)
		if err != nil {
			return err
		}
		if len(overdue) == overdueAtOnce { // none of the rest may be handed out
			out = host.Dispatched{Overdue: overdue, Next: time.Microsecond}
			return nil
		}
		d := &dispatch{tx: tx, q: q, edge: tx.now - record.Micros(q.Horizon), rung: list(q.Plugins)}
		if q.Again {
			d.edge = tx.now
		}
		// None of the plugins that are paused; typeUnpaused does the rest.
		if d.plugins, err = tx.unpausedPlugins(ctx, q.Plugins); err != nil {
			return err
		}
		for _, step := range []func(context.Context) error{d.readBusy, d.readLost, d.readLanes, d.deal, d.settle, d.claimFirst, d.after} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		out = d.out
		out.Overdue = overdue
		return nil
	})
	if err != nil {
		return host.Dispatched{}, err
	}
	return out, nil
}

// dispatch is one Dispatch under way.
type dispatch struct {
	tx
	q       host.DispatchQuery
	plugins []string // that are not paused
	rung    string   // the caller's plugins, paused or not, as JSON
	edge    int64    // doorbells rung until then are lost

	room             int
	tenant           map[host.TenantID]int // how many are out or run
	plugin, scanType map[string]int
	turns            turns
	served           []*turn
	lanes            []*lane // that were looked at
	out              host.Dispatched
}

// readBusy counts what is out or runs, and what room the window has.
func (d *dispatch) readBusy(ctx context.Context) error {
	d.tenant, d.plugin, d.scanType = map[host.TenantID]int{}, map[string]int{}, map[string]int{}
	d.room = max(0, d.q.Window)
	// What no living host rings for any more holds no cap: it would for ever.
	gone := d.now - 2*record.Micros(d.q.Horizon)
	return rows(ctx, d, func(r *sql.Rows) error {
		var t host.TenantID
		var plugin, scanType string
		var n, out int
		if err := r.Scan(&t, &plugin, &scanType, &n, &out); err != nil {
			return err
		}
		d.tenant[t] += n
		d.plugin[plugin] += n
		d.scanType[scanType] += n
		d.room = max(0, d.room-out)
		return nil
	}, `select tenant_id, plugin, scan_type, count(*),
		count(*) filter (where dispatched_at > ?1 and plugin in (select value from json_each(?2)))
		from jobs
		where (state = 'running' or (state = 'queued' and dispatched_at is not null))
		  and (dispatched_at is null or dispatched_at > ?3 or plugin in (select value from json_each(?2)))
		group by tenant_id, plugin, scan_type`, d.edge, d.rung, gone)
}

// readLost hands out again what was rung before the edge: it has had its turn
// and counts for the caps already.
func (d *dispatch) readLost(ctx context.Context) error {
	err := rows(ctx, d, func(r *sql.Rows) error {
		var b host.Doorbell
		err := r.Scan(&b.Job, &b.Plugin)
		d.out.Bells = append(d.out.Bells, b)
		return err
	}, `select id, plugin from jobs
		where (state = 'running' or (state = 'queued' and dispatched_at is not null)) and dispatched_at <= ?
		  and plugin in (select value from json_each(?)) and `+typeUnpaused+` and `+tenantOpen+`
		order by dispatched_at, id limit ?`, d.edge, list(d.plugins), d.room+1)
	if len(d.out.Bells) > d.room {
		d.out.Bells, d.out.More = d.out.Bells[:d.room], true
	}
	d.room -= len(d.out.Bells)
	return err
}

// readLanes reads the lanes that no pause and no cap blocks, by tenant.
func (d *dispatch) readLanes(ctx context.Context) error {
	if d.room == 0 {
		return nil
	}
	var moment float64
	if err := d.QueryRowContext(ctx, `select coalesce(max(began), 0) from turns`).Scan(&moment); err != nil {
		return err
	}
	if _, err := d.ExecContext(ctx, `update lanes set wake_at = 0 where wake_at > 0 and wake_at <= ?`, d.now); err != nil {
		return err
	}
	var last *turn
	err := rows(ctx, d, func(r *sql.Rows) error {
		l, t := &lane{}, &turn{}
		var weight sql.NullFloat64
		var limit sql.NullInt64
		var plan string
		var ends float64
		var served int64
		if err := r.Scan(&l.tenant, &l.plugin, &l.scanType, &l.priority, &t.since, &weight, &limit, &plan, &ends, &served); err != nil {
			return err
		}
		if last == nil || last.tenant != l.tenant {
			most, own := d.share(plan)
			if limit.Valid {
				most = int(limit.Int64)
			}
			if weight.Valid {
				own = weight.Float64
			}
			t.tenant, t.begins, t.served, t.weight = l.tenant, max(ends, moment), served, own
			t.free = left(most, d.tenant[l.tenant])
			last = t
			if t.free > 0 {
				d.turns = append(d.turns, t)
			} else {
				d.out.Capped = true
			}
		}
		last.since = min(last.since, t.since)
		if d.open(l) {
			last.lanes = append(last.lanes, l)
		} else {
			d.out.Capped = true
		}
		return nil
	}, `select l.tenant_id, l.plugin, l.scan_type, l.priority, l.since, t.weight, t.concurrency, t.plan,
		coalesce(u.ends, 0), coalesce(u.served_at, -1)
		from lanes l join tenants t on t.id = l.tenant_id left join turns u on u.tenant_id = l.tenant_id
		where l.wake_at = 0 and l.plugin in (select value from json_each(?)) and `+typeUnpaused+` and t.suspended_at is null
		order by l.tenant_id`, list(d.plugins))
	for _, t := range d.turns {
		if t.since > t.served {
			t.served = -1 // it was away
		}
	}
	return err
}

// share is the cap and the weight of tenants of a plan that have none of their own.
func (d *dispatch) share(plan string) (most int, weight float64) {
	s, ok := d.q.Caps.Plans[plan]
	if !ok {
		s = d.q.Caps.Plans[host.OtherPlan]
	}
	most = d.q.Caps.Tenant
	if s.Concurrency != nil {
		most = *s.Concurrency
	}
	return most, cmp.Or(s.Weight, 1)
}

// left is what a cap of most, 0 being none, leaves beside n.
func left(most, n int) int {
	if most <= 0 {
		return 1 << 30
	}
	return most - n
}

// open reports whether the caps let one more job of a lane go.
func (d *dispatch) open(l *lane) bool {
	return left(d.q.Caps.Plugins[l.plugin], d.plugin[l.plugin]) > 0 && left(d.q.Caps.ScanTypes[l.scanType], d.scanType[l.scanType]) > 0
}

// settle stores what was dealt out, and what became of the lanes.
func (d *dispatch) settle(ctx context.Context) error {
	ids := make([]host.JobID, len(d.out.Bells))
	for i, b := range d.out.Bells {
		ids[i] = b.Job
	}
	if len(ids) > 0 {
		_, err := d.ExecContext(ctx, `update jobs set dispatched_at = ? where id in (select value from json_each(?))`, d.now, list(ids))
		if err != nil {
			return err
		}
	}
	for _, t := range d.served {
		if err := d.settleTurn(ctx, t); err != nil {
			return err
		}
	}
	for _, l := range d.lanes {
		if err := d.settleLane(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// claimFirst claims the first of those that were handed out.
func (d *dispatch) claimFirst(ctx context.Context) (err error) {
	n := min(max(d.q.Claim.Most, 0), len(d.out.Bells))
	if n == 0 {
		return nil
	}
	ids := make([]host.JobID, n)
	for i, b := range d.out.Bells[:n] {
		ids[i] = b.Job
	}
	if d.out.Claims, err = d.claim(ctx, d.q.Claim.Owner, ids, d.q.Claim.TTL); err != nil {
		return err
	}
	claimed := map[host.JobID]bool{}
	for _, c := range d.out.Claims {
		claimed[c.Job.ID] = true
	}
	d.out.Bells = slices.DeleteFunc(d.out.Bells, func(b host.Doorbell) bool { return claimed[b.Job] })
	return nil
}

// after says when the next job becomes ready or overdue.
func (d *dispatch) after(ctx context.Context) error {
	var next sql.NullInt64
	var full bool
	err := d.QueryRowContext(ctx, `
select exists (select 1 from lanes where wake_at = 0 and plugin in (select value from json_each(?3)) and `+typeUnpaused+` and `+tenantOpen+`),
    (select min(t) from (
        select min(wake_at) - ?1 as t from lanes where wake_at > 0
        union all
        select min(dispatched_at) - ?2 from jobs
        where (state = 'running' or (state = 'queued' and dispatched_at is not null)) and dispatched_at > ?2
        union all
        select min(deadline_at) - ?1 from jobs where state = 'queued' and deadline_at is not null
    ))`, d.now, d.now-record.Micros(d.q.Horizon), list(d.plugins)).Scan(&full, &next)
	if d.room == 0 && len(d.lanes) == 0 {
		d.out.More = d.out.More || full
	}
	d.out.Next = time.Duration(next.Int64) * time.Microsecond
	return err
}

// Undispatch implements host.JobStore. The jobs' lanes come back by a trigger.
func (s *Store) Undispatch(ctx context.Context, jobs []host.JobID) error {
	if len(jobs) == 0 {
		return nil
	}
	return s.write(ctx, fmt.Sprintf("take back %d doorbells", len(jobs)), func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `update jobs set dispatched_at = null
			where id in (select value from json_each(?)) and dispatched_at is not null`, list(jobs))
		return err
	})
}
