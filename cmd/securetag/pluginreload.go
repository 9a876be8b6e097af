package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) pluginReloadCommand() *cobra.Command {
	var server, key string
	cmd := &cobra.Command{
		Use: "reload [NAME]", Short: "Make a running host take the plugins' configuration and files anew",
		Long: `reload makes a running host read its configuration file again and take what that
says of plugins; the rest of the file it leaves alone. A plugin whose block or
files changed, or that does not start, begins anew: new jobs get new processes,
running ones keep theirs. Plugins that are new or gone need a restart.

With NAME it is that plugin alone.

It goes to one host, with an operator's key. Call it for each.`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().StringVar(&server, "server", "", "URL of the host (default $"+envServer+")")
	cmd.Flags().StringVar(&key, "key", "", "operator's key (default $"+envKey+")")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return p.reloadPlugins(cmd.Context(), append(a, "")[0], first(server, p.getenv(envServer)), first(key, p.getenv(envKey)), *asJSON)
	}
	return cmd
}

// reloadPlugins reloads one plugin, or with "" all.
func (p *program) reloadPlugins(ctx context.Context, name, server, key string, asJSON bool) error {
	if server == "" || key == "" {
		return usageError{errors.New("give --server and --key, an operator's: securetag operator create makes one")}
	}
	c, err := client.New(server, key, client.Options{UserAgent: "securetag/" + p.version})
	if err != nil {
		return usageError{err}
	}
	var r client.Reload
	if name == "" {
		r, err = c.ReloadPlugins(ctx)
	} else {
		r, err = c.ReloadPlugin(ctx, name)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return report.Document(p.stdout, r)
	}
	switch {
	case len(r.Reloaded) > 0:
		fmt.Fprintf(p.stdout, "Reloaded %s.\n", safetext.Plain(strings.Join(r.Reloaded, ", ")))
	default:
		fmt.Fprintln(p.stdout, "Nothing has changed.")
	}
	if len(r.Restart) > 0 {
		fmt.Fprintf(p.stdout, "New or gone, so the host must be restarted for it: %s.\n", safetext.Plain(strings.Join(r.Restart, ", ")))
	}
	return nil
}
