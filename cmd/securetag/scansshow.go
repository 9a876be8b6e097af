package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) scansListCommand() *cobra.Command {
	var on serverKey
	var q client.ScansQuery
	var state string
	cmd := &cobra.Command{Use: "list", Short: "List scans, newest first", Args: args(cobra.NoArgs),
		Example: `  securetag scans list --project shop --state failed
  securetag scans list --json --limit 1`}
	on.flags(cmd)
	cmd.Flags().StringVar(&q.Project, "project", "", "only of this project")
	cmd.Flags().StringVar(&q.Type, "type", "", "only of this scan type")
	cmd.Flags().StringVar(&state, "state", "", "only in this state: "+oneOf(host.States()))
	limit := limitFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		if q.State = client.State(state); state != "" && !slices.Contains(host.States(), host.State(state)) {
			return usageError{fmt.Errorf("--state %q: use %s", state, oneOf(host.States()))}
		}
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		q.Limit = min(*limit, 200) // a page
		scans, more, err := upTo(c.AllScans(cmd.Context(), q), *limit)
		if err != nil {
			return err
		}
		return p.printScans(scans, more, *asJSON)
	}
	return cmd
}

func (p *program) printScans(scans []client.Scan, more, asJSON bool) (err error) {
	switch {
	case asJSON:
		err = report.Document(p.stdout, client.Page[client.Scan]{Items: scans})
	case len(scans) == 0:
		fmt.Fprintln(p.stdout, "There are no such scans.")
	default:
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSTATE\tTYPE\tPROJECT\tCREATED\tCRITICAL\tHIGH\tMEDIUM\tLOW\tOTHER")
		for _, s := range scans {
			n := s.Counts
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", safetext.Plain(s.ID), safetext.Plain(string(s.State)), safetext.Plain(s.Type),
				safetext.Plain(first(s.Project, "-")), stamp(s.CreatedAt, "-"), n.Critical, n.High, n.Medium, n.Low, n.Info+n.Unknown)
		}
		err = w.Flush()
	}
	if more {
		fmt.Fprintf(p.stderr, "There are more: these are the newest %d. See --limit.\n", len(scans))
	}
	return err
}

func (p *program) scansShowCommand() *cobra.Command {
	var on serverKey
	cmd := &cobra.Command{Use: "show ID", Short: "Show a scan and how its jobs are", Args: args(cobra.ExactArgs(1))}
	on.flags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := p.dial(cmd.Context(), on)
		if err != nil {
			return err
		}
		s, err := c.Scan(cmd.Context(), a[0])
		switch {
		case err != nil:
			return err
		case *asJSON:
			return report.Document(p.stdout, s)
		}
		return writeScan(p.stdout, s)
	}
	return cmd
}

func writeScan(out io.Writer, s client.Scan) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	input := s.URL
	if s.Archive != nil {
		input = first(s.Archive.Filename, "an archive")
	}
	fmt.Fprintf(w, "Scan\t%s\nState\t%s\nType\t%s\nProject\t%s\nOf\t%s\nCreated\t%s\nStarted\t%s\nEnded\t%s\nFindings\t%d critical, %d high, %d medium, %d low, %d info, %d unknown\n\n",
		safetext.Plain(s.ID), safetext.Plain(string(s.State)), safetext.Plain(s.Type), safetext.Plain(first(s.Project, "-")), safetext.Plain(input),
		stamp(s.CreatedAt, "-"), at(s.StartedAt), at(s.FinishedAt),
		s.Counts.Critical, s.Counts.High, s.Counts.Medium, s.Counts.Low, s.Counts.Info, s.Counts.Unknown)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the scan: %w", err)
	}
	fmt.Fprintln(w, "PLUGIN\tSTATE\tTRIED\tPROGRESS\tERROR")
	for _, j := range s.Jobs {
		progress := "-"
		if j.Progress != nil {
			progress = fmt.Sprintf("%s %d", j.Progress.Phase, j.Progress.Done)
			if j.Progress.Total > 0 {
				progress += fmt.Sprintf(" of %d", j.Progress.Total)
			}
			progress = strings.TrimSpace(progress + " " + j.Progress.Unit)
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", safetext.Plain(j.Plugin), safetext.Plain(string(j.State)), j.Attempt, j.MaxAttempts, safetext.Plain(progress), fault(j.Error))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the scan: %w", err)
	}
	return writeRemarks(out, s)
}

// writeRemarks tells what plugins said beside their findings.
func writeRemarks(out io.Writer, s client.Scan) error {
	var lines []string
	for _, j := range s.Jobs {
		name := safetext.Plain(j.Plugin) + ": "
		if j.NotApplicable != "" {
			lines = append(lines, name+export.JobWords(j))
		}
		for _, note := range export.Notes(j) {
			lines = append(lines, name+note)
		}
	}
	if s.NothingScanned {
		lines = append(lines, "Nothing was scanned.")
	}
	if len(lines) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(out, "\n"+strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("print the scan: %w", err)
	}
	return nil
}

// at is a time that may not have come.
func at(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return stamp(*t, "-")
}
