package postgres

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A plan is made of what is known of the tables, and kept (see planning). For a
// table that is known to be empty all ways to read it cost the same, and the planner
// may take one that reads all of it, for each row of another. Autovacuum counts at
// most once a minute, and ten thousand jobs come in less; so a store has the tables
// that it fills counted itself, whereupon every connection plans anew. It does so
// beside the work. Where that fails, or this role may not, autovacuum is waited for,
// and until then no statement that every job needs takes more than a time that grows
// with the table.

// growing are the tables that bursts of work fill.
var growing = []string{"scans", "jobs", "attempts", "findings", "artifacts", "project_findings", "observations", "webhook_deliveries"} //nolint:gochecknoglobals // a table, never written

const (
	// countEvery is how many rows a store adds before it looks at what the planner
	// knows. To read as many as that whole costs less than a millisecond.
	countEvery = 500
	// fewRows is what the planner must know of, so that it looks rows up whatever
	// else it has to do.
	fewRows = 2000
)

// counting is what a store knows of its own growth.
type counting struct {
	mu           sync.Mutex
	added        int // since it looked
	busy, closed bool
	beside       sync.WaitGroup
	stop         context.CancelFunc // of the look under way
}

// grew is told how many rows the store has added to growing tables.
func (s *Store) grew(ctx context.Context, rows int) {
	c := &s.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added += rows
	if c.added < countEvery || c.busy || c.closed {
		return
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.added, c.busy, c.stop = 0, true, stop
	c.beside.Go(func() {
		defer stop()
		_ = s.do(ctx, "count the rows of tables", s.count)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy = false
	})
}

// stopCounting ends a look that is under way. There is none after it.
func (s *Store) stopCounting() {
	c := &s.counting
	c.mu.Lock()
	c.closed = true
	if c.busy {
		c.stop()
	}
	c.mu.Unlock()
	c.beside.Wait()
}

// littleKnown takes tables and a number, and gives those that are not empty of
// which the planner knows fewer rows.
const littleKnown = `
select relname from pg_class
where relnamespace = current_schema()::regnamespace and relname = any($1::text[]) and reltuples < $2 and pg_relation_size(oid) > 0`

func (s *Store) count(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, littleKnown, growing, fewRows)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		return err
	}
	// Somebody else counts what is locked.
	_, err = s.pool.Exec(ctx, "analyze (skip_locked) "+strings.Join(tables, ", "), pgx.QueryExecModeExec)
	return err
}
