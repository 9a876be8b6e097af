package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) scansCancelCommand() *cobra.Command {
	var on serverKey
	cmd := &cobra.Command{Use: "cancel ID...", Short: "Ask scans to end", Args: args(cobra.MinimumNArgs(1)),
		Long: `cancel ends queued jobs at once, and running ones when their plugins have stopped.
A scan that has ended in another way is a mistake, and those behind it are not
canceled then.`}
	on.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		scans := []client.Scan{}
		for _, id := range ids {
			s, cerr := c.Cancel(cmd.Context(), id)
			if cerr != nil {
				err = cerr
				break
			}
			if scans = append(scans, s); !*asJSON {
				fmt.Fprintf(p.stdout, "Canceled scan %s, which is %s.\n", safetext.Plain(s.ID), safetext.Plain(string(s.State)))
			}
		}
		if *asJSON {
			err = errors.Join(report.Document(p.stdout, client.Page[client.Scan]{Items: scans}), err)
		}
		return err
	}
	return cmd
}

// deleteFlags are the choices of one deletion.
type deleteFlags struct {
	serverKey
	project            string
	sure, wait, asJSON bool
}

func (p *program) scansDeleteCommand() *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{Use: "delete (ID... | --project NAME) --yes", Short: "Delete scans with all that they found",
		Long: `delete removes scans with their findings, artifacts and archives; what runs of them
is canceled. Nobody sees them from then on. The server removes them in the
background, and --wait waits for that. It cannot be undone. A project's scans
take a key with the scope admin.`,
		Example: `  securetag scans delete --yes 01a20a02-e69c-79fb-a4ea-6cc5deb3dce9
  securetag scans delete --yes --wait --project shop`}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.project, "project", "", "all scans that this project has")
	cmd.Flags().BoolVar(&f.sure, "yes", false, "it is meant")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "until they are removed")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		f.asJSON = *asJSON
		switch {
		case (f.project == "") == (len(ids) == 0):
			return usageError{errors.New("give either the ids of scans, or --project")}
		case !f.sure:
			return usageError{errors.New("deleted scans do not come back: say --yes if it is meant")}
		}
		return p.deleteScans(cmd, f, ids)
	}
	return cmd
}

func (p *program) deleteScans(cmd *cobra.Command, f deleteFlags, ids []string) error {
	c, err := p.dial(cmd.Context(), f.serverKey)
	if err != nil {
		return err
	}
	ctx, all := cmd.Context(), []client.Deletion{}
	add := func(d client.Deletion, err error) error {
		if err == nil {
			all = append(all, d)
		}
		return err
	}
	if f.project != "" {
		err = add(c.DeleteProjectScans(ctx, f.project))
	}
	for _, id := range ids {
		if err = add(c.DeleteScan(ctx, id)); err != nil {
			err = fmt.Errorf("scan %s: %w", id, err)
			break
		}
	}
	for i, d := range all {
		if f.wait {
			done, werr := c.WaitDeletion(ctx, d.ID)
			if werr != nil {
				return errors.Join(err, werr)
			}
			all[i], d = done, done
		}
		if !f.asJSON {
			fmt.Fprintln(p.stdout, deletionText(d))
		}
	}
	if f.asJSON {
		err = errors.Join(report.Document(p.stdout, client.Page[client.Deletion]{Items: all}), err)
	}
	return err
}

func deletionText(d client.Deletion) string {
	what := "scan " + safetext.Plain(d.ScanID)
	if d.ScanID == "" {
		what = fmt.Sprintf("%d scans of project %s", d.Scans, safetext.Plain(d.Project))
	}
	if d.State == client.Deleted {
		return "Deleted " + what + "."
	}
	return "Deleted " + what + "; the server is removing the data (deletion " + safetext.Plain(d.ID) + ")."
}
