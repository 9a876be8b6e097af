package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/internal/safetext"
)

const exitRefused = `
Exit codes: 0 when all of them were, 3 when some were refused; which and why is on
standard error.`

func (p *program) queueRequeueCommand() *cobra.Command {
	return p.settleCommand(&cobra.Command{
		Use: "requeue [JOB...]", Short: "Try dead letters again",
		Long: `requeue gives dead letters a fresh budget of attempts and time: by their ids, or all
that --plugin, --scan-type and --tenant find, or with --all every one. Their scans
are open again until they end. Their history stays. A job whose scan was canceled,
or whose archive was removed, is refused.
` + exitRefused,
	}, "Requeued", func(ctx context.Context, cfg config.Config, q control.Queue, s control.Selection) (out control.Result, err error) {
		err = p.onArchives(cfg, q, func(q control.Queue) (err error) {
			out, err = all(ctx, s, q.Requeue)
			return err
		})
		return out, err
	})
}

func (p *program) queueDropCommand() *cobra.Command {
	return p.settleCommand(&cobra.Command{
		Use: "drop [JOB...]", Short: "Give dead letters up",
		Long: `drop gives dead letters up: by their ids, or all that --plugin, --scan-type and
--tenant find, or with --all every one. Their jobs stay failed, as their tenants see
them, and cannot be requeued any more.
` + exitRefused,
	}, "Dropped", func(ctx context.Context, _ config.Config, q control.Queue, s control.Selection) (control.Result, error) {
		return all(ctx, s, q.Drop)
	})
}

// all repeats a settlement until nothing is left of its selection.
func all(ctx context.Context, s control.Selection, do func(context.Context, control.Selection, int) (control.Result, error)) (sum control.Result, err error) {
	for {
		r, err := do(ctx, s, deadPage)
		sum.Done += r.Done
		sum.Refused = append(sum.Refused, r.Refused...)
		if err != nil || r.Next == nil {
			return sum, err
		}
		s.Filter.After = r.Next
	}
}

type settleFunc func(context.Context, config.Config, control.Queue, control.Selection) (control.Result, error)

func (p *program) settleCommand(cmd *cobra.Command, did string, do settleFunc) *cobra.Command {
	var flags deadFlags
	flags.add(cmd)
	every := cmd.Flags().Bool("all", false, "every dead letter")
	asJSON := jsonFlag(cmd)
	cmd.Args = args(cobra.ArbitraryArgs)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		s := control.Selection{Filter: flags.query()}
		ways := 0
		for _, given := range []bool{len(a) > 0, flags != (deadFlags{}), *every} {
			if given {
				ways++
			}
		}
		if ways != 1 {
			return usageError{errors.New("say which dead letters: their ids, or some of --plugin, --scan-type and --tenant, or --all")}
		}
		for _, id := range a {
			s.Jobs = append(s.Jobs, host.JobID(id))
		}
		return p.onQueue(cmd, func(cfg config.Config, q control.Queue) error {
			r, err := do(cmd.Context(), cfg, q, s)
			if err != nil && r.Done > 0 {
				fmt.Fprintf(p.stderr, "%s %d dead letters before it failed.\n", did, r.Done)
			}
			if err != nil {
				return err
			}
			return p.settled(r, did, *asJSON)
		})
	}
	return cmd
}

func (p *program) settled(r control.Result, did string, asJSON bool) error {
	out := api.Settled(r)
	if asJSON {
		if err := report.Document(p.stdout, out); err != nil {
			return err
		}
	} else {
		noun := "dead letters"
		if out.Done == 1 {
			noun = "dead letter"
		}
		fmt.Fprintf(p.stdout, "%s %d %s.\n", did, out.Done, noun)
		for _, f := range out.Refused {
			fmt.Fprintf(p.stderr, "Refused job %s: %s.\n", safetext.Plain(f.ID), f.Detail)
		}
	}
	if len(out.Refused) > 0 {
		return &exitError{code: report.ExitIncomplete}
	}
	return nil
}
