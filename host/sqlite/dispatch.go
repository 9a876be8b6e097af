package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// candidate is a job that may be handed out.
type candidate struct {
	bell  host.Doorbell
	turn  int
	since int64
}

// Dispatch implements host.JobStore. It is fair between tenants as package
// postgres says.
func (s *Store) Dispatch(ctx context.Context, plugins []string, window int, horizon time.Duration) (out host.Dispatched, err error) {
	err = s.write(ctx, "dispatch", func(ctx context.Context, tx tx) error {
		out = host.Dispatched{}
		if err := tx.endOverdue(ctx); err != nil {
			return err
		}
		// PAUSES: none of the plugins that are paused; typeUnpaused does the rest.
		plugins, err := tx.unpausedPlugins(ctx, plugins)
		if err != nil {
			return err
		}
		edge := tx.now - record.Micros(horizon)
		var busy int
		err = tx.QueryRowContext(ctx, `select count(*) from jobs
			where state = 'queued' and dispatched_at is not null and dispatched_at > ?
			  and plugin in (select value from json_each(?))`, edge, list(plugins)).Scan(&busy)
		if err != nil {
			return err
		}
		room := max(0, window-busy)
		ready, err := tx.ready(ctx, plugins, edge, room)
		if err != nil {
			return err
		}
		ids := make([]host.JobID, 0, room)
		for _, c := range ready[:min(room, len(ready))] {
			ids, out.Bells = append(ids, c.bell.Job), append(out.Bells, c.bell)
		}
		if _, err := tx.ExecContext(ctx, `update jobs set dispatched_at = ? where id in (select value from json_each(?))`,
			tx.now, list(ids)); err != nil {
			return err
		}
		return tx.afterDispatch(ctx, plugins, edge, &out)
	})
	if err != nil {
		return host.Dispatched{}, err
	}
	return out, nil
}

// ready lists what may be handed out, in order: doorbells older than the
// horizon, then tenants in turns that begin behind what each has running or out.
func (tx tx) ready(ctx context.Context, plugins []string, edge int64, room int) (all []candidate, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var c candidate
		err := r.Scan(&c.bell.Job, &c.bell.Plugin, &c.since)
		all = append(all, c)
		return err
	}, `select id, plugin, dispatched_at from jobs
		where state = 'queued' and dispatched_at is not null and dispatched_at <= ?
		  and plugin in (select value from json_each(?)) and `+typeUnpaused+` order by dispatched_at, id limit ?`, edge, list(plugins), room)
	for tenant := ""; err == nil; {
		// A loose scan: one step for each tenant, whatever its backlog.
		err = tx.QueryRowContext(ctx, `select tenant_id from jobs
			where state = 'queued' and dispatched_at is null and tenant_id > ? order by tenant_id limit 1`, tenant).Scan(&tenant)
		if errors.Is(err, sql.ErrNoRows) {
			slices.SortFunc(all, func(a, b candidate) int {
				return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.since, b.since), cmp.Compare(a.bell.Job, b.bell.Job))
			})
			return all, nil
		}
		if err == nil {
			all, err = tx.readyOf(ctx, tenant, plugins, room, all)
		}
	}
	return nil, err
}

func (tx tx) readyOf(ctx context.Context, tenant string, plugins []string, room int, all []candidate) ([]candidate, error) {
	var turn int
	err := tx.QueryRowContext(ctx, `select count(*) from jobs
		where tenant_id = ? and (state = 'running' or (state = 'queued' and dispatched_at is not null))`, tenant).Scan(&turn)
	if err != nil {
		return nil, err
	}
	err = rows(ctx, tx, func(r *sql.Rows) error {
		turn++
		c := candidate{turn: turn}
		err := r.Scan(&c.bell.Job, &c.bell.Plugin, &c.since)
		all = append(all, c)
		return err
	}, `select id, plugin, run_at from jobs
		where tenant_id = ? and plugin in (select value from json_each(?))
		  and state = 'queued' and dispatched_at is null and run_at <= ? and `+typeUnpaused+`
		order by run_at, id limit ?`, tenant, list(plugins), tx.now, room)
	return all, err
}

// afterDispatch says what is left: whether anything is ready, and when the next
// job becomes ready or overdue.
func (tx tx) afterDispatch(ctx context.Context, plugins []string, edge int64, out *host.Dispatched) error {
	var next *int64
	err := tx.QueryRowContext(ctx, `
select exists (select 1 from jobs where state = 'queued' and dispatched_at is null and run_at <= ?1
               and plugin in (select value from json_each(?3)) and `+typeUnpaused+`)
    or exists (select 1 from jobs where state = 'queued' and dispatched_at is not null and dispatched_at <= ?2
               and plugin in (select value from json_each(?3)) and `+typeUnpaused+`),
    (select min(t) from (
        select min(run_at) - ?1 as t from jobs where state = 'queued' and dispatched_at is null and run_at > ?1
        union all
        select min(dispatched_at) - ?2 from jobs where state = 'queued' and dispatched_at is not null and dispatched_at > ?2
        union all
        select min(deadline_at) - ?1 from jobs where state = 'queued' and deadline_at is not null
    ))`, tx.now, edge, list(plugins)).Scan(&out.More, &next)
	if err == nil && next != nil {
		out.Next = time.Duration(*next) * time.Microsecond
	}
	return err
}

// Undispatch implements host.JobStore.
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
