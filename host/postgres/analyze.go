package postgres

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A plan is made of what is known of the tables, and kept (see planning). For a
// table that is known to be empty all ways to read it cost the same, and the planner
// may take one that reads all of it, for each row of another. Autovacuum looks at
// most once a minute, and ten thousand jobs come in less; so a store runs ANALYZE on
// the tables that it fills itself, whereupon every connection plans anew. It does so
// beside the work. Where that fails, or this role may not, autovacuum is waited for,
// and until then what every job needs takes a time that grows with the tables.

// growing are the tables that bursts of work fill.
var growing = []string{"scans", "jobs", "attempts", "findings", "artifacts", "project_findings", "observations", "webhook_deliveries"} //nolint:gochecknoglobals // a table, never written

const (
	// analyzeEvery is how many rows a store adds before it looks at what the planner
	// knows. To read as many as that whole costs less than a millisecond.
	analyzeEvery = 500
	// fewRows is what the planner must know of, so that it looks rows up whatever
	// else it has to do.
	fewRows = 2000
)

// analyzing is what a store knows of its own growth.
type analyzing struct {
	mu           sync.Mutex
	added        int // since it looked
	busy, closed bool
	beside       sync.WaitGroup
	stop         context.CancelFunc // of the look under way
}

// grew is told how many rows the store has added to growing tables.
func (s *Store) grew(ctx context.Context, rows int) {
	a := &s.analyzing
	a.mu.Lock()
	defer a.mu.Unlock()
	a.added += rows
	if a.added < analyzeEvery || a.busy || a.closed {
		return
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.added, a.busy, a.stop = 0, true, stop
	a.beside.Go(func() {
		defer stop()
		_ = s.do(ctx, "analyze tables", s.analyze)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy = false
	})
}

// stopAnalyzing ends a look that is under way. There is none after it.
func (s *Store) stopAnalyzing() {
	a := &s.analyzing
	a.mu.Lock()
	a.closed = true
	if a.busy {
		a.stop()
	}
	a.mu.Unlock()
	a.beside.Wait()
}

// littleKnown takes tables and a number, and gives those that are not empty of
// which the planner knows fewer rows.
const littleKnown = `
select relname from pg_class
where relnamespace = current_schema()::regnamespace and relname = any($1::text[]) and reltuples < $2 and pg_relation_size(oid) > 0`

func (s *Store) analyze(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, littleKnown, growing, fewRows)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		return err
	}
	// Somebody else is at what is locked.
	_, err = s.pool.Exec(ctx, "analyze (skip_locked) "+strings.Join(tables, ", "), pgx.QueryExecModeExec)
	return err
}
