package dispatch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// relay rings for jobs that are ready. It looks when it is woken, when a
// retry's backoff ends, and once a sweep for what another host left.
//
// A look costs the same whether it finds one job or many. So looks that find
// some keep a distance, in which jobs gather; the first after a rest is at once.
type relay struct {
	store   host.JobStore
	bells   host.Doorbells
	plugins []string // a host rings for what it could run itself
	gate    *gate
	slots   *slots
	owner   string
	lease   time.Duration
	window  int
	horizon time.Duration
	caps    func() host.Caps
	taken   func([]host.Taken)
	every   time.Duration
	woken   chan struct{}
	lost    atomic.Bool  // the queue has forgotten what was rung
	more    atomic.Bool  // the window was full: jobs are ready
	capped  atomic.Bool  // a cap kept jobs back when it last looked
	room    atomic.Int64 // how often room was made, in the window or under a cap
	status  outage
	meter   host.Meter
	log     hclog.Logger
}

// pace is the distance between looks that find jobs.
const pace = 4 * time.Millisecond

func newRelay(store host.JobStore, bells host.Doorbells, plugins []string, g *gate, s *slots, taken func([]host.Taken), cfg Config, log hclog.Logger) *relay {
	return &relay{
		store: store, bells: bells, plugins: plugins, gate: g, slots: s, taken: taken, owner: cfg.Owner, lease: cfg.Lease,
		window: cfg.Window, horizon: cfg.Horizon, caps: cfg.Caps, every: cfg.Sweep,
		woken:  make(chan struct{}, 1),
		status: outage{log: log, what: "hand out queued jobs"},
		meter:  cfg.Meter,
		log:    log,
	}
}

func (r *relay) wake() {
	select {
	case r.woken <- struct{}{}:
	default: // a look is due anyway
	}
}

// claimed says that jobs were claimed: the window has room again.
func (r *relay) claimed() {
	r.room.Add(1)
	if r.more.Load() {
		r.wake()
	}
}

// freed says that a job has ended, which counts for a cap no more.
func (r *relay) freed() {
	r.room.Add(1)
	if r.capped.Load() {
		r.wake()
	}
}

// again rings for everything that was rung and not claimed, without waiting for
// the horizon.
func (r *relay) again() {
	r.lost.Store(true)
	r.wake()
}

// startFunc runs what was claimed, for n slots that were taken.
type startFunc func(claims []host.Claim, n int, began time.Time)

func (r *relay) run(ctx context.Context, start startFunc) {
	for {
		next, found := r.every, false
		if r.gate.pass(ctx) {
			next, found = r.look(ctx, start)
		}
		if found && !sleep(ctx, pace) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.woken:
		case <-time.After(next):
		}
	}
}

// look hands out one window and says when to look again if nobody wakes it, and
// whether there were jobs. For as many of them as this host has free slots they
// are claimed in the same transaction: it need not ring for itself.
func (r *relay) look(ctx context.Context, start startFunc) (next time.Duration, found bool) {
	room := r.room.Load()
	free := r.slots.tryTake(r.window)
	began := time.Now()
	out, err := r.dispatch(ctx, free)
	start(out.Claims, free, began)
	if !r.status.report(ctx, err) {
		// It may have marked jobs all the same, for which nobody rings now. Some may
		// have been claimed: their leases end.
		r.lost.Store(true)
		return r.every, false
	}
	r.taken(out.Overdue)
	r.more.Store(out.More)
	r.capped.Store(out.Capped)
	if len(out.Claims) > 0 {
		r.claimed()
	}
	if (out.More || out.Capped) && r.room.Load() != room {
		r.wake() // the store may have looked before, and nobody else would say so
	}
	if len(out.Bells) > 0 {
		if err := r.bells.Ring(ctx, out.Bells); err != nil {
			r.gate.report(ctx, err)
			r.undo(ctx, out.Bells)
			return r.every, false
		}
		r.gate.report(ctx, nil)
		r.meter.DoorbellsRung(len(out.Bells))
	}
	found = len(out.Bells)+len(out.Claims) > 0
	if out.Next > 0 {
		return min(out.Next, r.every), found
	}
	return r.every, found
}

// dispatch asks the store, for no longer than a claim may take when it claims.
// Stopping must not cut a claim that may commit all the same: nobody would run
// the job until its lease ends.
func (r *relay) dispatch(ctx context.Context, free int) (host.Dispatched, error) {
	q := host.DispatchQuery{Plugins: r.plugins, Window: r.window, Horizon: r.horizon, Again: r.lost.Swap(false), Caps: r.caps()}
	if free > 0 {
		q.Claim = host.AtOnce{Owner: r.owner, TTL: r.lease, Most: free}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), r.lease/3)
		defer cancel()
	}
	return r.store.Dispatch(ctx, q)
}

// undo takes the mark back, so that the jobs are handed out again as soon as
// Redis is back and not only after the horizon. A doorbell that was rung all
// the same does no harm.
func (r *relay) undo(ctx context.Context, bells []host.Doorbell) {
	ids := make([]host.JobID, len(bells))
	for i, b := range bells {
		ids[i] = b.Job
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := r.store.Undispatch(ctx, ids); err != nil {
		r.log.Debug("jobs whose doorbell was not rung wait for the horizon", "jobs", len(ids), "error", err)
	}
}
