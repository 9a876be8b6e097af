package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Everything that hands out or claims jobs holds these conditions, and
// nothing else does.
const (
	// typeUnpaused is of a job that may be dispatched as far as its scan type goes.
	typeUnpaused = `scan_type not in (select name from pauses where kind = 'scan_type')`
	// unpaused is of a job that may be dispatched.
	unpaused = `not exists (select 1 from pauses where kind = 'all')
  and plugin not in (select name from pauses where kind = 'plugin') and ` + typeUnpaused + ` and ` + tenantOpen
	// tenantOpen is of a job whose tenant is not suspended.
	tenantOpen = `tenant_id not in (select t.id from tenants t where t.suspended_at is not null)`
)

// unpausedPlugins gives those of the plugins that may be dispatched: a paused
// one's backlog must not be read over and over.
func (tx tx) unpausedPlugins(ctx context.Context, plugins []string) (open []string, err error) {
	if len(plugins) == 0 {
		return nil, nil
	}
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var p string
		err := r.Scan(&p)
		open = append(open, p)
		return err
	}, `select value from json_each(?) asked
		where not exists (select 1 from pauses where kind = 'all' or (kind = 'plugin' and name = asked.value))`, list(plugins))
	return open, err
}

// takeBack takes kind and name, and the mark from the doorbells that this
// pause makes useless, so that they fill no window and no horizon rings again.
const takeBack = `
update jobs set dispatched_at = null where state = 'queued' and dispatched_at is not null
  and (?1 = 'all' or (?1 = 'plugin' and plugin = ?2) or (?1 = 'scan_type' and scan_type = ?2))`

// Pause implements host.QueueStore.
func (s *Store) Pause(ctx context.Context, p host.Pause) error {
	op := fmt.Sprintf("pause %s %.64q", p.Kind, p.Name)
	if !p.Valid() {
		return fmt.Errorf("%s: it names no part of the queue: %w", op, host.ErrInvalid)
	}
	return s.write(ctx, op, func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `insert into pauses (kind, name, reason, created_at) values (?, ?, ?, ?)
			on conflict (kind, name) do update set reason = excluded.reason`,
			string(p.Kind), record.Clean(p.Name), record.Clean(p.Reason), tx.now)
		if err == nil {
			_, err = tx.ExecContext(ctx, takeBack, string(p.Kind), record.Clean(p.Name))
		}
		return err
	})
}

// Resume implements host.QueueStore.
func (s *Store) Resume(ctx context.Context, kind host.PauseKind, name string) error {
	return s.write(ctx, fmt.Sprintf("resume %.32s %.64q", string(kind), name), func(ctx context.Context, tx tx) error {
		r, err := tx.ExecContext(ctx, `delete from pauses where kind = ? and name = ?`, record.Clean(string(kind)), record.Clean(name))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return fmt.Errorf("it is not paused: %w", host.ErrNotFound)
	})
}

// pauses has 'all' first by the alphabet.
const pauses = `select kind, name, reason, created_at from pauses order by kind, name`

// Pauses implements host.QueueStore.
func (s *Store) Pauses(ctx context.Context) (all []host.Pause, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		var p host.Pause
		err := r.Scan(&p.Kind, &p.Name, &p.Reason, at(&p.CreatedAt))
		all = append(all, p)
		return err
	}, pauses)
	if err != nil {
		return nil, translate(ctx, "list pauses", err)
	}
	return all, nil
}
