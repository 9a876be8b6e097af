package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
)

func (p *program) scansCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "scans", Short: "Look at the scans on a server, cancel and delete them", Args: args(cobra.NoArgs),
		Long: `scans asks the server that --server or $` + envServer + ` names, as the tenant of the
key in --key or $` + envKey + `. To start one, see securetag scan.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(
		p.scansListCommand(),
		p.scansShowCommand(),
		p.scansWatchCommand(),
		p.scansCancelCommand(),
		p.scansDeleteCommand(),
	)
	return cmd
}

// serverKey says which server a verb asks, and with which key.
type serverKey struct{ server, key string }

func (r *serverKey) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.server, "server", "", "URL of the server (default $"+envServer+")")
	cmd.Flags().StringVar(&r.key, "key", "", "API key (default $"+envKey+")")
}

func (p *program) dial(r serverKey) (*client.Client, error) {
	server, key := first(r.server, p.getenv(envServer)), first(r.key, p.getenv(envKey))
	if server == "" || key == "" {
		return nil, usageError{fmt.Errorf("give --server and --key, or set %s and %s", envServer, envKey)}
	}
	c, err := client.New(server, key, client.Options{UserAgent: "securetag/" + p.version})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
