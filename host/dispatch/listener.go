package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/securetaghq/securetag/host"
)

// listen claims a job for every free slot until ctx ends; the claimed run under
// jobs.
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
			heard = d.hear(ctx, plugins, free)
		}
		n := min(free, len(heard))
		d.slots.give(free - n)
		if n == 0 {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		began := time.Now()
		claims, err := d.claim(ctx, heard[:n])
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
		heard = heard[n:]
		d.slots.give(n - len(claims))
		for _, c := range claims {
			d.slots.run(func() { d.run(jobs, c, began) })
		}
	}
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

// claim takes the jobs and silences their doorbells, whether they were there to
// be taken or not. It silences after the claim has committed: a host that dies
// in between leaves a claimed job, never a lost one.
func (d *Dispatcher) claim(ctx context.Context, heard []host.Ringing) ([]host.Claim, error) {
	ids := make([]host.JobID, 0, len(heard))
	for _, h := range heard {
		if h.Job != "" {
			ids = append(ids, h.Job)
		}
	}
	// Stopping must not cut a claim that may commit all the same: nobody would
	// run the job until its lease ends.
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Lease/3)
	defer cancel()
	claims, err := d.store.Claim(cctx, d.cfg.Owner, ids, d.cfg.Lease)
	if err != nil {
		return nil, err
	}
	if err := d.bells.Silence(ctx, heard); err != nil {
		d.gate.report(ctx, err)
	}
	d.relay.claimed()
	return claims, nil
}
