package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check the configuration", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and print what is in force",
		Long: `check reads the configuration as serve would (file, SECURETAG_* variables,
defaults), reports every mistake at once with its place, and otherwise prints
every setting and where it comes from. Secrets are not shown.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if len(a) == 1 {
				p.configPath = a[0]
			}
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			if err := loaded.Show(p.stdout); err != nil {
				return err
			}
			name := loaded.File
			if name == "" {
				name = "no file: built-in defaults"
			}
			fmt.Fprintf(p.stderr, "The configuration is valid (%s).\n", name)
			return nil
		},
	})
	return cmd
}
