package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) targetsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "targets", Short: "Prove that hosts are yours, to have them scanned", Args: args(cobra.NoArgs),
		Long: `targets manages the hosts that you may have scanned by URL. A host is proved to be
yours by a token that only whoever governs it can publish: as a TXT record, or as
a file on its web server. What the operator permits needs no proof.`,
		Example: `  securetag targets add shop.example.com
  securetag targets verify 01a20a02-e69c-79fb-a4ea-6cc5deb3dce9`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(p.targetsListCommand(), p.targetsAddCommand(), p.targetsShowCommand(), p.targetsVerifyCommand(), p.targetsDeleteCommand())
	return cmd
}

// onTarget explains that there is no such target.
func onTarget(id string, err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return usageError{fmt.Errorf("there is no target %q: securetag targets list shows the ids", id)}
	}
	return err
}

func (p *program) targetsListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the targets", Args: args(cobra.NoArgs)}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, _ []string, asJSON bool) error {
		all, err := c.Targets(ctx)
		switch {
		case err != nil:
			return err
		case asJSON:
			return report.Document(p.stdout, client.Page[client.Target]{Items: append([]client.Target{}, all...)})
		case len(all) == 0:
			fmt.Fprintln(p.stdout, "There are no targets.")
			return nil
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tHOST\tSTATE\tCHECKED")
		for _, t := range all {
			checked := "-"
			if t.CheckedAt != nil {
				checked = stamp(*t.CheckedAt, "-")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", safetext.Plain(t.ID), safetext.Plain(t.Host), targetState(t), checked)
		}
		return w.Flush()
	})
}

func targetState(t client.Target) string {
	switch {
	case t.Proven && t.ExpiresAt != nil:
		return "proven by " + targetProof(t) + " until " + stamp(*t.ExpiresAt, "-")
	case t.Proof != "":
		return "proof expired"
	}
	return "not proven"
}

func targetProof(t client.Target) string {
	if t.Proof == "dns" {
		return "DNS"
	}
	return "file"
}

func writeTarget(out io.Writer, t client.Target) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Target\t%s\nHost\t%s\nState\t%s\n", safetext.Plain(t.ID), safetext.Plain(t.Host), targetState(t))
	if t.Problem != "" {
		fmt.Fprintf(w, "Last check\t%s\n", safetext.Plain(t.Problem))
	}
	if t.Proof == "" {
		fmt.Fprintf(w, "Publish\t%s\nas TXT of\t%s\nor as\t%s\n", safetext.Plain(t.Token), safetext.Plain(t.DNS.Name), safetext.Plain(t.File.URL))
	}
	return w.Flush()
}

func (p *program) printTarget(t client.Target, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, t)
	}
	return writeTarget(p.stdout, t)
}

func (p *program) targetsAddCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "add HOST", Short: "Say that a host is yours and print what to publish", Args: args(cobra.ExactArgs(1)),
		Long: `add registers a host and prints a token. Publish it in one of the two places that
are printed with it, then run securetag targets verify. The TXT record covers
every port of the host and every name below it; the file the ports 80 and 443, or
the one port that HOST names.`}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		t, err := c.CreateTarget(ctx, a[0])
		if err != nil {
			return err
		}
		return p.printTarget(t, asJSON)
	})
}

func (p *program) targetsShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a target and how its proof stands", Args: args(cobra.ExactArgs(1))}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		t, err := c.Target(ctx, a[0])
		if err != nil {
			return onTarget(a[0], err)
		}
		return p.printTarget(t, asJSON)
	})
}

func (p *program) targetsVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "verify ID", Short: "Look for a target's token now", Args: args(cobra.ExactArgs(1)),
		Long: `verify looks for the token where it may have been published. The exit code is 1 when
the target is not proven then.`}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		t, err := c.VerifyTarget(ctx, a[0])
		if err != nil {
			return onTarget(a[0], err)
		}
		if err := p.printTarget(t, asJSON); err != nil {
			return err
		}
		if !t.Proven {
			return &exitError{code: report.ExitFindings}
		}
		return nil
	})
}

func (p *program) targetsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID", Short: "Remove a target, and its proof with it", Args: args(cobra.ExactArgs(1))}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		if err := c.DeleteTarget(ctx, a[0]); err != nil {
			return onTarget(a[0], err)
		}
		if !asJSON {
			fmt.Fprintf(p.stdout, "Removed target %s.\n", safetext.Plain(a[0]))
		}
		return nil
	})
}
