package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/securetaghq/securetag/api/client"
)

// ledger says what became of a system's uploads.
type ledger interface {
	// clear forgets the uploads so far.
	clear(ctx context.Context) error
	// count gives how many there are since then, and how many ended well. It may
	// say that none did until all have ended. A bad end is an error.
	count(ctx context.Context) (all, done int, err error)
	// spans gives the start and the end of each, once all have ended.
	spans(ctx context.Context) (map[string]span, error)
	close(ctx context.Context) error
}

// span is the life of one upload behind its 202.
type span struct{ started, completed time.Time }

// bounds are the first start and the last end.
func bounds(spans map[string]span) (first, last time.Time) {
	for _, t := range spans {
		if first.IsZero() || t.started.Before(first) {
			first = t.started
		}
		if t.completed.After(last) {
			last = t.completed
		}
	}
	return first, last
}

// tables are the statements that ask a system's database.
type tables struct {
	clear string
	count string // all, those that ended well, those that ended otherwise
	spans string // id, start and end of each
}

func peerTables() tables {
	return tables{
		clear: `truncate tasks`,
		count: `select count(*), count(*) filter (where status = 'completed'), 0 from tasks`,
		spans: `select id::text, started_at, completed_at from tasks`,
	}
}

// ownTables ask SecureTag's database. A scan ends when its last job does.
func ownTables() tables {
	return tables{
		clear: `truncate scans cascade`,
		count: `select count(*), count(*) filter (where state = 'succeeded'),
			count(*) filter (where state <> 'succeeded' and finished_at is not null) from scans`,
		spans: `select s.id::text, j.started_at, s.finished_at from scans s join jobs j on j.scan_id = s.id and j.ordinal = 0`,
	}
}

// database is a ledger by SQL.
type database struct {
	*pgx.Conn
	tables tables
}

func (d *database) close(ctx context.Context) error { return d.Close(ctx) }

func (d *database) clear(ctx context.Context) error {
	_, err := d.Exec(ctx, d.tables.clear)
	// It locks whole tables in an order of its own, beside a server that works on.
	for deadlock := (*pgconn.PgError)(nil); errors.As(err, &deadlock) && deadlock.Code == "40P01"; {
		_, err = d.Exec(ctx, d.tables.clear)
	}
	if err != nil {
		return fmt.Errorf("forget uploads: %w", err)
	}
	return nil
}

func (d *database) count(ctx context.Context) (all, done int, err error) {
	var failed int
	if err := d.QueryRow(ctx, d.tables.count).Scan(&all, &done, &failed); err != nil {
		return 0, 0, fmt.Errorf("count uploads: %w", err)
	}
	if failed > 0 {
		return 0, 0, fmt.Errorf("%d jobs did not succeed", failed)
	}
	return all, done, nil
}

func (d *database) spans(ctx context.Context) (map[string]span, error) {
	rows, err := d.Query(ctx, d.tables.spans)
	if err != nil {
		return nil, fmt.Errorf("ask for the times: %w", err)
	}
	var (
		all = map[string]span{}
		id  string
		t   span
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &t.started, &t.completed}, func() error {
		all[id] = t
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the times: %w", err)
	}
	return all, nil
}

// apiLedger asks SecureTag's API, for the embedded default, whose database is
// the host's alone.
type apiLedger struct {
	client *client.Client
	newest string // id of the last scan to forget
}

func (l *apiLedger) close(context.Context) error { return nil }

func (l *apiLedger) clear(ctx context.Context) error {
	p, err := l.client.Scans(ctx, client.ScansQuery{Limit: 1})
	if err == nil && len(p.Items) > 0 {
		l.newest = p.Items[0].ID
	}
	return err
}

func (l *apiLedger) count(ctx context.Context) (all, done int, err error) {
	for _, state := range []client.State{client.StateQueued, client.StateRunning} {
		p, err := l.client.Scans(ctx, client.ScansQuery{State: state, Limit: 1})
		if err != nil || len(p.Items) > 0 {
			return 0, 0, err
		}
	}
	spans, err := l.spans(ctx)
	return len(spans), len(spans), err
}

func (l *apiLedger) spans(ctx context.Context) (map[string]span, error) {
	all := map[string]span{}
	for s, err := range l.client.AllScans(ctx, client.ScansQuery{Limit: 200}) {
		switch {
		case err != nil:
			return nil, err
		case s.ID == l.newest:
			return all, nil
		case s.State != client.StateSucceeded:
			return nil, fmt.Errorf("scan %s is %s", s.ID, s.State)
		}
		all[s.ID] = span{*s.StartedAt, *s.FinishedAt}
	}
	return all, nil
}
