package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) scansWatchCommand() *cobra.Command {
	var to serverKey
	var after string
	cmd := &cobra.Command{
		Use: "watch [ID]", Short: "Say what happens to a scan until it has ended, or to all",
		Long: `watch says what happens to a scan, as it happens, until it has ended. Without an ID
it says what happens to all scans of the tenant until it is interrupted. A server
that stops, or is away for a while, is no reason to end: it goes on where it was,
at whichever host answers next.

With --json each event is one line: its type, its id where it has one, and one of
scan, scans, job and change, with the fields of the API.

Exit codes, with an ID: 0 the scan succeeded, 3 it failed, is partial or was
canceled, 6 it timed out; 2, 4, 5 and 130 are those of securetag scan. An
interrupt leaves the scan alone.`,
		Example: `  securetag scans watch 01a20a02-7914-7be9-bd21-46768b2e29c6
  securetag scans watch --json | jq -c 'select(.type == "job.ended").job'`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	to.flags(cmd)
	cmd.Flags().StringVar(&after, "after", "", "with --json, the id of the event seen last: what came since is said first")
	asJSON := cmd.Flags().Bool("json", false, "print a line of JSON for each event")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if after != "" && !*asJSON {
			return usageError{errors.New("--after goes with --json, which shows the ids")}
		}
		c, err := p.dial(cmd.Context(), to)
		if err != nil {
			return err
		}
		opts := client.WatchOptions{LastEventID: after}
		if len(a) == 0 {
			return p.watchAll(cmd.Context(), c, opts, *asJSON)
		}
		return p.watchScan(cmd.Context(), c, a[0], opts, *asJSON)
	}
	return cmd
}

// watchScan asks for the scan first: watching waits for a host that is away, but
// one that was never there, or knows no such key or scan, is a mistake.
func (p *program) watchScan(ctx context.Context, c *client.Client, id string, opts client.WatchOptions, asJSON bool) error {
	if _, err := c.Scan(ctx, id); err != nil {
		return err
	}
	s, err := p.watchOne(ctx, c, id, opts, asJSON)
	if err != nil {
		return err
	}
	if code := report.ExitCode(s, report.Threshold{}); code != report.ExitClean {
		return &exitError{code: code}
	}
	return nil
}

// watchOne returns the scan as it ended.
func (p *program) watchOne(ctx context.Context, c *client.Client, id string, opts client.WatchOptions, asJSON bool) (client.Scan, error) {
	if asJSON {
		s, err := p.printEvents(c.Watch(ctx, id, opts))
		if err == nil && s.ID == "" { // there was nothing more to hear
			return c.Scan(ctx, id)
		}
		return s, err
	}
	progress := report.NewProgress(report.ProgressConfig{
		Out: p.stdout, Live: p.terminal(p.stdout),
		WidthFunc: func() int { return p.width(p.stdout) },
	})
	s, err := c.Wait(ctx, id, progress.Scan)
	progress.Stop()
	return s, err
}

// eventLine is an event as --json prints it.
type eventLine struct {
	Type   client.EventType      `json:"type"`
	ID     string                `json:"id,omitempty"`
	Scan   *client.Scan          `json:"scan,omitempty"`
	Scans  *client.ScansSnapshot `json:"scans,omitempty"`
	Job    *client.JobEvent      `json:"job,omitempty"`
	Change *client.ScanEvent     `json:"change,omitempty"`
}

// printEvents returns the scan that ended, if one did.
func (p *program) printEvents(events iter.Seq2[client.Event, error]) (last client.Scan, err error) {
	for e, err := range events {
		if err != nil {
			return last, err
		}
		if err := report.Line(p.stdout, eventLine{e.Type, e.ID, e.Scan, e.Scans, e.Job, e.Change}); err != nil {
			return last, err
		}
		if e.Type == client.EventEnded {
			last = *e.Scan
		}
	}
	return last, nil
}

// watchAll prints what happens to all scans of the tenant.
func (p *program) watchAll(ctx context.Context, c *client.Client, opts client.WatchOptions, asJSON bool) error {
	if _, err := c.Scans(ctx, client.ScansQuery{Limit: 1}); err != nil { // as watchScan
		return err
	}
	if asJSON {
		_, err := p.printEvents(c.WatchAll(ctx, opts))
		return err
	}
	for e, err := range c.WatchAll(ctx, opts) {
		if err != nil {
			return err
		}
		for _, line := range linesOf(e) {
			if _, err := fmt.Fprintln(p.stdout, line); err != nil {
				return fmt.Errorf("print an event: %w", err)
			}
		}
	}
	return nil
}

// linesOf says an event of a tenant's for people.
func linesOf(e client.Event) (lines []string) {
	switch {
	case e.Scans != nil:
		for _, s := range e.Scans.Scans {
			lines = append(lines, fmt.Sprintf("%s  scan %s  %s: %s", clock(s.CreatedAt), safetext.Visible(s.ID), safetext.Visible(s.Type), safetext.Visible(string(s.State))))
		}
		if e.Scans.More {
			lines = append(lines, "and more")
		}
	case e.Job != nil:
		line := fmt.Sprintf("%s  scan %s  %s: %s", clock(e.Job.At), safetext.Visible(e.Job.ScanID), safetext.Visible(e.Job.Plugin), jobWords(e))
		if e.Job.ScanState != "" {
			line += ", scan " + safetext.Visible(string(e.Job.ScanState))
		}
		lines = append(lines, line)
	case e.Change != nil && e.Change.At != nil:
		lines = append(lines, fmt.Sprintf("%s  scan %s  %s", clock(*e.Change.At), safetext.Visible(e.Change.ScanID), changeWords(e)))
	case e.Type == client.EventAway:
		lines = append(lines, "live events are away; waiting for them")
	case e.Type == client.EventReset:
		lines = append(lines, "events were missed; how it is now:")
	}
	return lines
}

func jobWords(e client.Event) string {
	words := safetext.Visible(string(e.Job.State))
	if e.Type == client.EventJobRetry {
		words = "tried again later"
	}
	if e.Job.Code != "" {
		words += " (" + safetext.Visible(e.Job.Code) + ")"
	}
	if e.Type == client.EventJobEnded {
		words += fmt.Sprintf(", findings: %d", e.Job.Findings)
	}
	return words
}

func changeWords(e client.Event) string {
	if e.Type == client.EventAccepted {
		return "accepted"
	}
	if e.Change.State == "" {
		return "changed"
	}
	return "changed: " + safetext.Visible(string(e.Change.State))
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
