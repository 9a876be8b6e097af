// Package migrations holds the database schema as numbered SQL files, one
// directory for each dialect, and runs them with goose. An applied migration
// never changes: what is wrong with it is put right by the next one.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// Postgres gives the migrations of a PostgreSQL database. Several hosts that
// start at once take turns by an advisory lock of the session, so db must not
// lead through a pooler in transaction mode. Close closes db.
func Postgres(db *sql.DB) (*goose.Provider, error) {
	// Once a second for five minutes: a host that starts while another one
	// migrates a large table waits for it.
	l, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	return provider(goose.DialectPostgres, "postgres", db, goose.WithSessionLocker(l))
}

// SQLite gives the migrations of an SQLite database. Close closes db.
func SQLite(db *sql.DB) (*goose.Provider, error) {
	return provider(goose.DialectSQLite3, "sqlite", db)
}

func provider(dialect goose.Dialect, dir string, db *sql.DB, opts ...goose.ProviderOption) (*goose.Provider, error) {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		return nil, fmt.Errorf("open the %s migrations: %w", dir, err)
	}
	p, err := goose.NewProvider(dialect, db, sub, opts...)
	if err != nil {
		return nil, fmt.Errorf("read the %s migrations: %w", dir, err)
	}
	return p, nil
}

// Up applies what is missing and returns the versions it applied. It may run
// in several processes at once. When it fails, those before the one that failed
// stay. That one has left nothing behind, or, if it is of several transactions,
// is done over again by the next Up.
func Up(ctx context.Context, p *goose.Provider) ([]int64, error) {
	var applied []int64
	for try := 0; ; try++ {
		results, err := p.Up(ctx)
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			results = partial.Applied
		}
		for _, r := range results {
			applied = append(applied, r.Source.Version)
		}
		// SQLite has no lock over all of it: another process may have applied
		// the same between the look and the leap. Then the next look sees it.
		if err == nil || try == 4 || ctx.Err() != nil {
			return applied, wrap("migrate up", err)
		}
	}
}

// Down takes the newest applied migration back, with the data it holds.
func Down(ctx context.Context, p *goose.Provider) (int64, error) {
	r, err := p.Down(ctx)
	if err != nil {
		return 0, wrap("migrate down", err)
	}
	return r.Source.Version, nil
}

// Status says which migrations there are and which are applied.
func Status(ctx context.Context, p *goose.Provider) ([]*goose.MigrationStatus, error) {
	s, err := p.Status(ctx)
	return s, wrap("read migration status", err)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
