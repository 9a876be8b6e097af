package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check the configuration", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and print what is in force",
		Long: `check reads the configuration as serve would (file, SECURETAG_* variables,
defaults), reports every mistake at once with its place, and otherwise prints
every setting and where it comes from. Secrets are not shown. It looks for the
files and directories that plugins may read on this machine. It starts nothing:
the settings of a plugin are checked when a host has started it before.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if len(a) == 1 {
				p.configPath = a[0]
			}
			opts := p.configOptions(cmd)
			opts.Present = present
			loaded, err := p.loadWith(opts)
			if err != nil {
				return err
			}
			if err := p.checkSettings(loaded); err != nil {
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

// present says why a path is not there.
func present(path string) error {
	_, err := os.Stat(path)
	return errors.Unwrap(err) // the caller names the path
}

// checkSettings holds the config blocks of plugins against what is remembered
// of each.
func (p *program) checkSettings(loaded *config.Loaded) error {
	var found []config.SettingMistake
	err := p.onExecutor(loaded.Config, func(e *executor.Executor) error {
		for _, name := range slices.Sorted(maps.Keys(loaded.Config.Plugins)) {
			for _, m := range e.CheckSettings(name) {
				found = append(found, config.SettingMistake{Plugin: name, Setting: m.Setting, Text: m.Text})
			}
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	return loaded.Mistakes(found)
}
