package main

import (
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) projectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "projects", Short: "List projects, and say what their scans are held to", Args: args(cobra.NoArgs),
		Long: `projects shows the projects that a server keeps findings of, and sets their gates,
which takes a key with the scope finding:write. A project begins with its first
scan, or with set; securetag scans delete --project deletes one.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(p.projectsListCommand(), p.projectsShowCommand(), p.projectsSetCommand())
	return cmd
}

func (p *program) projectsListCommand() *cobra.Command {
	var from serverKey
	cmd := &cobra.Command{Use: "list", Short: "List projects, by name", Args: args(cobra.NoArgs)}
	from.flags(cmd)
	limit := limitFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		all, more, err := upTo(c.AllProjects(cmd.Context()), *limit)
		if err != nil {
			return err
		}
		return p.printProjects(all, more, *asJSON)
	}
	return cmd
}

func (p *program) printProjects(all []client.Project, more, asJSON bool) (err error) {
	switch {
	case asJSON:
		err = report.Document(p.stdout, client.Page[client.Project]{Items: all})
	case len(all) == 0:
		fmt.Fprintln(p.stdout, "There are no projects.")
	default:
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PROJECT\tFINDINGS\tGATE\tLAST SCAN")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", safetext.Plain(one.Name), one.Findings, gateText(one.Gate), safetext.Plain(first(one.LastScanID, "-")))
		}
		err = w.Flush()
	}
	if more {
		fmt.Fprintf(p.stderr, "There are more: these are the first %d. See --limit.\n", len(all))
	}
	return err
}

func gateText(g client.GatePolicy) string {
	text := safetext.Plain(first(g.FailOn, "none"))
	if g.NewOnly {
		text += ", new only"
	}
	return text
}

func (p *program) projectsShowCommand() *cobra.Command {
	var from serverKey
	cmd := &cobra.Command{Use: "show PROJECT", Short: "Show a project and its gate", Args: args(cobra.ExactArgs(1))}
	from.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		one, err := c.Project(cmd.Context(), a[0])
		if err != nil {
			return err
		}
		return p.printProject(one, *asJSON)
	}
	return cmd
}

func (p *program) printProject(one client.Project, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, one)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Project\t%s\nGate\t%s\nFindings\t%d\nLast scan\t%s\nCreated\t%s\n",
		safetext.Plain(one.Name), gateText(one.Gate), one.Findings, safetext.Plain(first(one.LastScanID, "-")), stamp(one.CreatedAt, "-"))
	return w.Flush()
}

func (p *program) projectsSetCommand() *cobra.Command {
	var from serverKey
	var failOn string
	var newOnly bool
	cmd := &cobra.Command{Use: "set PROJECT", Short: "Say what a project's scans are held to", Args: args(cobra.ExactArgs(1)),
		Long: `set gives a project its gate, and makes the project if it is not there yet. What no
flag names stays as it is.`,
		Example: `  securetag projects set shop --fail-on high --new-only
  securetag projects set shop --fail-on none`}
	from.flags(cmd)
	cmd.Flags().StringVar(&failOn, "fail-on", "", "least severity of a finding that closes the gate (critical, high, medium, low, info, unknown), or none")
	cmd.Flags().BoolVar(&newOnly, "new-only", false, "only findings that were not there before close it")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		changed := cmd.Flags().Changed
		if !changed("fail-on") && !changed("new-only") {
			return usageError{errors.New("give --fail-on, --new-only or both")}
		}
		if _, err := report.ParseThreshold(failOn); changed("fail-on") && err != nil {
			return usageError{fmt.Errorf("--fail-on: %w", err)}
		}
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		one, err := c.Project(cmd.Context(), a[0])
		var refused *client.Error
		missing := errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
		if err != nil && !missing {
			return err
		}
		gate := one.Gate
		if changed("fail-on") {
			if gate.FailOn = failOn; failOn == "none" {
				gate.FailOn = ""
			}
		}
		if changed("new-only") {
			gate.NewOnly = newOnly
		} else if gate.FailOn == "" {
			gate.NewOnly = false // of no gate
		}
		if missing {
			one, err = c.CreateProject(cmd.Context(), a[0], gate)
		} else {
			one, err = c.SetProject(cmd.Context(), a[0], one.Version, gate)
		}
		if err != nil {
			return err
		}
		return p.printProject(one, *asJSON)
	}
	return cmd
}
