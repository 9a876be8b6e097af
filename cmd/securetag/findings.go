package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) findingsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "findings", Short: "List a project's findings, and say what they are"}
	cmd.AddCommand(p.listFindingsCommand(), p.showFindingCommand(), p.triageCommand(), p.importCommand())
	return cmd
}

func (p *program) listFindingsCommand() *cobra.Command {
	var from serverKey
	var q client.ProjectFindingsQuery
	cmd := &cobra.Command{Use: "list PROJECT", Short: "List a project's findings, worst first", Args: args(cobra.ExactArgs(1)),
		Example: `  securetag findings list shop --state new --severity high`}
	from.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&q.State, "state", "", "new, unchanged, updated or absent")
	fl.StringVar(&q.Severity, "severity", "", "only of this severity")
	fl.StringVar(&q.Triage, "triage", "", "open, confirmed, false_positive, accepted_risk or fixed")
	fl.StringVar(&q.Plugin, "plugin", "", "only of this plugin")
	fl.StringVar(&q.Rule, "rule", "", "only of this rule")
	fl.StringVar(&q.Path, "path", "", "how the path begins")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		all := []client.ProjectFinding{}
		for one, err := range c.AllProjectFindings(cmd.Context(), a[0], q) {
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		if *asJSON {
			return p.encode(all)
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSEVERITY\tSTATE\tTRIAGE\tRULE\tPLACE")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", one.ID, one.Finding.Severity, one.State, one.Triage, safetext.Plain(one.Finding.RuleID), placeOf(one.Finding))
		}
		return w.Flush()
	}
	return cmd
}

func placeOf(f client.Finding) string {
	if f.Location.Path == "" {
		return safetext.Visible(f.Location.URL)
	}
	return fmt.Sprintf("%s:%d", safetext.Visible(f.Location.Path), f.Location.StartLine)
}

func (p *program) showFindingCommand() *cobra.Command {
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
		return p.encode(f)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"finding", f.ID}, {"project", f.Project}, {"title", safetext.Plain(f.Finding.Title)}, {"severity", f.Finding.Severity},
		{"place", placeOf(f.Finding)}, {"rule", f.Finding.Plugin + " " + safetext.Plain(f.Finding.RuleID)}, {"state", f.State},
		{"first seen", f.FirstSeen.Format(time.RFC3339)}, {"last seen", f.LastSeen.Format(time.RFC3339)}, {"triage", f.Triage},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	for _, h := range f.History {
		fmt.Fprintf(w, "%s\t%s by %s%s\n", h.At.Format(time.RFC3339), h.Triage, safetext.Plain(h.Author), safetext.Plain(because(h)))
	}
	return w.Flush()
}

func because(h client.SaidThen) string {
	text := ""
	if h.ExpiresAt != nil {
		text = " until " + h.ExpiresAt.Format(time.RFC3339)
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}

func (p *program) triageCommand() *cobra.Command {
	var from serverKey
	var reason string
	var expires time.Duration
	cmd := &cobra.Command{Use: "triage ID TRIAGE", Short: "Say what a finding is", Args: args(cobra.ExactArgs(2)),
		Long: `triage says of a finding that it is open, confirmed, false_positive, accepted_risk
(with --reason) or fixed. False positives and accepted risks leave the gate, until
--expires is over if that is given.`,
		Example: `  securetag findings triage 0199... accepted_risk --reason "a test key" --expires 720h`}
	from.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	cmd.Flags().DurationVar(&expires, "expires", 0, "after which it is open again; 0: never")
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

func (p *program) encode(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
