package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Look at the configured plugins, pin them, and try others", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(
		p.pluginListCommand(), p.pluginInfoCommand(), p.pluginSchemaCommand(), p.pluginVerifyCommand(), p.pluginPinCommand(),
		p.pluginReloadCommand(), p.pluginTestCommand(), p.pluginRunCommand(), p.pluginNewCommand(),
	)
	return cmd
}

func (p *program) pluginListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Start each configured plugin and say what it is",
		Long: "list starts each configured plugin once, asks it what it is, and says why when\nit does not answer. The exit code is 2 when one does not.",
		Args: args(cobra.NoArgs),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := p.load(cmd)
		if err != nil {
			return err
		}
		return p.onExecutor(loaded.Config, func(e *executor.Executor) error { return p.listPlugins(cmd.Context(), e, *asJSON) })
	}
	return cmd
}

func (p *program) pluginInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Start a plugin and say all there is to know of it",
		Long: "info starts a plugin once and says all there is to know of it. The exit code is\n2 when it does not answer.",
		Args: args(cobra.ExactArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		loaded, err := p.loadPlugin(cmd, a[0])
		if err != nil {
			return err
		}
		return p.onExecutor(loaded.Config, func(e *executor.Executor) error {
			return p.showPlugin(loaded.Config.Plugins[a[0]], e.CheckOne(cmd.Context(), a[0]), *asJSON)
		})
	}
	return cmd
}

func (p *program) pluginSchemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema NAME", Short: "Say which settings a plugin takes in its config block",
		Long: "schema says which settings a plugin takes in its config block. It starts the\nplugin when the host does not remember it.",
		Args: args(cobra.ExactArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		loaded, err := p.loadPlugin(cmd, a[0])
		if err != nil {
			return err
		}
		// What is asked for is how to write the block, which may be wrong as yet.
		block := loaded.Config.Plugins[a[0]]
		block.Config = nil
		loaded.Config.Plugins[a[0]] = block
		return p.onExecutor(loaded.Config, func(e *executor.Executor) error { return p.showSchema(cmd.Context(), e, a[0], *asJSON) })
	}
	return cmd
}

// loadPlugin loads a configuration that has a plugin of that name.
func (p *program) loadPlugin(cmd *cobra.Command, name string) (*config.Loaded, error) {
	loaded, err := p.load(cmd)
	if err != nil {
		return nil, err
	}
	return loaded, havePlugin(loaded, name)
}

func havePlugin(loaded *config.Loaded, name string) error {
	if _, ok := loaded.Config.Plugins[name]; ok {
		return nil
	}
	known := slices.Sorted(maps.Keys(loaded.Config.Plugins))
	return usageError{fmt.Errorf("there is no plugin %q in %s: there is %s", name, cmp.Or(loaded.File, "the built-in defaults"), strings.Join(known, ", "))}
}

// onExecutor calls f with an executor that is not served.
func (p *program) onExecutor(cfg config.Config, f func(*executor.Executor) error) (err error) {
	log := hclog.New(&hclog.LoggerOptions{Name: "securetag", Level: hclog.Off, Output: p.stderr})
	dir, err := os.MkdirTemp("", "securetag-list-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in := confinement{sandbox: openSandbox(log)}
	defer in.sandbox.Close()
	ec := executorConfig(cfg, dir, p.version)
	if err := in.apply(&ec, cfg); err != nil {
		return err
	}
	if _, err := os.Stat(cfg.DataDir); err != nil {
		ec.DescribeDir = "" // a look at the plugins makes no data directory
	}
	e, err := executor.New(ec, log)
	if err != nil {
		return err
	}
	return f(e)
}

// errFailing is the exit code of verbs that found a plugin wanting.
func errFailing(failing bool) error {
	if failing {
		return &exitError{code: report.ExitUsage}
	}
	return nil
}

// pluginView is a plugin as JSON.
type pluginView struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Reason      string     `json:"reason,omitempty"`
	Version     string     `json:"version,omitempty"`
	Description string     `json:"description,omitempty"`
	Vendor      string     `json:"vendor,omitempty"`
	License     string     `json:"license,omitempty"`
	SDK         string     `json:"sdk,omitempty"`
	Inputs      []string   `json:"inputs,omitempty"`
	Rules       []ruleView `json:"rules,omitempty"`
	RuleCount   int        `json:"rule_count"`
	Concurrency int        `json:"max_concurrent_scans,omitempty"`
	Isolation   string     `json:"isolation"`
	Containment string     `json:"containment,omitempty"`
	Missing     []string   `json:"missing,omitempty"`
	SHA256      string     `json:"sha256,omitempty"` // none in development
}

type ruleView struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Severity string `json:"severity"`
}

func viewPlugin(s executor.PluginStatus) pluginView {
	v := pluginView{
		Name: s.Name, State: string(s.State), Reason: s.Reason, Isolation: string(s.Isolation), Containment: s.Containment, Missing: s.Missing,
		SHA256: s.SHA256,
	}
	if i := s.Info; i != nil {
		v.Version, v.Description, v.Vendor, v.License, v.SDK = i.Version, i.Description, i.Vendor, i.License, i.SDK
		v.RuleCount, v.Concurrency = len(i.Rules), i.Concurrency
		for _, in := range i.Inputs {
			v.Inputs = append(v.Inputs, string(in))
		}
	}
	return v
}

func (p *program) listPlugins(ctx context.Context, e *executor.Executor, asJSON bool) error {
	checked := e.Check(ctx)
	failing := slices.ContainsFunc(checked, func(s executor.PluginStatus) bool { return s.State == executor.StateFailing })
	if asJSON {
		views := make([]pluginView, len(checked))
		for i, s := range checked {
			views[i] = viewPlugin(s)
		}
		return errors.Join(report.Document(p.stdout, map[string]any{"plugins": views}), errFailing(failing))
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tSTATE\tRULES\tISOLATION\tWHAT IT IS")
	for _, s := range checked {
		version, rules, what := "-", "-", s.Reason
		if s.Info != nil {
			version, rules = s.Info.Version, fmt.Sprint(len(s.Info.Rules))
			what = cmp.Or(what, s.Info.Description)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, version, s.State, rules, s.Isolation, safetext.Plain(what))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return errFailing(failing)
}
