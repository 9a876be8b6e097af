package main

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// auditedVerbs are the last words of the commands that change something of
// tenants, keys, operators or the queue. Each leaves a line in the audit log.
func auditedVerbs() []string {
	return []string{"create", "update", "suspend", "resume", "delete", "rotate", "revoke", "requeue", "drop", "pause", "drain"}
}

// withAudited runs f on the configured store, and adds to the audit log what a
// command that changes something did, or tried to.
func (p *program) withAudited(cmd *cobra.Command, cfg config.Config, f func(host.Store) error) error {
	return withStore(cmd.Context(), cfg, func(s host.Store) error {
		err := f(s)
		if !slices.Contains(auditedVerbs(), cmd.Name()) {
			return err
		}
		l := host.AuditLine{ID: host.NewAuditID(), Actor: host.ActorCommand, Name: systemUser(),
			Action: strings.TrimPrefix(cmd.CommandPath(), "securetag "), Target: auditTarget(cmd), Outcome: "done"}
		if err != nil {
			l.Outcome = "failed"
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), 10*time.Second)
		defer cancel()
		if aerr := s.AppendAudit(ctx, []host.AuditLine{l}); aerr != nil {
			fmt.Fprintf(p.stderr, "Note: this is missing in the audit log: %v\n", aerr)
		}
		return err
	})
}

// auditTarget is what a command was given, with its flags. None takes a secret.
func auditTarget(cmd *cobra.Command) string {
	words := slices.Clone(cmd.Flags().Args())
	for _, name := range []string{"tenant", "name", "plugin", "scan-type", "plan", "reason", "overlap", "scopes"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			words = append(words, "--"+name+"="+f.Value.String())
		}
	}
	return safetext.Plain(strings.Join(words, " "))
}

func systemUser() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return cmp.Or(u.Username, u.Uid)
}

func (p *program) auditCommand() *cobra.Command {
	var q host.AuditQuery
	var after string
	var asJSON *bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Show what operators did and who was refused, newest first",
		Long: `audit shows the audit log: what was done below /admin of the API and by this
command line, what tenants did to their keys and webhooks and which scans they
deleted, and whose keys were refused (those of an address within a minute are one
line). Lines are never changed, and kept for a year.`,
		Example: `  securetag audit --actor address
  securetag audit --action "key create" --limit 20`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if after != "" {
				id, err := host.ParseID[host.AuditID](after)
				if err != nil {
					return usageError{fmt.Errorf("--after %q: give the id of a line, from the first column", after)}
				}
				q.After = id
			}
			return p.onStore(cmd, func(s host.Store) error { return p.showAudit(cmd.Context(), s, q, *asJSON) })
		},
	}
	cmd.Flags().StringVar(&q.Actor, "actor", "", "only of these: operator, key (a tenant's), command or address")
	cmd.Flags().StringVar(&q.Action, "action", "", "only this: the operation's id in the API, or the command")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "how many lines, at most 1000")
	cmd.Flags().StringVar(&after, "after", "", "go on behind the line with this id")
	asJSON = jsonFlag(cmd)
	return cmd
}

func (p *program) showAudit(ctx context.Context, s host.Store, q host.AuditQuery, asJSON bool) error {
	lines, err := s.Audit(ctx, q)
	if err != nil {
		return err
	}
	if asJSON {
		return printItems(p, lines, api.AuditLineOf)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAT\tACTOR\tNAME\tACTION\tOUTCOME\tTIMES\tSOURCE\tTARGET")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.At.Format(time.DateTime), l.Actor, cmp.Or(safetext.Plain(l.Name), "-"),
			safetext.Plain(l.Action), safetext.Plain(l.Outcome), l.Times, cmp.Or(safetext.Plain(l.Source), "-"), cmp.Or(safetext.Plain(l.Target), "-"))
	}
	return w.Flush()
}
