package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Write, check, explain and reload the configuration", Args: args(cobra.NoArgs),
		Long: `What SecureTag does is set in a file (securetag.hcl), in SECURETAG_* variables and
on the command line. It needs none of them.

  securetag config init      writes a file to begin with
  securetag config check     reports every mistake at once
  securetag config show      says what is in force, and where it comes from
  securetag config explain   says what a setting is
  securetag config diff      says what a reload would change
  securetag config reload    makes a running host read it again, as SIGHUP does`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(p.configInitCommand(), p.configCheckCommand(), p.configShowCommand(), p.configExplainCommand(),
		p.configSchemaCommand(), p.configDiffCommand(), p.configReloadCommand())
	return cmd
}

func (p *program) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE|DIRECTORY]",
		Short: "Report every mistake in a configuration",
		Long: `check reads the configuration as serve would (file, SECURETAG_* variables,
defaults) and reports every mistake at once with its place. It looks for the files
and directories that plugins may read on this machine. It starts nothing: the
settings of a plugin are checked when a host has started it before. The exit code
is 2 when there is a mistake.`,
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
			fmt.Fprintf(p.stdout, "The configuration is valid (%s).\n", cmp.Or(loaded.File, "no file: built-in defaults"))
			return nil
		},
	}
}

// present says why a path is not there.
func present(path string) error {
	_, err := os.Stat(path)
	return errors.Unwrap(err) // the caller names the path
}

// checkSettings holds the config blocks of plugins against what is remembered
// of each. Nothing is started, so nothing is confined.
func (p *program) checkSettings(loaded *config.Loaded) (err error) {
	if _, err := os.Stat(describeDir(loaded.Config)); err != nil {
		return nil //nolint:nilerr // nothing is remembered, and a look makes no data directory
	}
	run, err := os.MkdirTemp("", "securetag-check-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(run)) }()
	e, err := executor.New(executorConfig(loaded.Config, run, p.version), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	var found []config.SettingMistake
	for _, name := range slices.Sorted(maps.Keys(loaded.Config.Plugins)) {
		for _, m := range e.CheckSettings(name) {
			found = append(found, config.SettingMistake{Plugin: name, Setting: m.Setting, Text: m.Text})
		}
	}
	if len(found) == 0 {
		return nil
	}
	return loaded.Mistakes(found)
}
