package main

import (
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
)

func (p *program) projectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "projects", Short: "List projects, and say what their scans are held to"}
	cmd.AddCommand(p.listProjectsCommand(), p.setProjectCommand())
	return cmd
}

func (p *program) listProjectsCommand() *cobra.Command {
	var from serverKey
	cmd := &cobra.Command{Use: "list", Aliases: []string{"show"}, Short: "List projects, or show those that are named"}
	from.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		all := []client.Project{}
		for _, name := range names {
			one, err := c.Project(cmd.Context(), name)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		if len(names) == 0 {
			for one, err := range c.AllProjects(cmd.Context()) {
				if err != nil {
					return err
				}
				all = append(all, one)
			}
		}
		return p.printProjects(all, *asJSON)
	}
	return cmd
}

func (p *program) printProjects(all []client.Project, asJSON bool) error {
	if asJSON {
		return p.encode(all)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROJECT\tFINDINGS\tGATE\tLAST SCAN")
	for _, one := range all {
		gate := "none"
		if one.Gate.FailOn != "" {
			gate = one.Gate.FailOn
		}
		if one.Gate.NewOnly {
			gate += ", new only"
		}
		last := one.LastScanID
		if last == "" {
			last = "-"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", one.Name, one.Findings, gate, last)
	}
	return w.Flush()
}

func (p *program) setProjectCommand() *cobra.Command {
	var from serverKey
	var failOn string
	var newOnly bool
	cmd := &cobra.Command{Use: "set PROJECT", Short: "Say what a project's scans are held to", Args: args(cobra.ExactArgs(1)),
		Long:    "set gives a project its gate, and makes the project if it is not there yet.",
		Example: `  securetag projects set shop --fail-on high --new-only`}
	from.flags(cmd)
	cmd.Flags().StringVar(&failOn, "fail-on", "none", "least severity of a finding that closes the gate, or none")
	cmd.Flags().BoolVar(&newOnly, "new-only", false, "only of findings that were not there before")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), from)
		if err != nil {
			return err
		}
		gate := client.GatePolicy{FailOn: failOn, NewOnly: newOnly}
		if failOn == "none" {
			gate.FailOn = ""
		}
		one, err := c.Project(cmd.Context(), a[0])
		var refused *client.Error
		switch {
		case err == nil:
			one, err = c.SetProject(cmd.Context(), a[0], one.Version, gate)
		case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
			one, err = c.CreateProject(cmd.Context(), a[0], gate)
		}
		if err != nil {
			return err
		}
		return p.printProjects([]client.Project{one}, *asJSON)
	}
	return cmd
}
