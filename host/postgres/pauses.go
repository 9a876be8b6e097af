package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Everything that hands out or claims jobs holds these conditions, and
// nothing else does. The subqueries look at nothing outside, so each is read
// once a statement.
const (
	// typeUnpaused is of a job that may be dispatched as far as its scan type
	// and its tenant go.
	typeUnpaused = `scan_type <> all (array(select name from pauses where kind = 'scan_type'))
      and tenant_id <> all (array(select t.id from tenants t where t.suspended_at is not null))`
	// unpaused is of a job that may be dispatched.
	unpaused = `not exists (select from pauses where kind = 'all')
      and plugin <> all (array(select name from pauses where kind = 'plugin')) and ` + typeUnpaused
	// unpausedPlugins gives those of the plugins $5 that may be dispatched:
	// a paused one's backlog must not be read over and over.
	unpausedPlugins = `
    select asked.name from unnest($5::text[]) as asked (name)
    where not exists (select from pauses z where z.kind = 'all' or (z.kind = 'plugin' and z.name = asked.name))`
)

// pause takes kind, name and reason.
const pause = `
insert into pauses (kind, name, reason) values ($1, $2, $3)
on conflict (kind, name) do update set reason = excluded.reason`

// takeBack takes kind and name, and the mark from the doorbells that this
// pause makes useless, so that they fill no window and no horizon rings again.
const takeBack = `
update jobs set dispatched_at = null where id = any(array(
    select id from jobs where state = 'queued' and dispatched_at is not null
      and ($1 = 'all' or ($1 = 'plugin' and plugin = $2) or ($1 = 'scan_type' and scan_type = $2))
    order by id for no key update))`

// Pause implements host.QueueStore. It holds the dispatch lock, so that the
// Dispatch before it is seen by takeBack, and the one after it sees the pause.
func (s *Store) Pause(ctx context.Context, p host.Pause) error {
	op := fmt.Sprintf("pause %s %.64q", p.Kind, p.Name)
	if !p.Valid() {
		return fmt.Errorf("%s: it names no part of the queue: %w", op, host.ErrInvalid)
	}
	return s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(dispatchLock)
		b.Queue(pause, string(p.Kind), record.Clean(p.Name), record.Clean(p.Reason))
		b.Queue(takeBack, string(p.Kind), record.Clean(p.Name))
	})
}

// Resume implements host.QueueStore.
func (s *Store) Resume(ctx context.Context, kind host.PauseKind, name string) error {
	return s.do(ctx, fmt.Sprintf("resume %.32s %.64q", string(kind), name), func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from pauses where kind = $1 and name = $2`, record.Clean(string(kind)), record.Clean(name))
		if err == nil && tag.RowsAffected() == 0 {
			return fmt.Errorf("it is not paused: %w", host.ErrNotFound)
		}
		return err
	})
}

// pauses has 'all' first by the alphabet.
const pauses = `select kind, name, reason, created_at from pauses order by kind, name collate "C"`

// Pauses implements host.QueueStore.
func (s *Store) Pauses(ctx context.Context) (all []host.Pause, err error) {
	err = s.do(ctx, "list pauses", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, pauses)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, toPause)
		return err
	})
	return all, err
}

func toPause(row pgx.CollectableRow) (p host.Pause, err error) {
	return p, row.Scan(&p.Kind, &p.Name, &p.Reason, at(&p.CreatedAt))
}
