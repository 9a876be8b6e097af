package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) findingsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "findings", Short: "List a project's findings, and say what they are", Args: args(cobra.NoArgs),
		Long: `findings shows what the scans of a project found, each finding once, on the server
and with the key that each verb's flags say. To say what one is takes a key with the
scope finding:write. Those of one scan are in securetag report.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(p.findingsListCommand(), p.findingsShowCommand(), p.findingsTriageCommand(), p.findingsImportCommand())
	return cmd
}

func (p *program) findingsListCommand() *cobra.Command {
	var from serverKey
	var q client.ProjectFindingsQuery
	cmd := &cobra.Command{Use: "list PROJECT", Short: "List a project's findings, worst first", Args: args(cobra.ExactArgs(1)),
		Example: `  securetag findings list shop --state new --severity high
  securetag findings list shop --json --limit 100000`}
	from.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&q.State, "state", "", "only in this state: "+oneOf(host.Baselines()))
	fl.StringVar(&q.Severity, "severity", "", "only of this severity: "+oneOf(host.Severities()))
	fl.StringVar(&q.Triage, "triage", "", "only with this triage: "+oneOf(host.Triages()))
	fl.StringVar(&q.Plugin, "plugin", "", "only of this plugin")
	fl.StringVar(&q.Rule, "rule", "", "only of this rule")
	fl.StringVar(&q.Path, "path", "", "only where the path begins so")
	limit := limitFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		q.Limit = min(*limit, 500) // a page
		all, more, err := upTo(c.AllProjectFindings(cmd.Context(), a[0], q), *limit)
		if err != nil {
			return err
		}
		return p.printFindings(all, more, *asJSON)
	}
	return cmd
}

func (p *program) printFindings(all []client.ProjectFinding, more, asJSON bool) (err error) {
	switch {
	case asJSON:
		err = report.Document(p.stdout, client.Page[client.ProjectFinding]{Items: all})
	case len(all) == 0:
		fmt.Fprintln(p.stdout, "There are no such findings.")
	default:
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSEVERITY\tSTATE\tTRIAGE\tRULE\tLOCATION")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", safetext.Plain(one.ID), safetext.Plain(one.Finding.Severity), safetext.Plain(one.State),
				safetext.Plain(one.Triage), safetext.Plain(one.Finding.RuleID), locationOf(one.Finding))
		}
		err = w.Flush()
	}
	if more {
		fmt.Fprintf(p.stderr, "There are more: these are the worst %d. See --limit.\n", len(all))
	}
	return err
}

func locationOf(f client.Finding) string {
	if f.Location.Path == "" {
		return safetext.Visible(f.Location.URL)
	}
	return fmt.Sprintf("%s:%d", safetext.Visible(f.Location.Path), f.Location.StartLine)
}

func (p *program) findingsShowCommand() *cobra.Command {
	var from serverKey
	cmd := &cobra.Command{Use: "show ID", Short: "Show a finding and what was said of it", Args: args(cobra.ExactArgs(1))}
	from.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		one, err := c.ProjectFinding(cmd.Context(), a[0])
		if err != nil {
			return err
		}
		return p.printFinding(one, *asJSON)
	}
	return cmd
}

func (p *program) printFinding(f client.ProjectFinding, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, f)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"Finding", f.ID}, {"Project", f.Project}, {"Title", f.Finding.Title}, {"Severity", f.Finding.Severity},
		{"Location", locationOf(f.Finding)}, {"Plugin", f.Finding.Plugin}, {"Rule", f.Finding.RuleID}, {"State", f.State},
		{"First seen", stamp(f.FirstSeen, "-")}, {"Last seen", stamp(f.LastSeen, "-")}, {"Triage", f.Triage},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], safetext.Plain(line[1]))
	}
	for _, h := range f.History {
		fmt.Fprintf(w, "%s\t%s by %s%s\n", stamp(h.At, "-"), safetext.Plain(h.Triage), safetext.Plain(h.Author), safetext.Plain(because(h)))
	}
	return w.Flush()
}

func because(h client.SaidThen) string {
	text := ""
	if h.ExpiresAt != nil {
		text = " until " + stamp(*h.ExpiresAt, "-")
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}

func (p *program) findingsTriageCommand() *cobra.Command {
	var from serverKey
	var reason string
	var expires time.Duration
	cmd := &cobra.Command{Use: "triage ID TRIAGE", Short: "Say what a finding is", Args: args(cobra.ExactArgs(2)),
		Long: `triage says of a finding that it is open, confirmed, false_positive, accepted_risk
(with --reason) or fixed. It takes a key with the scope finding:write. False positives and accepted risks leave the gate, until
--expires is over if that is given.`,
		Example: `  securetag findings triage 01a20a02-7b3c-7d0e-8f6a-2f4b6d8e9a10 accepted_risk --reason "a test key" --expires 720h`}
	from.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why; an accepted_risk needs one")
	cmd.Flags().DurationVar(&expires, "expires", 0, "after which it is open again, such as 720h (default: never)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if expires < 0 {
			return usageError{errors.New("--expires: give a time such as 720h")}
		}
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		said := client.Triage{Triage: a[1], Reason: reason}
		if expires > 0 {
			said.ExpiresAt = new(time.Now().Add(expires).UTC())
		}
		// Based on what is said now, so that a change in between is not lost.
		one, err := c.ProjectFinding(cmd.Context(), a[0])
		if err == nil {
			one, err = c.Triage(cmd.Context(), a[0], one.Version, said)
		}
		if err != nil {
			return err
		}
		return p.printFinding(one, *asJSON)
	}
	return cmd
}
