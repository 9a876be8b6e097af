package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) pluginVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [NAME]", Short: "Compare plugins with their pins, starting none",
		Long: `verify hashes the executable of each configured plugin, or the files of one for
an interpreter, and compares that with what is pinned. It starts nothing. The
exit code is 2 when one is another than the one that is pinned, or missing.`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		loaded, err := p.load(cmd)
		if err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(loaded.Config.Plugins))
		if len(a) == 1 {
			if err := havePlugin(loaded, a[0]); err != nil {
				return err
			}
			names = a
		}
		var out []verdict
		for _, name := range names {
			out = append(out, verify(name, loaded.Config.Plugins[name]))
		}
		return p.showVerdicts(out, *asJSON)
	}
	return cmd
}

// verdict is what verify found of one plugin.
type verdict struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, changed, missing; dev: it is not pinned
	SHA256 string `json:"sha256,omitempty"`
	Pinned string `json:"pinned,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func sourceOf(p config.Plugin) catalog.Source {
	return catalog.Source{Command: p.Command, Dir: p.Dir, Files: p.Files, SHA256: p.SHA256, Dev: p.Dev}
}

func verify(name string, block config.Plugin) verdict {
	v := verdict{Name: name, State: "ok", Pinned: block.SHA256}
	var err error
	v.SHA256, err = catalog.Sum(sourceOf(block))
	switch {
	case err != nil:
		v.State, v.Reason = "missing", err.Error()
	case block.Dev:
		v.State = "dev"
	case v.SHA256 != v.Pinned:
		v.State, v.Reason = "changed", "it is another than the one that is pinned, "+v.Pinned
	}
	return v
}

func (p *program) showVerdicts(all []verdict, asJSON bool) error {
	bad := errFailing(slices.ContainsFunc(all, func(v verdict) bool { return v.State == "missing" || v.State == "changed" }))
	if asJSON {
		return errors.Join(report.Document(p.stdout, map[string]any{"plugins": all}), bad)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSHA-256\tWHY")
	for _, v := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Name, v.State, cmp.Or(v.SHA256, "-"), safetext.Plain(cmp.Or(v.Reason, "-")))
	}
	return errors.Join(w.Flush(), bad)
}

func (p *program) pluginPinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin [NAME]", Short: "Write the hash of a plugin into the configuration file",
		Long: `pin hashes the executable of a plugin, or the files of one for an interpreter, and
writes the hash as sha256 into its block of the configuration file. Everything
else in the file stays as it is. Without a NAME it pins every plugin that has a
block there, but for those in development (dev = true).

Look at what you pin: from then on it runs.`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		opts := p.configOptions(cmd)
		opts.Unpinned = true
		loaded, err := config.Load(opts) // as it is: what comes with the program is not pinned here
		if err != nil {
			return err
		}
		done, err := pinAll(loaded, a)
		return errors.Join(p.showPinned(loaded.File, done, *asJSON), err)
	}
	return cmd
}

// pinning is what pin did to one plugin.
type pinning struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`
	Changed bool   `json:"changed"` // the file was written
}

// pinAll pins the named plugin, or all that can be.
func pinAll(loaded *config.Loaded, names []string) ([]pinning, error) {
	if loaded.File == "" {
		return nil, usageError{errors.New("there is no configuration file to write to: give it with --config")}
	}
	one := len(names) == 1
	if one {
		if err := havePlugin(loaded, names[0]); err != nil {
			return nil, err
		}
		if loaded.Config.Plugins[names[0]].Dev {
			return nil, usageError{fmt.Errorf("plugin %q is in development: take dev = true out of its block in %s, then pin it", names[0], loaded.File)}
		}
	} else {
		names = slices.Sorted(maps.Keys(loaded.Config.Plugins))
	}
	var done []pinning
	for _, name := range names {
		block := loaded.Config.Plugins[name]
		if block.Dev || !one && block.SHA256 == "" && !loaded.Declared(name) {
			continue
		}
		sum, err := catalog.Sum(sourceOf(block))
		if err != nil {
			return done, fmt.Errorf("pin %s: %w", name, err)
		}
		if !loaded.Declared(name) {
			return done, usageError{fmt.Errorf("plugin %q has no block in %s: it comes with securetag, which knows its hash", name, loaded.File)}
		}
		changed, err := config.Pin(loaded.FileOf(name), name, sum)
		if err != nil {
			return done, err
		}
		done = append(done, pinning{name, sum, changed})
	}
	return done, nil
}

func (p *program) showPinned(file string, done []pinning, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, map[string]any{"plugins": append([]pinning{}, done...)})
	}
	for _, d := range done {
		if d.Changed {
			fmt.Fprintf(p.stdout, "Pinned %s in %s: %s\n", d.Name, file, d.SHA256)
		} else {
			fmt.Fprintf(p.stdout, "%s was pinned already: %s\n", d.Name, d.SHA256)
		}
	}
	return nil
}
