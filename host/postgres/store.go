// Package postgres is the host.Store on PostgreSQL 13 or later.
//
// Every method is one transaction, sent as one pipelined batch wherever no
// statement needs another one's answer. Locks are always taken in the same
// order, scans by id and then jobs by id, so that hosts wait for each other
// and never for ever; what takes them in any other order skips locked rows.
// Whatever changes a job's state holds its scan's lock, so the scan's state
// and counts are derived from jobs that nobody else is changing.
//
// A writer that holds a lease is told by id, lease_epoch and lease_id alone
// and never by the state: with stale statistics the planner would take a
// partial index over that state instead of the primary key (the CHECKs make
// lease_id say the same).
//
// What a statement picks with a limit or a lock it picks once, as an array: a
// subquery behind in is planned as a join, and may be run again for each row.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/migrations"
)

// Config says where the database is. Zero values take the defaults.
type Config struct {
	// URL is a connection string as libpq takes it. Migrations need a session:
	// no pooler in transaction mode.
	URL string
	// MaxConns is how many connections the pool may hold; 0 means 20.
	MaxConns int32
	// Wait is how long Open waits for a server that does not answer yet; 0
	// means 30 s.
	Wait time.Duration
	// Timeout bounds one attempt of one operation; 0 means 30 s.
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxConns <= 0 {
		c.MaxConns = 20
	}
	if c.Wait <= 0 {
		c.Wait = 30 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}

// Store is a host.Store.
type Store struct {
	pool *pgxpool.Pool
	cfg  Config

	unconfined error // why row-level security is not in force; nil: it is

	analyzing analyzing // see grew

	mending sync.Mutex
	mended  laneKey // where MendLanes was last
}

var _ host.Store = (*Store)(nil)

// Open connects, waiting a while for a server that is still starting, and
// migrates the schema up. ErrInvalid when the URL cannot be read,
// ErrUnavailable when the server does not answer in time.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w: %s", host.ErrInvalid, err.Error())
	}
	pc.MaxConns = cfg.MaxConns
	pc.ConnConfig.ConnectTimeout = min(cfg.Timeout, 5*time.Second)
	// A host that freezes between two statements would hold its locks for ever,
	// and the sweepers of the others skip what is locked.
	pc.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10000"
	maps.Copy(pc.ConnConfig.RuntimeParams, planning)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, translate(ctx, "open the database pool", err)
	}
	s := &Store{pool: pool, cfg: cfg}
	if err := s.await(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	if err := s.confine(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// planning leaves the planner no choice it could get wrong. The statements are
// few, each looks rows up through an index that was made for it, and a plan is
// kept for as long as its connection: one that was made while the tables were
// small would otherwise read all of them, for every job, once they are not. To
// plan each call anew, or to compile it, costs more than to run it. Of tables that
// are known to be empty see analyze.go.
var planning = map[string]string{ //nolint:gochecknoglobals // a table, never written
	"plan_cache_mode":   "force_generic_plan",
	"jit":               "off",
	"enable_seqscan":    "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"enable_bitmapscan": "off",
}

// Migrations gives the schema's migrations for the database at cfg.URL,
// without connecting yet. Close the provider.
func Migrations(cfg Config) (*goose.Provider, error) {
	cc, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w: %s", host.ErrInvalid, err.Error())
	}
	db := stdlib.OpenDB(*cc)
	p, err := migrations.Postgres(db)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return p, nil
}

// await pings until the server answers.
func (s *Store) await(ctx context.Context) error {
	deadline := time.Now().Add(s.cfg.Wait)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.Ping(ctx)
		if err == nil || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait for the database: %w", err)
		}
	}
}

func (s *Store) migrate(ctx context.Context) error {
	p, err := Migrations(s.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if _, err := migrations.Up(ctx, p); err != nil {
		return translate(ctx, "bring the database schema up to date", err)
	}
	return nil
}

// Ping implements host.Store.
func (s *Store) Ping(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, min(s.cfg.Timeout, 5*time.Second))
	defer cancel()
	if err := s.pool.Ping(short); err != nil {
		return translate(ctx, "ping the database", err)
	}
	return nil
}

// Close implements host.Store.
func (s *Store) Close() error {
	s.stopAnalyzing()
	s.pool.Close()
	return nil
}

// maxTries is how often an operation is tried that lost a deadlock or that
// never reached the server.
const maxTries = 4

// do runs one operation in bounded time, again when the server asks for it,
// and translates its error. f must start from scratch each time.
func (s *Store) do(ctx context.Context, op string, f func(context.Context) error) error {
	for try := 1; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		err := f(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if try == maxTries || !worthRetrying(err) {
			return translate(ctx, op, err)
		}
		if sleep(ctx, time.Duration(1+rand.IntN(10*try))*time.Millisecond) != nil {
			return translate(ctx, op, err)
		}
	}
}

// read is do for an operation that may be done twice, and does it once more when
// its connection was lost: a server that has ended idle connections says so only
// to the next request on each, and what ended one has most likely ended all.
func (s *Store) read(ctx context.Context, op string, f func(context.Context) error) error {
	err := s.do(ctx, op, f)
	if errors.Is(err, host.ErrUnavailable) && ctx.Err() == nil {
		s.pool.Reset()
		err = s.do(ctx, op, f)
	}
	return err
}

// batch runs one operation that is a single batch, which PostgreSQL takes as
// one transaction: it ends with the batch's only Sync.
func (s *Store) batch(ctx context.Context, op string, fill func(*pgx.Batch)) error {
	return s.do(ctx, op, s.send(fill))
}

// readBatch is batch for an operation that may be done twice.
func (s *Store) readBatch(ctx context.Context, op string, fill func(*pgx.Batch)) error {
	return s.read(ctx, op, s.send(fill))
}

func (s *Store) send(fill func(*pgx.Batch)) func(context.Context) error {
	return func(ctx context.Context) error {
		b := &pgx.Batch{}
		fill(b)
		return s.pool.SendBatch(ctx, b).Close()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
