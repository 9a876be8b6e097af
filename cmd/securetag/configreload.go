package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/login"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) configDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff [OLD NEW]",
		Short: "Say what a reload would change",
		Long: `diff asks a running host (--server, with an operator's key) what it would change
if it read its configuration again, and marks what waits for a restart. Nothing is
changed.

With OLD and NEW, files or directories, it compares these: each with the defaults
and the SECURETAG_* variables around it. The exit code is 0 whatever it finds.`,
		Args: args(cobra.MaximumNArgs(2)),
	}
	on := serverKey{kind: login.Operator}
	on.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		var r client.ConfigReload
		var err error
		switch len(a) {
		case 0:
			r, err = p.previewOf(cmd.Context(), on)
		case 2:
			r, err = p.compare(cmd, a[0], a[1])
		default:
			err = usageError{errors.New("give two files to compare, or none and --server")}
		}
		switch {
		case err != nil:
			return err
		case *asJSON:
			return report.Document(p.stdout, r)
		case len(r.Changes) == 0:
			fmt.Fprintln(p.stdout, "There is no difference.")
			return nil
		default:
			return writeChanges(p.stdout, r.Changes)
		}
	}
	return cmd
}

// compare loads two configurations.
func (p *program) compare(cmd *cobra.Command, before, after string) (client.ConfigReload, error) {
	r := client.ConfigReload{Changes: []client.ConfigChange{}, Plugins: []string{}}
	var both [2]*config.Loaded
	for i, path := range []string{before, after} {
		opts := p.configOptions(cmd)
		opts.Path = path
		loaded, err := p.loadWith(opts)
		if err != nil {
			return r, err
		}
		both[i] = loaded
	}
	for _, c := range wireChanges(both[0].Diff(both[1])) {
		r.Changes = append(r.Changes, client.ConfigChange(c))
		if c.Restart {
			r.Waiting++
		}
	}
	return r, nil
}

// writeChanges prints a line for each change.
func writeChanges(out io.Writer, changes []client.ConfigChange) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		mark := map[string]string{"added": "+", "removed": "-"}[c.Action]
		value := ""
		if c.Action == string(config.Changed) {
			value = c.Old + " -> " + c.New
		}
		if c.Old == c.New && value != "" { // both are hidden
			value = c.New + ", another"
		}
		note := c.Source
		if c.Restart {
			note = strings.TrimSuffix("needs a restart: "+c.Because, ": ") + ", " + c.Source
		}
		fmt.Fprintf(w, "%s %s\t%s\t# %s\n", cmp.Or(mark, "~"), safetext.Plain(c.Path), safetext.Plain(value), safetext.Plain(note))
	}
	return w.Flush()
}

func (p *program) configReloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make a running host read its configuration again",
		Long: `reload makes a running host read its configuration file again, as SIGHUP does. The
whole file is checked first: with a mistake in it nothing changes. What needs no
restart is taken all at once, and it is said what waits for one. Running jobs keep
the limits they started with.

It goes to one host, with an operator's key. Call it for each.`,
		Args: args(cobra.NoArgs),
	}
	on := serverKey{kind: login.Operator}
	on.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		r, err := c.Reload(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return report.Document(p.stdout, r)
		}
		if err := writeChanges(p.stdout, r.Changes); err != nil {
			return err
		}
		if len(r.Plugins) > 0 {
			fmt.Fprintf(p.stdout, "Plugins that begin anew: %s.\n", safetext.Plain(strings.Join(r.Plugins, ", ")))
		}
		fmt.Fprintln(p.stdout, reloaded(r))
		return nil
	}
	return cmd
}

// reloaded sums a reload up.
func reloaded(r client.ConfigReload) string {
	taken := len(r.Changes) - r.Waiting
	out := "Reloaded: no setting has changed."
	switch {
	case taken == 1:
		out = "Reloaded: 1 change is in force."
	case taken > 1:
		out = fmt.Sprintf("Reloaded: %d changes are in force.", taken)
	case r.Waiting > 0:
		out = "Reloaded: nothing has changed without a restart."
	}
	switch {
	case r.Waiting == 1:
		out += " 1 waits for a restart."
	case r.Waiting > 1:
		out += fmt.Sprintf(" %d wait for a restart.", r.Waiting)
	}
	return out
}
