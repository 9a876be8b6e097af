package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a host: the API and the scans",
		Long: `serve runs a host until it is told to stop (Ctrl-C, SIGTERM): it then accepts no
more scans, lets running jobs end within server.shutdown_grace, and gives the
others back.

With no database configured it keeps everything below data_dir; the first time
it makes a tenant and prints a key for it, once.

With --role api it takes requests and starts no plugins, with --role worker it
runs jobs and answers nothing but /healthz and /readyz. Both need the same
PostgreSQL and Redis as the hosts that do the rest.

SIGHUP makes it read its configuration again: see securetag config --help.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			// The file is read again, the environment and the flags are what they were.
			return p.serve(cmd.Context(), loaded, func() (*config.Loaded, error) {
				again, err := p.load(cmd)
				if err != nil {
					return nil, err
				}
				return again, p.checkSettings(again)
			})
		},
	}
	config.AddFlag(cmd.Flags(), "role", "server.role")
	config.AddFlag(cmd.Flags(), "listen", "server.listen")
	config.AddFlag(cmd.Flags(), "data-dir", "data_dir")
	config.AddFlag(cmd.Flags(), "log-level", "log.level")
	return cmd
}

// serve runs a host until ctx ends; reread reads its configuration again.
func (p *program) serve(ctx context.Context, loaded *config.Loaded, reread func() (*config.Loaded, error)) (err error) {
	hangup := make(chan os.Signal, 1) // before anything else: unheard it ends the process
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	cfg := loaded.Config
	log := p.logger(cfg.Log)
	n, err := openNode(ctx, cfg, purpose{archives: archiveLimits(cfg), lasting: true}, p.version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	n.live.follow(loaded, reread, hangup)
	if embeddedStore(cfg) {
		if err := p.firstKey(ctx, n.store); err != nil {
			return err
		}
	}
	if err := tellPermitted(ctx, cfg, n.store, log); err != nil {
		return err
	}
	// What it took to start, such as making the API's document, is several times
	// what is left of it.
	debug.FreeOSMemory()
	log.Info("serving", "version", p.version, "url", n.url(), "host", n.owner, "role", cfg.Server.Role,
		"database", kind(embeddedStore(cfg), "sqlite", "postgres"), "queue", kind(embeddedQueue(cfg), "in process", "redis"))
	err = n.run(ctx)
	log.Info("stopped")
	return err
}

func kind(embedded bool, yes, no string) string {
	if embedded {
		return yes
	}
	return no
}

// firstKey makes the first tenant of an empty store and prints its key.
func (p *program) firstKey(ctx context.Context, store host.Store) error {
	tenants, err := store.Tenants(ctx)
	if err != nil || len(tenants) > 0 {
		return err
	}
	secret, err := createTenantKey(ctx, store, "default", "first")
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Made tenant \"default\". Its API key, shown only this once:\n\n    %s\n\nMake more with: securetag key create --tenant default\n\n", secret)
	return nil
}

// createTenantKey makes the tenant of whoever runs this host, with one key.
func createTenantKey(ctx context.Context, store host.Store, tenant, name string) (secret string, err error) {
	// It is whose host this is, and may have scanned what they can reach.
	t := host.Tenant{ID: host.NewTenantID(), Name: tenant, Terms: host.Terms{Override: host.Override{Targets: &[]string{"*"}}}}
	if err := store.CreateTenant(ctx, t); err != nil {
		return "", err
	}
	secret, key := apikey.New()
	key.TenantID, key.Name = t.ID, name
	return secret, store.CreateKey(ctx, key)
}
