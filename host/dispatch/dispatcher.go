package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/securetaghq/securetag/host"
)

// Config says how a host works its jobs. Zero values are replaced by the
// defaults given.
type Config struct {
	// Owner names this host in leases. Unique among hosts; required.
	Owner string
	// Slots is how many jobs run at once. 0: this host runs none, it only rings
	// for them and sweeps.
	Slots int
	// Lease is how long a job stays this host's without a heartbeat. Default 15s.
	Lease time.Duration
	// Heartbeat is the time between renewals, and how soon a cancel is heard of
	// that nothing told sooner. Less than a third of Lease. Default 1s.
	Heartbeat time.Duration
	// Window is how many doorbells may be out and unclaimed over all hosts.
	// Default four a slot, at least 32.
	Window int
	// Horizon is when an unclaimed doorbell counts as lost. Default 30s.
	Horizon time.Duration
	// Sweep is the time between looks for what went wrong elsewhere. Default 2s.
	Sweep time.Duration
	// Grace is how long running jobs may go on after the context ended, before
	// they are stopped and released. 0: they are stopped at once.
	Grace time.Duration
	// Caps gives how many jobs may be out or run at once, anew for each
	// Dispatch. Every host must give the same. Default: any number.
	Caps func() host.Caps
	// Backoff gives the pause before another attempt of a scan type's jobs.
	// Default: 1s doubling to 60s.
	Backoff func(scanType string) Backoff
	// Permit gives the hosts that the scan of a URL may call: an error that wraps
	// host.ErrNotPermitted when its tenant may not have that URL scanned, or not any
	// more. Default: nobody says.
	Permit func(ctx context.Context, t host.TenantID, url string) ([]string, error)
	// Secrets opens the box of a scan that has secret options. Default: nobody can.
	Secrets func(host.Scan) (map[string]json.RawMessage, error)
	// Artifacts keeps what jobs produce. Default: artifacts are left out, and
	// their jobs are partial.
	Artifacts host.BlobStore
	// Meter is told what happens. Default: none.
	Meter host.Meter
	// Events is told what becomes of jobs. Default: nobody is.
	Events host.Events
	// Cancels makes cancels heard at once on every host. Default: with their
	// next heartbeat, but on the host where they are asked for.
	Cancels host.Cancels
}

func (c Config) withDefaults() (Config, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Lease, 15*time.Second)
	def(&c.Heartbeat, 500*time.Millisecond)
	def(&c.Horizon, 30*time.Second)
	def(&c.Sweep, 2*time.Second)
	if c.Window == 0 {
		c.Window = max(32, 4*c.Slots)
	}
	if c.Caps == nil {
		c.Caps = func() host.Caps { return host.Caps{} }
	}
	if c.Backoff == nil {
		c.Backoff = func(string) Backoff { return Backoff{Min: time.Second, Max: time.Minute} }
	}
	if c.Meter == nil {
		c.Meter = host.NoMeter{}
	}
	switch {
	case c.Owner == "":
		return c, fmt.Errorf("dispatch: an owner name is required: %w", host.ErrInvalid)
	case c.Slots < 0 || c.Window < 0 || c.Lease < 0 || c.Heartbeat < 0 || c.Horizon < 0 || c.Sweep < 0 || c.Grace < 0:
		return c, fmt.Errorf("dispatch: no setting may be negative: %w", host.ErrInvalid)
	case c.Heartbeat >= c.Lease/3:
		return c, fmt.Errorf("dispatch: heartbeat %v must be less than a third of lease %v: %w", c.Heartbeat, c.Lease, host.ErrInvalid)
	}
	return c, nil
}

// Dispatcher works the jobs of one host.
type Dispatcher struct {
	cfg        Config
	store      host.JobStore
	bells      host.Doorbells
	executor   host.Executor
	workspaces host.Workspaces
	log        hclog.Logger

	gate      *gate
	relay     *relay
	heart     *heart
	finisher  *finisher
	publisher *publisher
	canceler  *canceler
	slots     *slots
	grace     atomic.Int64 // see SetGrace
}

// New makes a dispatcher; Run starts it.
func New(store host.JobStore, bells host.Doorbells, executor host.Executor, workspaces host.Workspaces, cfg Config, log hclog.Logger) (*Dispatcher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	log = log.Named("dispatch")
	d := &Dispatcher{
		cfg: cfg, store: store, bells: bells, executor: executor, workspaces: workspaces, log: log,
		gate:  newGate(bells, log),
		slots: newSlots(cfg.Slots),
	}
	d.publisher = newPublisher(cfg.Events, d.gate, cfg.Meter, log)
	d.relay = newRelay(store, bells, executor.Plugins(), d.gate, d.slots, d.publisher.taken, cfg, log)
	d.heart = newHeart(store, d.publisher.tell, cfg, log)
	d.finisher = newFinisher(store, d.heart.running, d.relay.freed, log)
	d.canceler = newCanceler(cfg.Cancels, d.gate, d.heart, log)
	d.SetGrace(cfg.Grace)
	return d, nil
}

// SetGrace changes Config.Grace until Run's context ends.
func (d *Dispatcher) SetGrace(grace time.Duration) { d.grace.Store(int64(max(grace, 0))) }

// Wake says that a job may have become ready. It never blocks.
func (d *Dispatcher) Wake() { d.relay.wake() }

// Accepted says that a scan was accepted. It never blocks.
func (d *Dispatcher) Accepted(s host.Scan) {
	d.publisher.tell(host.Event{Kind: host.EventAccepted, Scan: s.ID, Tenant: s.TenantID, ScanState: s.State})
}

// Canceled says that the cancel of a scan was stored, and how the scan stands
// since. It never blocks.
func (d *Dispatcher) Canceled(s host.Scan) {
	d.publisher.tell(host.Event{Kind: host.EventChanged, Scan: s.ID, Tenant: s.TenantID, ScanState: s.State})
	if !s.State.Final() {
		d.canceler.pass(s.ID)
	}
}

// Taken says what the store took from this host's last run, before Run. It
// never blocks.
func (d *Dispatcher) Taken(jobs []host.Taken) { d.publisher.taken(jobs) }

// DroppedEvents is how many live events were dropped since the start, because
// Redis was down or slower than the jobs.
func (d *Dispatcher) DroppedEvents() int64 { return d.publisher.dropped.Load() }

// Run works jobs until ctx ends, then stops claiming, gives running jobs their
// grace, releases what is left for another host, and returns. Nothing it
// started is left then.
func (d *Dispatcher) Run(ctx context.Context) error {
	// The jobs outlive ctx by the grace, and what keeps their leases and stores
	// their results outlives the jobs.
	stores, stopStores := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStores()
	var keepers errgroup.Group
	keepers.Go(func() error { d.heart.run(stores); return nil })
	keepers.Go(func() error { d.finisher.run(stores); return nil })
	keepers.Go(func() error { d.publisher.run(stores); return nil })
	if d.cfg.Cancels != nil {
		keepers.Go(func() error { d.canceler.publish(stores); return nil })
	}
	if d.cfg.Cancels != nil && d.cfg.Slots > 0 {
		keepers.Go(func() error { d.canceler.listen(stores); return nil })
	}

	jobs, stopJobs := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopJobs(nil)
	// The run before may have died between marking jobs and ringing for them.
	d.relay.again()
	var loops errgroup.Group
	loops.Go(func() error {
		d.relay.run(ctx, func(claims []host.Claim, n int, began time.Time) { d.start(jobs, claims, n, began) })
		return nil
	})
	loops.Go(func() error { d.sweep(ctx); return nil })
	if d.cfg.Slots > 0 {
		loops.Go(func() error { d.listen(ctx, jobs); return nil })
	}
	_ = loops.Wait() // none of them gives up before ctx does

	left := time.Duration(d.grace.Load())
	if busy := d.slots.busy(); busy > 0 {
		d.log.Info("stopping: running jobs get their grace", "running", busy, "grace", left)
	}
	grace := time.AfterFunc(left, func() { stopJobs(errStopping) })
	defer grace.Stop()
	d.slots.wait()
	d.leave(stores)
	stopStores()
	return keepers.Wait()
}

// leave takes this host off the listeners, if Redis answers.
func (d *Dispatcher) leave(ctx context.Context) {
	if d.cfg.Slots == 0 || d.gate.down() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := d.bells.Leave(ctx); err != nil {
		d.log.Debug("this host stays among the listeners until another removes it", "error", err)
	}
}

// lanesAtOnce bounds what one sweep looks at, as 200 does for leases.
const lanesAtOnce = 500

// mend makes sure that the relay finds every job that is queued.
func (d *Dispatcher) mend(ctx context.Context, status *outage) {
	n, err := d.store.MendLanes(ctx, lanesAtOnce)
	if status.report(ctx, err) && n > 0 {
		d.log.Debug("found jobs that were stored while their lane was forgotten", "lanes", n)
		d.relay.wake()
	}
}

// sweep takes jobs from hosts that died, and finds what the relay overlooked.
func (d *Dispatcher) sweep(ctx context.Context) {
	const batch = 200
	status := outage{log: d.log, what: "sweep for expired leases"}
	lanes := outage{log: d.log, what: "look for queued jobs that were overlooked"}
	for every := newTicker(d.cfg.Sweep); every.wait(ctx); {
		d.mend(ctx, &lanes)
		for n := batch; n == batch; {
			taken, err := d.store.Expire(ctx, batch)
			if !status.report(ctx, err) {
				break
			}
			if n = len(taken); n > 0 {
				d.publisher.taken(taken)
				d.cfg.Meter.LeasesExpired(n)
				d.log.Warn("took jobs back whose host stopped renewing their lease", "jobs", n)
				d.relay.wake()
			}
		}
	}
}
