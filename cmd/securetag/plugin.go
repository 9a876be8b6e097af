package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
)

func (p *program) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Look at the configured plugins", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "Start each configured plugin and say what it is",
		Long: "list starts each configured plugin once, asks it what it is, and says why when\nit does not answer. The exit code is 2 when one does not.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			return p.listPlugins(cmd.Context(), loaded.Config)
		},
	})
	return cmd
}

func (p *program) listPlugins(ctx context.Context, cfg config.Config) (err error) {
	log := hclog.New(&hclog.LoggerOptions{Name: "securetag", Level: hclog.Off, Output: p.stderr})
	dir, err := os.MkdirTemp("", "securetag-list-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in := confinement{sandbox: openSandbox(log)}
	defer in.sandbox.Close()
	e, err := openExecutor(cfg, dir, p.version, log, in)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tSTATE\tRULES\tISOLATION\tWHAT IT IS")
	failing := false
	for _, s := range e.Check(ctx) {
		version, rules, what := "-", "-", s.Reason
		if s.Info != nil {
			version, rules, what = s.Info.Version, fmt.Sprint(len(s.Info.Rules)), s.Info.Description
		}
		failing = failing || s.State == executor.StateFailing
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, version, s.State, rules, s.Isolation, report.Plain(what))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failing {
		return &exitError{code: report.ExitUsage}
	}
	return nil
}
