package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/securetaghq/securetag/host"
)

// listen claims a job for every free slot until ctx ends; the claimed run under
// jobs. It holds no slot while it waits for doorbells, as the relay may have work
// for it.
func (d *Dispatcher) listen(ctx, jobs context.Context) {
	var (
		plugins = d.executor.Plugins()
		heard   []host.Ringing // heard, not yet claimed for want of a slot
		status  = outage{log: d.log, what: "claim jobs"}
	)
	for {
		free := d.slots.take(ctx, d.cfg.Slots)
		if free == 0 {
			return
		}
		if len(heard) == 0 {
			d.slots.give(free)
			heard = d.hear(ctx, plugins, free)
			continue
		}
		n := min(free, len(heard))
		d.slots.give(free - n)
		began := time.Now()
		claims, err := d.claim(ctx, jobsOf(heard[:n]))
		if !status.report(ctx, err) {
			// Unsilenced, so not lost: another host takes these doorbells over,
			// or the relay rings again.
			d.slots.give(n)
			heard = nil
			if !sleep(ctx, min(d.cfg.Heartbeat, time.Second)) {
				return
			}
			continue
		}
		d.start(jobs, claims, n, began)
		// Whether they were there to be claimed or not, and after the claim has
		// committed: a host that dies in between leaves a claimed job, never a
		// lost one.
		if err := d.bells.Silence(ctx, heard[:n]); err != nil {
			d.gate.report(ctx, err)
		}
		heard = heard[n:]
		d.relay.claimed()
	}
}

// start runs what was claimed, for n slots that were taken.
func (d *Dispatcher) start(jobs context.Context, claims []host.Claim, n int, began time.Time) {
	d.slots.give(n - len(claims))
	for _, c := range claims {
		d.slots.run(func() { d.run(jobs, c, began) })
	}
}

func jobsOf(heard []host.Ringing) []host.JobID {
	ids := make([]host.JobID, 0, len(heard))
	for _, h := range heard {
		if h.Job != "" {
			ids = append(ids, h.Job)
		}
	}
	return ids
}

func (d *Dispatcher) hear(ctx context.Context, plugins []string, free int) []host.Ringing {
	if !d.gate.pass(ctx) {
		return nil
	}
	heard, err := d.bells.Listen(ctx, plugins, free)
	if errors.Is(err, host.ErrQueueLost) {
		d.log.Info("the queue is new or was wiped: ringing for every job that waits")
		d.relay.again()
		return nil
	}
	d.gate.report(ctx, err)
	d.cfg.Meter.DoorbellsHeard(len(heard))
	return heard
}

// claim takes the jobs. Stopping must not cut a claim that may commit all the
// same: nobody would run the job until its lease ends.
func (d *Dispatcher) claim(ctx context.Context, ids []host.JobID) ([]host.Claim, error) {
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Lease/3)
	defer cancel()
	return d.store.Claim(cctx, d.cfg.Owner, ids, d.cfg.Lease)
}
