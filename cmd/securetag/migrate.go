package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/sqlite"
	"github.com/securetaghq/securetag/migrations"
)

func (p *program) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the database schema up to date",
		Long: `migrate brings the schema of the configured database up to date. serve does the
same when it starts; several hosts that start at once migrate once.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withMigrations(cmd, p.migrateUp)
		},
	}
	status := &cobra.Command{Use: "status", Short: "Show which migrations are applied", Args: args(cobra.NoArgs)}
	asJSON := plainJSON(status)
	status.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.withMigrations(cmd, func(ctx context.Context, provider *goose.Provider) error {
			return p.migrateStatus(ctx, provider, *asJSON)
		})
	}
	cmd.AddCommand(status)
	return cmd
}

// withMigrations opens the database beside the store, whose constructor would
// migrate by itself.
func (p *program) withMigrations(cmd *cobra.Command, f func(context.Context, *goose.Provider) error) (err error) {
	loaded, err := p.load(cmd)
	if err != nil {
		return err
	}
	provider, err := openMigrations(loaded.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	return f(cmd.Context(), provider)
}

func openMigrations(cfg config.Config) (*goose.Provider, error) {
	if !embeddedStore(cfg) {
		return postgres.Migrations(postgresConfig(cfg))
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	return sqlite.Migrations(sqliteConfig(cfg))
}

func (p *program) migrateUp(ctx context.Context, provider *goose.Provider) error {
	applied, err := migrations.Up(ctx, provider)
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		fmt.Fprintln(p.stdout, "The schema is up to date.")
		return nil
	}
	fmt.Fprintf(p.stdout, "Applied %d migrations: %v.\n", len(applied), applied)
	return nil
}

// migrationView is a migration as programs see it.
type migrationView struct {
	Version   int64      `json:"version"`
	File      string     `json:"file"`
	State     string     `json:"state"` // applied or pending
	AppliedAt *time.Time `json:"applied_at,omitempty"`
}

func (p *program) migrateStatus(ctx context.Context, provider *goose.Provider, asJSON bool) error {
	statuses, err := migrations.Status(ctx, provider)
	if err != nil {
		return err
	}
	all := []migrationView{}
	for _, s := range statuses {
		v := migrationView{Version: s.Source.Version, File: s.Source.Path, State: string(s.State)}
		if !s.AppliedAt.IsZero() {
			v.AppliedAt = new(s.AppliedAt.UTC())
		}
		all = append(all, v)
	}
	if asJSON {
		return report.Document(p.stdout, map[string]any{"items": all})
	}
	for _, v := range all {
		fmt.Fprintf(p.stdout, "%-8s %s\n", v.State, v.File)
	}
	return nil
}
