package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhooks", Short: "Be told by the server when scans end", Args: args(cobra.NoArgs),
		Long: `webhooks manages the addresses that the server tells when your scans end. It needs a
key with the scope webhook:write.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, c := range []*cobra.Command{
		p.webhooksListCommand(), p.webhooksCreateCommand(), p.webhooksShowCommand(), p.webhooksUpdateCommand(), p.webhooksDeleteCommand(),
		p.webhooksRotateCommand(), p.webhooksTestCommand(), p.webhooksDeliveriesCommand(), p.webhooksReplayCommand(),
	} {
		cmd.AddCommand(c)
	}
	return cmd
}

// hookCommand adds the common flags, and makes cmd run f with a client.
func (p *program) hookCommand(cmd *cobra.Command, f func(ctx context.Context, c *client.Client, a []string, asJSON bool) error) *cobra.Command {
	var on serverKey
	on.flags(cmd)
	inJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, a, *inJSON)
	}
	return cmd
}

// onHook explains that there is no such webhook.
func onHook(id string, err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return usageError{fmt.Errorf("there is no webhook %q: securetag webhooks list shows the ids", id)}
	}
	return err
}

func (p *program) webhooksListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the webhooks", Args: args(cobra.NoArgs)}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, _ []string, asJSON bool) error {
		all, err := c.Webhooks(ctx)
		switch {
		case err != nil:
			return err
		case asJSON:
			return report.Document(p.stdout, client.Page[client.Webhook]{Items: append([]client.Webhook{}, all...)})
		case len(all) == 0:
			fmt.Fprintln(p.stdout, "There are no webhooks.")
			return nil
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tURL\tPROJECT\tEVENTS\tSTATE")
		for _, h := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.ID, safetext.Plain(h.URL), safetext.Plain(first(h.Project, "all")), hookEvents(h.Events), hookState(h))
		}
		return w.Flush()
	})
}

// hookEvents are short where they are all.
func hookEvents(events []string) string {
	if len(events) == len(host.WebhookEvents()) {
		return "all"
	}
	return safetext.Plain(strings.Join(events, " "))
}

func hookState(h client.Webhook) string {
	switch {
	case !h.Enabled:
		return "disabled: " + safetext.Plain(h.DisabledReason)
	case h.FailingSince != nil:
		return "failing since " + stamp(*h.FailingSince, "-")
	default:
		return "enabled"
	}
}

func writeHook(out io.Writer, h client.Webhook) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Webhook\t%s\nURL\t%s\nProject\t%s\nEvents\t%s\nState\t%s\nCreated\t%s\n",
		h.ID, safetext.Plain(h.URL), safetext.Plain(first(h.Project, "all")), hookEvents(h.Events), hookState(h), stamp(h.CreatedAt, "-"))
	if h.OldSecretUntil != nil {
		fmt.Fprintf(w, "Old secret\tcounts until %s\n", stamp(*h.OldSecretUntil, "-"))
	}
	return w.Flush()
}

func (p *program) webhooksCreateCommand() *cobra.Command {
	var in client.WebhookRequest
	cmd := &cobra.Command{
		Use: "create URL", Short: "Make a webhook and print its secret, once", Args: args(cobra.ExactArgs(1)),
		Example: "  securetag webhooks create https://ci.example.com/hooks --project shop --event scan.failed --event scan.partial",
	}
	cmd.Flags().StringVar(&in.Project, "project", "", "only of the scans of this project (default: of all)")
	cmd.Flags().StringSliceVar(&in.Events, "event", nil, "what to be told of: "+oneOf(host.WebhookEvents())+" (default: all)")
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		in.URL = a[0]
		h, err := c.CreateWebhook(ctx, in)
		if err != nil {
			return err
		}
		return p.printSecret(h, asJSON)
	})
}

// printSecret prints the secret by itself, for programs, and the words around it
// elsewhere.
func (p *program) printSecret(h client.NewWebhook, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, h)
	}
	fmt.Fprintln(p.stdout, safetext.Plain(h.Secret))
	fmt.Fprintf(p.stderr, "The secret of webhook %s. It is shown only this once.\n", safetext.Plain(h.ID))
	if h.OldSecretUntil != nil {
		fmt.Fprintf(p.stderr, "The old one counts until %s.\n", stamp(*h.OldSecretUntil, "-"))
	}
	return nil
}

func (p *program) webhooksShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a webhook and how it does", Args: args(cobra.ExactArgs(1))}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		h, err := c.Webhook(ctx, a[0])
		if err != nil {
			return onHook(a[0], err)
		}
		return p.printHook(h, asJSON)
	})
}

func (p *program) printHook(h client.Webhook, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, h)
	}
	return writeHook(p.stdout, h)
}

func (p *program) webhooksUpdateCommand() *cobra.Command {
	var url, project string
	var events []string
	var enable, disable bool
	cmd := &cobra.Command{Use: "update ID", Short: "Change, disable or enable a webhook", Args: args(cobra.ExactArgs(1)),
		Example: "  securetag webhooks update 01a20a02-7914-7be9-bd21-46768b2e29c6 --enable"}
	fl := cmd.Flags()
	fl.StringVar(&url, "url", "", "where to send from now on")
	fl.StringVar(&project, "project", "", `only of the scans of this project; "": of all`)
	fl.StringSliceVar(&events, "event", nil, "what to be told of from now on, and of nothing else")
	fl.BoolVar(&enable, "enable", false, "send again, also when the server disabled it")
	fl.BoolVar(&disable, "disable", false, "send nothing; what waits has failed")
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		change := client.WebhookChange{Events: events}
		if fl.Changed("url") {
			change.URL = &url
		}
		if fl.Changed("project") {
			change.Project = &project
		}
		if enable && disable {
			return usageError{errors.New("give --enable or --disable, not both")}
		}
		if enable || disable {
			change.Enabled = &enable
		}
		h, err := c.UpdateWebhook(ctx, a[0], 0, change) // what no flag names stays, whoever set it
		if err != nil {
			return onHook(a[0], err)
		}
		return p.printHook(h, asJSON)
	})
}

func (p *program) webhooksDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID", Short: "Remove a webhook with its deliveries", Args: args(cobra.ExactArgs(1))}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		if err := c.DeleteWebhook(ctx, a[0]); err != nil {
			return onHook(a[0], err)
		}
		if asJSON {
			return report.Document(p.stdout, map[string]string{"deleted": a[0]})
		}
		fmt.Fprintf(p.stdout, "Deleted webhook %s.\n", safetext.Plain(a[0]))
		return nil
	})
}

func (p *program) webhooksRotateCommand() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{Use: "rotate ID", Short: "Replace the secret of a webhook and print the new one, once", Args: args(cobra.ExactArgs(1))}
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long messages are signed with the old secret, too")
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		if overlap < 0 {
			return usageError{fmt.Errorf("--overlap %v: it cannot be less than nothing", overlap)}
		}
		h, err := c.RotateWebhook(ctx, a[0], overlap)
		if err != nil {
			return onHook(a[0], err)
		}
		return p.printSecret(h, asJSON)
	})
}

func (p *program) webhooksTestCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "test ID", Short: "Send a message of the type webhook.test", Args: args(cobra.ExactArgs(1)),
		Long: `test sends a message as any other, and does not wait for what comes of it:
securetag webhooks deliveries shows that.`}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		d, err := c.TestWebhook(ctx, a[0])
		if err != nil {
			return onHook(a[0], err)
		}
		return p.printQueued(d, asJSON)
	})
}

func (p *program) printQueued(d client.Delivery, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, d)
	}
	fmt.Fprintf(p.stdout, "Sending %s %s: see securetag webhooks deliveries %s.\n", safetext.Plain(d.Event), safetext.Plain(d.ID), safetext.Plain(d.WebhookID))
	return nil
}

func (p *program) webhooksReplayCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "replay ID DELIVERY", Short: "Send a message again", Args: args(cobra.ExactArgs(2)),
		Long: `replay sends a message again, with the same webhook-id and body, as if it had never
been tried.`}
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		d, err := c.ReplayDelivery(ctx, a[0], a[1])
		var refused *client.Error
		if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
			return usageError{fmt.Errorf("there is no webhook %q, or it has no delivery %q: securetag webhooks deliveries shows them", a[0], a[1])}
		}
		if err != nil {
			return err
		}
		return p.printQueued(d, asJSON)
	})
}

func (p *program) webhooksDeliveriesCommand() *cobra.Command {
	q := client.DeliveryQuery{}
	cmd := &cobra.Command{Use: "deliveries ID", Short: "List what was sent to a webhook, newest first", Args: args(cobra.ExactArgs(1))}
	cmd.Flags().StringVar(&q.State, "state", "", "only those that are pending, delivered or failed")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "how many, at most 200")
	return p.hookCommand(cmd, func(ctx context.Context, c *client.Client, a []string, asJSON bool) error {
		if q.Limit < 1 || q.Limit > 200 {
			return usageError{fmt.Errorf("--limit %d: use 1 to 200", q.Limit)}
		}
		page, err := c.Deliveries(ctx, a[0], q)
		switch {
		case err != nil:
			return onHook(a[0], err)
		case asJSON:
			return report.Document(p.stdout, client.Page[client.Delivery]{Items: page.Items})
		case len(page.Items) == 0:
			fmt.Fprintln(p.stdout, "There are no such deliveries.")
			return nil
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tEVENT\tSCAN\tCREATED\tSTATE\tATTEMPTS\tSTATUS\tERROR")
		for _, d := range page.Items {
			status := "-"
			if d.Status != 0 {
				status = fmt.Sprint(d.Status)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", d.ID, safetext.Plain(d.Event), first(d.ScanID, "-"), stamp(d.CreatedAt, "-"), deliveryState(d), d.Attempts,
				status, safetext.Plain(first(d.Error, "-")))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if page.NextPageToken != "" {
			fmt.Fprintf(p.stderr, "There are more: these are the newest %d. See --limit and --state.\n", len(page.Items))
		}
		return nil
	})
}

func deliveryState(d client.Delivery) string {
	if d.State == "pending" && d.Attempts > 0 && d.NextAttemptAt != nil {
		return "again at " + stamp(*d.NextAttemptAt, "-")
	}
	return safetext.Plain(d.State)
}
