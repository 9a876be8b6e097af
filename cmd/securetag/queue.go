package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) queueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Look at the queue and control it", Args: args(cobra.NoArgs),
		Long: `queue works on the configured database, beside running hosts or without any. Hosts
find out within seconds. The same is under /admin of the API for those who have
an operator's key.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(p.queueStatsCommand(), p.queueDeadCommand(), p.queueRequeueCommand(), p.queueDropCommand(),
		p.queuePauseCommand(), p.queueResumeCommand(), p.queueDrainCommand())
	return cmd
}

// onQueue loads the configuration and runs f on its queue.
func (p *program) onQueue(cmd *cobra.Command, f func(config.Config, control.Queue) error) error {
	loaded, err := p.load(cmd)
	if err != nil {
		return err
	}
	return p.withAudited(cmd, loaded.Config, func(s host.Store) error {
		return f(loaded.Config, control.Queue{Store: s})
	})
}

// onArchives lets f see which archives there still are. Where the database is
// reached from a machine that keeps no archives, nobody can tell.
func (p *program) onArchives(cfg config.Config, q control.Queue, f func(control.Queue) error) (err error) {
	dir := filepath.Join(cfg.DataDir, "blobs")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(p.stderr, "No archives are kept in %s: whether those of the scans still exist was not checked.\n", safetext.Plain(dir))
		return f(q)
	}
	blobs, err := dirblob.New(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	q.Blobs = blobs
	return f(q)
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON, with the fields of the API")
}

// plainJSON is jsonFlag for what the API does not have.
func plainJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// part is what of the queue a pause is about.
type part struct{ plugin, scanType string }

func (f *part) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.plugin, "plugin", "", "only this plugin")
	cmd.Flags().StringVar(&f.scanType, "scan-type", "", "only this scan type")
	cmd.MarkFlagsMutuallyExclusive("plugin", "scan-type")
}

func (f *part) pause() host.Pause {
	switch {
	case f.plugin != "":
		return host.Pause{Kind: host.PausePlugin, Name: f.plugin}
	case f.scanType != "":
		return host.Pause{Kind: host.PauseScanType, Name: f.scanType}
	}
	return host.Pause{Kind: host.PauseAll}
}

// named is a pause in words.
func named(p host.Pause) string {
	switch p.Kind {
	case host.PausePlugin:
		return fmt.Sprintf("plugin %q", p.Name)
	case host.PauseScanType:
		return fmt.Sprintf("scan type %q", p.Name)
	}
	return "everything"
}

func (p *program) queuePauseCommand() *cobra.Command {
	var which part
	var reason string
	cmd := &cobra.Command{
		Use: "pause [--plugin NAME | --scan-type NAME]", Short: "Start no more jobs of a plugin, of a scan type, or at all",
		Long: `pause stops jobs from being started: those of a plugin, of a scan type, or, with
neither given, all. Scans are still accepted and wait; what runs goes on, and time
limits that have begun to count do too. Pausing again changes only the reason.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onQueue(cmd, func(cfg config.Config, q control.Queue) error {
				pause := which.pause()
				pause.Reason = reason
				if !pause.Valid() || safetext.Plain(pause.Reason) != pause.Reason {
					return usageError{fmt.Errorf("--plugin, --scan-type and --reason take at most %d bytes of one line of text", host.MaxPauseText)}
				}
				if err := q.Store.Pause(cmd.Context(), pause); err != nil {
					return err
				}
				p.noteUnknown(cfg, pause)
				fmt.Fprintf(p.stdout, "Paused %s.\n", named(pause))
				return nil
			})
		},
	}
	which.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "one line for those who wonder")
	return cmd
}

// noteUnknown says that a name may be misspelt. Other hosts may know it.
func (p *program) noteUnknown(cfg config.Config, pause host.Pause) {
	_, plugin := cfg.Plugins[pause.Name]
	_, scanType := cfg.Scans[pause.Name]
	if pause.Kind == host.PausePlugin && !plugin || pause.Kind == host.PauseScanType && !scanType {
		fmt.Fprintf(p.stderr, "Note: this configuration has no %s.\n", named(pause))
	}
}

func (p *program) queueResumeCommand() *cobra.Command {
	var which part
	cmd := &cobra.Command{
		Use: "resume [--plugin NAME | --scan-type NAME]", Short: "Take a pause back",
		Long: `resume takes back the pause of a plugin, of a scan type, or, with neither given,
that of everything, which is also what a drain leaves. Each pause is taken back by
itself; what another one still covers stays paused, and resume says so.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onQueue(cmd, func(_ config.Config, q control.Queue) error {
				pause := which.pause()
				err := q.Resume(cmd.Context(), pause.Kind, pause.Name)
				if errors.Is(err, host.ErrNotFound) {
					return usageError{fmt.Errorf("there is no pause of %s: securetag queue stats shows what is paused", named(pause))}
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "Resumed %s.\n", named(pause))
				left, err := q.Store.Pauses(cmd.Context())
				for _, l := range left {
					fmt.Fprintf(p.stdout, "Still paused: %s.\n", named(l))
				}
				return err
			})
		},
	}
	which.flags(cmd)
	return cmd
}

// drainLook is the time between two looks of a drain.
const drainLook = 500 * time.Millisecond

func (p *program) queueDrainCommand() *cobra.Command {
	var timeout time.Duration
	var reason string
	cmd := &cobra.Command{
		Use: "drain", Short: "Pause everything and wait until nothing runs",
		Long: `drain pauses everything and waits until no job runs on any host; what it waits for
it says on standard error. Scans are still accepted. The pause stays, however the
waiting ends: securetag queue resume takes it back.

Exit codes: 0 when nothing runs, 6 when jobs still run after --timeout, 130 when
it was interrupted.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout < 0 {
				return usageError{fmt.Errorf("--timeout %v: it cannot be negative", timeout)}
			}
			return p.onQueue(cmd, func(_ config.Config, q control.Queue) error { return p.drain(cmd, q, reason, timeout) })
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait, such as 10m (default: as long as it takes)")
	cmd.Flags().StringVar(&reason, "reason", "drain", "one line for those who wonder")
	return cmd
}

// errPatience: --timeout is over.
var errPatience = errors.New("out of patience")

func (p *program) drain(cmd *cobra.Command, q control.Queue, reason string, timeout time.Duration) error {
	if len(reason) > host.MaxPauseText || safetext.Plain(reason) != reason {
		return usageError{fmt.Errorf("--reason takes at most %d bytes of one line of text", host.MaxPauseText)}
	}
	ctx := cmd.Context()
	if timeout > 0 {
		limited, stop := context.WithTimeoutCause(ctx, timeout, errPatience)
		defer stop()
		ctx = limited
	}
	said, running := "", 0
	err := q.Drain(ctx, reason, drainLook, func(s host.QueueStats) {
		running = s.Total().Running
		if line := waitingFor(s); line != said && line != "" {
			said = line
			fmt.Fprintln(p.stderr, line)
		}
	})
	switch {
	case errors.Is(err, errPatience):
		fmt.Fprintf(p.stderr, "Error: %s still running after %v. Everything stays paused: securetag queue resume takes it back.\n",
			jobs(running), timeout)
		return &exitError{code: report.ExitTimeout}
	case err != nil:
		return err
	}
	fmt.Fprintln(p.stdout, "Drained: nothing runs, and nothing starts before securetag queue resume.")
	return nil
}

func jobs(n int) string {
	if n == 1 {
		return "1 job is"
	}
	return fmt.Sprintf("%d jobs are", n)
}

// waitingFor says what runs; "" when nothing does.
func waitingFor(s host.QueueStats) string {
	var of []string
	for _, g := range s.Groups {
		if g.Running > 0 {
			of = append(of, fmt.Sprintf("%d of %s in %s", g.Running, safetext.Plain(g.Plugin), safetext.Plain(g.ScanType)))
		}
	}
	if len(of) == 0 {
		return ""
	}
	return "Waiting for running jobs: " + strings.Join(of, ", ") + "."
}
