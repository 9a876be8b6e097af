package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) pluginReloadCommand() *cobra.Command {
	on := serverKey{kind: login.Operator}
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
	on.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return p.reloadPlugins(cmd.Context(), append(a, "")[0], on, *asJSON)
	}
	return cmd
}

// reloadPlugins reloads one plugin, or with "" all.
func (p *program) reloadPlugins(ctx context.Context, name string, on serverKey, asJSON bool) error {
	c, err := p.dial(ctx, on)
	if err != nil {
		return err
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
