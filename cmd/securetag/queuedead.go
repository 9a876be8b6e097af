package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) queueStatsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Count the jobs that have not ended, and the dead letters", Args: args(cobra.NoArgs),
		Long: `stats counts jobs by plugin and scan type:

  READY       could run now; OLDEST is how long the first of them has been ready
  WAITING     for the time of a retry
  HANDED OUT  offered to the hosts, and not yet claimed by one
  RUNNING     on any host
  DEAD        failed for want of attempts: see securetag queue dead

Jobs that have ended in any other way are not counted.`,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.onQueue(cmd, func(_ config.Config, q control.Queue) error {
			s, err := q.Store.QueueStats(cmd.Context())
			switch {
			case err != nil:
				return err
			case *asJSON:
				return report.Document(p.stdout, api.QueueStats(s))
			}
			return writeStats(p.stdout, api.QueueStats(s))
		})
	}
	return cmd
}

func writeStats(out io.Writer, s client.QueueStats) error {
	if len(s.Groups) == 0 {
		fmt.Fprintln(out, "The queue is empty.")
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PLUGIN\tSCAN TYPE\tREADY\tOLDEST\tWAITING\tHANDED OUT\tRUNNING\tDEAD\tPAUSED")
		line := func(plugin, scanType string, c client.QueueCounts, paused string) {
			oldest := "-"
			if c.Ready > 0 {
				oldest = seconds(c.OldestReadySeconds).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%s\n", safetext.Plain(plugin), safetext.Plain(scanType),
				c.Ready, oldest, c.Waiting, c.HandedOut, c.Running, c.DeadLetters, paused)
		}
		for _, g := range s.Groups {
			line(g.Plugin, g.ScanType, g.QueueCounts, map[bool]string{true: "yes", false: "no"}[g.Paused])
		}
		if len(s.Groups) > 1 {
			line("all", "", s.Total, "")
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, p := range s.Pauses {
		reason := ""
		if p.Reason != "" {
			reason = ": " + safetext.Plain(p.Reason)
		}
		fmt.Fprintf(out, "Paused since %s: %s%s\n", stamp(p.CreatedAt, "-"),
			safetext.Plain(named(host.Pause{Kind: host.PauseKind(p.Kind), Name: p.Name})), reason)
	}
	return nil
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Truncate(time.Second)
}

// deadFlags say which dead letters.
type deadFlags struct{ plugin, scanType, tenant string }

func (f *deadFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.plugin, "plugin", "", "only of this plugin")
	cmd.Flags().StringVar(&f.scanType, "scan-type", "", "only of scans of this type")
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "only of this tenant, by name")
}

func (f *deadFlags) query() host.DeadQuery {
	return host.DeadQuery{Plugin: f.plugin, ScanType: f.scanType, Tenant: f.tenant}
}

const deadPage = 500

func (p *program) queueDeadCommand() *cobra.Command {
	var flags deadFlags
	var limit int
	cmd := &cobra.Command{
		Use: "dead [JOB]", Short: "List the dead letters, or show one with its history", Args: args(cobra.MaximumNArgs(1)),
		Long: `dead lists jobs that failed because nothing was left to try, newest first. With the
id of one it shows what became of each of its attempts.`,
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, fmt.Sprintf("how many to list, at most %d", deadPage-1))
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if limit < 1 || limit >= deadPage {
			return usageError{fmt.Errorf("--limit %d: use 1 to %d", limit, deadPage-1)}
		}
		if len(a) == 1 && flags != (deadFlags{}) {
			return usageError{errors.New("give either the id of one dead letter, or --plugin, --scan-type and --tenant")}
		}
		return p.onQueue(cmd, func(_ config.Config, q control.Queue) error {
			if len(a) == 1 {
				return p.showDead(cmd.Context(), q, a[0], *asJSON)
			}
			query := flags.query()
			query.Limit = limit + 1
			return p.listDead(cmd.Context(), q, query, *asJSON)
		})
	}
	return cmd
}

// listDead lists one less than q asks for: the last says that there are more.
func (p *program) listDead(ctx context.Context, q control.Queue, query host.DeadQuery, asJSON bool) error {
	dead, err := q.Store.DeadLetters(ctx, query)
	if err != nil {
		return err
	}
	more := len(dead) == query.Limit
	if more {
		dead = dead[:len(dead)-1]
	}
	items := []client.DeadLetter{}
	for _, d := range dead {
		items = append(items, api.DeadLetter(d))
	}
	switch {
	case asJSON:
		err = report.Document(p.stdout, client.Page[client.DeadLetter]{Items: items})
	case len(items) == 0:
		fmt.Fprintln(p.stdout, "There are no such dead letters.")
	default:
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "JOB\tTENANT\tSCAN TYPE\tPLUGIN\tTRIED\tDIED\tERROR")
		for _, d := range items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", d.ID, safetext.Plain(d.Tenant), safetext.Plain(d.ScanType), safetext.Plain(d.Plugin),
				d.Attempt, d.MaxAttempts, stamp(d.DeadAt, "-"), fault(d.Error))
		}
		err = w.Flush()
	}
	if more {
		fmt.Fprintf(p.stderr, "There are more: these are the newest %d. See --limit.\n", len(items))
	}
	return err
}

func fault(e *client.JobError) string {
	if e == nil {
		return "-"
	}
	return safetext.Plain(e.Code + ": " + e.Message)
}

func (p *program) showDead(ctx context.Context, q control.Queue, id string, asJSON bool) error {
	found, err := q.Store.DeadLetter(ctx, host.JobID(id))
	if errors.Is(err, host.ErrNotFound) {
		return usageError{fmt.Errorf("there is no dead letter %q: securetag queue dead lists them", id)}
	}
	if err != nil {
		return err
	}
	d := api.DeadLetter(found)
	if asJSON {
		return report.Document(p.stdout, d)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	canceled := ""
	if d.Canceled {
		canceled = " (canceled by its tenant: it cannot be requeued)"
	}
	fmt.Fprintf(w, "Job\t%s\nScan\t%s%s\nTenant\t%s\nScan type\t%s\nPlugin\t%s\nTried\t%d of %d, %d killed the plugin or its host\nDied\t%s\nError\t%s\n\n",
		d.ID, d.ScanID, canceled, safetext.Plain(d.Tenant), safetext.Plain(d.ScanType), safetext.Plain(d.Plugin),
		d.Attempt, d.MaxAttempts, d.Crashes, stamp(d.DeadAt, "-"), fault(d.Error))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "ATTEMPT\tHOST\tSTARTED\tENDED\tTOOK\tLEFT IT\tERROR")
	for _, a := range d.History {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%v\t%s\t%s\n", a.Attempt, safetext.Plain(a.Host), stamp(a.StartedAt, "-"), stamp(a.EndedAt, "-"),
			a.EndedAt.Sub(a.StartedAt).Round(time.Millisecond), left(a), fault(a.Error))
	}
	return w.Flush()
}

// left says in which state an attempt left its job, and how.
func left(a client.Attempt) string {
	out := string(a.State)
	if a.Crashed {
		out += ", crashed"
	}
	if a.Released {
		out += ", given back"
	}
	return out
}
