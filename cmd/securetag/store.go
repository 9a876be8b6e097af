package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/sqlite"
)

func embeddedStore(cfg config.Config) bool { return cfg.Database.URL.IsZero() }

func sqliteConfig(cfg config.Config) sqlite.Config {
	return sqlite.Config{Path: filepath.Join(cfg.DataDir, "securetag.db")}
}

func postgresConfig(cfg config.Config) postgres.Config {
	return postgres.Config{URL: cfg.Database.URL.Reveal(), MaxConns: int32(cfg.Database.MaxConnections)}
}

// openStore opens the configured store and brings its schema up to date.
func openStore(ctx context.Context, cfg config.Config) (host.Store, error) {
	if embeddedStore(cfg) {
		return sqlite.Open(ctx, sqliteConfig(cfg))
	}
	return postgres.Open(ctx, postgresConfig(cfg))
}

// rowSecurity says in the log, and returns for /readyz, when PostgreSQL does not help
// to keep tenants apart. Nobody needs a key to ask that, so the reason is in the log.
func rowSecurity(store host.Store, log hclog.Logger) string {
	pg, ok := store.(*postgres.Store)
	if !ok || pg.RowSecurity() == nil {
		return ""
	}
	log.Warn("row-level security is not in force: only this program's own checks keep tenants apart", "reason", pg.RowSecurity())
	return "Row-level security is not in force; the log says why."
}

// withStore runs f on the configured store, for verbs that need no more of a
// host.
func withStore(ctx context.Context, cfg config.Config, f func(host.Store) error) (err error) {
	store, err := openStore(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return f(store)
}
