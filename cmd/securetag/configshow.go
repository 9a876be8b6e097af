package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mitchellh/go-wordwrap"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [PATH]...",
		Short: "Say what every setting is, and where that comes from",
		Long: `show prints the value of every setting and where it comes from: the default, a
line of the file, a variable. Secrets are not shown. With a PATH, such as limits
or plugin.secrets, only what is below it.

With --server it prints what is in force on a running host, which may be older
than the file.`,
	}
	on := serverKey{kind: login.Operator}
	on.flags(cmd)
	cmd.Flags().Lookup("server").Usage = "URL of a running host to ask instead of the configuration"
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		settings, err := p.settings(cmd, on)
		if err != nil {
			return err
		}
		if settings, err = below(settings, paths); err != nil {
			return err
		}
		if *asJSON {
			return report.Document(p.stdout, client.Page[client.Setting]{Items: settings})
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, s := range settings {
			fmt.Fprintf(w, "%s\t= %s\t# %s\n", safetext.Plain(s.Path), safetext.Plain(s.Value), safetext.Plain(s.Source))
		}
		return w.Flush()
	}
	return cmd
}

// settings are those of a running host, or of the configuration.
func (p *program) settings(cmd *cobra.Command, on serverKey) ([]client.Setting, error) {
	if on.server != "" {
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return nil, err
		}
		return c.Settings(cmd.Context())
	}
	loaded, err := p.load(cmd)
	if err != nil {
		return nil, err
	}
	var out []client.Setting
	for _, s := range loaded.Settings() {
		out = append(out, client.Setting(s))
	}
	return out, nil
}

// below keeps the settings below one of the paths; each must have some.
func below(all []client.Setting, paths []string) ([]client.Setting, error) {
	if len(paths) == 0 {
		return all, nil
	}
	under := func(s client.Setting, path string) bool { return s.Path == path || strings.HasPrefix(s.Path, path+".") }
	for _, path := range paths {
		if slices.ContainsFunc(all, func(s client.Setting) bool { return under(s, path) }) {
			continue
		}
		if _, err := config.Explain(path); err != nil {
			return nil, usageError{err}
		}
		return nil, usageError{fmt.Errorf("nothing is set at %q: no block has this name", path)}
	}
	return slices.DeleteFunc(all, func(s client.Setting) bool {
		return !slices.ContainsFunc(paths, func(path string) bool { return under(s, path) })
	}), nil
}

func (p *program) configExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain PATH",
		Short: "Say what a setting is, and what it takes",
		Long: `explain says what a setting means, what it takes, its default, its variable, and
whether a running host takes a change. PATH is that of a setting, such as
limits.entries or plugin.secrets.limits.memory, of a block, or a variable. It
needs no file.`,
		Args: args(cobra.ExactArgs(1)),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, a []string) error {
		refs, err := config.Explain(a[0])
		if err != nil {
			return usageError{err}
		}
		if *asJSON {
			return report.Document(p.stdout, map[string]any{"settings": refs})
		}
		return p.explain(refs)
	}
	return cmd
}

func (p *program) explain(refs []config.Reference) error {
	r := refs[0]
	doc := strings.ReplaceAll(wordwrap.WrapString(r.Doc, 76), "\n", "\n  ")
	fmt.Fprintf(p.stdout, "%s\n\n  %s\n\n", r.Path, doc)
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	if r.Block {
		if r.Reload == "restart" {
			fmt.Fprintf(w, "  A block that is new, or gone, waits for a restart of a running host.\n\n")
		}
		for _, c := range refs[1:] {
			fmt.Fprintf(w, "  %s\t%s\n", c.Path, first(c.Type, "block"))
		}
		return w.Flush()
	}
	change := "a running host takes it with a reload"
	if r.Reload == "restart" {
		change = "waits for a restart of a running host"
	}
	for _, row := range [][2]string{
		{"type", r.Type}, {"takes", r.Allowed}, {"units", r.Unit}, {"default", r.Default}, {"example", r.Example}, {"variable", r.Env}, {"a change", change},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	}
	if r.Sensitive {
		fmt.Fprintf(w, "  secret\tits value is never shown: give it as env(\"NAME\") or trimspace(file(\"PATH\"))\n")
	}
	return w.Flush()
}

func (p *program) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print every setting and block as JSON, for editors and other tools",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			enc := json.NewEncoder(p.stdout)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(config.Schema())
		},
	}
}

// previewOf says what a reload of a running host would change.
func (p *program) previewOf(ctx context.Context, on serverKey) (client.ConfigReload, error) {
	c, err := p.dial(ctx, on)
	if err != nil {
		return client.ConfigReload{}, err
	}
	return c.PreviewReload(ctx)
}
