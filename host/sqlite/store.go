// Package sqlite is the host.Store on an SQLite file: what a host without a
// configured database uses.
//
// One connection writes, so transactions follow each other and need no locks
// of their own; BEGIN IMMEDIATE and a busy timeout keep the order between
// processes (a running host and the command line on the same file). Readers
// have their own connections and, the file being in WAL mode, never wait. Every
// commit is on disk before it is answered (synchronous=FULL).
//
// It says the same as package postgres in every case that storetest knows of.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/migrations"
)

// Config says where the database is. Zero values take the defaults.
type Config struct {
	// Path of the database file; it and its directory are made when missing,
	// for this user only.
	Path string
	// Readers is how many connections read; 0 means 4.
	Readers int
	// Wait is how long a writer waits for another process; 0 means 10 s.
	Wait time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	if c.Path == "" {
		return c, fmt.Errorf("open the database: no path: %w", host.ErrInvalid)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return c, fmt.Errorf("open the database %s: %w", c.Path, err)
	}
	c.Path = path
	if c.Readers <= 0 {
		c.Readers = 4
	}
	if c.Wait <= 0 {
		c.Wait = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// dsn names the file with the settings of a connection.
func (c Config) dsn(more ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", c.Wait.Milliseconds()), // first: the next one may have to wait
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)",
	}, more...)}
	u := url.URL{Scheme: "file", Path: c.Path, RawQuery: q.Encode()}
	return u.String()
}

// Store is a host.Store.
type Store struct {
	writer, readers *sql.DB
	cfg             Config
	closing         sync.Once
	closed          error
}

// Open opens the file, making it when it is missing, and migrates the schema up.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := Migrations(cfg)
	if err != nil {
		return nil, err
	}
	_, err = migrations.Up(ctx, p)
	if err = errors.Join(err, p.Close()); err != nil {
		return nil, translate(ctx, "bring the schema of "+cfg.Path+" up to date", err)
	}
	s := &Store{cfg: cfg}
	if s.writer, err = sql.Open("sqlite", cfg.dsn()); err != nil {
		return nil, translate(ctx, "open the database "+cfg.Path, err)
	}
	s.writer.SetMaxOpenConns(1)
	if s.readers, err = sql.Open("sqlite", cfg.dsn("query_only(1)")); err != nil {
		return nil, errors.Join(translate(ctx, "open the database "+cfg.Path, err), s.writer.Close())
	}
	s.readers.SetMaxOpenConns(cfg.Readers)
	s.readers.SetMaxIdleConns(cfg.Readers)
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Migrations gives the schema's migrations for the file at cfg.Path, making it
// when it is missing. Close the provider.
func Migrations(cfg Config) (*goose.Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := create(cfg.Path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", cfg.dsn())
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", cfg.Path, err)
	}
	// One connection: goose would otherwise wait for itself.
	db.SetMaxOpenConns(1)
	p, err := migrations.SQLite(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return p, nil
}

// create makes the file before SQLite does, so that nobody else may read the
// keys' hashes; SQLite gives its side files the same mode.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the database's directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return f.Close()
}

// Ping implements host.Store.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.readers.QueryRowContext(ctx, `select 1 from tenants union all select 1 limit 1`).Scan(&one); err != nil {
		return translate(ctx, "ping the database", err)
	}
	return nil
}

// Close implements host.Store.
func (s *Store) Close() error {
	s.closing.Do(func() {
		// The writer last: the last connection folds the log into the file.
		if err := errors.Join(s.readers.Close(), s.writer.Close()); err != nil {
			s.closed = fmt.Errorf("close the database: %w", err)
		}
	})
	return s.closed
}

// tx is one writing transaction and its time.
type tx struct {
	*sql.Tx
	now int64
}

// write runs f in one transaction.
func (s *Store) write(ctx context.Context, op string, f func(ctx context.Context, tx tx) error) error {
	err := func() error {
		t, err := s.writer.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		// The time after the wait for the writer, so that it never goes back
		// from one transaction to the next.
		if err := f(ctx, tx{t, s.cfg.Now().UnixMicro()}); err != nil {
			return errors.Join(err, ignoreDone(t.Rollback()))
		}
		return t.Commit()
	}()
	if err != nil {
		return translate(ctx, op, err)
	}
	return nil
}

// ignoreDone drops the complaint that a cancelled context has rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// rows runs a query and hands each row to scan.
func rows(ctx context.Context, db querier, scan func(*sql.Rows) error, query string, args ...any) error {
	r, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for r.Next() {
		if err := scan(r); err != nil {
			return err
		}
	}
	return r.Err()
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

var _ host.Store = (*Store)(nil)
