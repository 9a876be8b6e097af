package main

import (
	"github.com/spf13/cobra"
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
