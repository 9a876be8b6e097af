package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/turns"
)

// Config says how to deliver. Zero values take the defaults.
type Config struct {
	// Owner names this host in leases. Required.
	Owner string
	// Slots is how many deliveries are under way at once; default 32. PerTenant
	// and PerWebhook are how many of these one of them has; default 8 and 2.
	Slots, PerTenant, PerWebhook int
	// Timeout bounds an attempt, from the name's lookup to the answer's header.
	// Default 15 s.
	Timeout time.Duration
	// Lease is how long a delivery is this host's. Default 1 m; it must be longer
	// than Timeout, and than storing what came of it takes.
	Lease time.Duration
	// Poll is the time between two looks for what is due; default 1 s.
	Poll time.Duration
	// Schedule is the pause before each attempt. Default: that of the standard.
	Schedule []time.Duration
	// DisableAfter is how long a webhook may have failed before it is disabled.
	// Default 5 days: the last attempt of a message is after three.
	DisableAfter time.Duration
	// Kept is how long a delivery that is not pending stays in the log; default
	// 30 days. Tidy is how often older ones are looked for; default 1 h.
	Kept, Tidy time.Duration
	// UserAgent is sent along; default "SecureTag-Webhooks".
	UserAgent string
	// Meter is told of each attempt. Default: none.
	Meter host.Meter
}

// standardSchedule is that of Standard Webhooks.
func standardSchedule() []time.Duration {
	return []time.Duration{
		0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Timeout, 15 * time.Second}, {&c.Lease, time.Minute}, {&c.Poll, time.Second},
		{&c.DisableAfter, 5 * 24 * time.Hour}, {&c.Kept, 30 * 24 * time.Hour}, {&c.Tidy, time.Hour},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return c, fmt.Errorf("webhook: no setting may be negative: %w", host.ErrInvalid)
		}
	}
	for _, n := range []struct {
		field *int
		value int
	}{{&c.Slots, 32}, {&c.PerTenant, 8}, {&c.PerWebhook, 2}} {
		if *n.field == 0 {
			*n.field = n.value
		}
		if *n.field < 0 {
			return c, fmt.Errorf("webhook: no setting may be negative: %w", host.ErrInvalid)
		}
	}
	if c.Owner == "" || c.Lease < c.Timeout+storeTime {
		return c, fmt.Errorf("webhook: an owner is required, and a lease of at least %v: %w", c.Timeout+storeTime, host.ErrInvalid)
	}
	if c.Schedule == nil {
		c.Schedule = standardSchedule()
	}
	if c.UserAgent == "" {
		c.UserAgent = "SecureTag-Webhooks"
	}
	if c.Meter == nil {
		c.Meter = host.NoMeter{}
	}
	return c, nil
}

// storeTime bounds how long what came of an attempt may take to be stored, also
// when the host stops meanwhile.
const storeTime = 10 * time.Second

// Deliverer makes deliveries.
type Deliverer struct {
	store  host.OutboxStore
	client http.Client
	cfg    Config
	log    hclog.Logger
}

// New makes a deliverer; Run starts it. transport decides what may be reached.
func New(store host.OutboxStore, transport http.RoundTripper, cfg Config, log hclog.Logger) (*Deliverer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Deliverer{store: store, cfg: cfg, log: log.Named("webhook")}
	d.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return d, nil
}

// Run delivers until ctx ends. What is under way then is given up and due again
// at once, for another host.
func (d *Deliverer) Run(ctx context.Context) error {
	if n, err := d.store.ReleaseDeliveries(ctx, d.cfg.Owner); err != nil && ctx.Err() == nil {
		d.log.Warn("cannot give back the deliveries of the run before: they wait for their leases to run out", "error", err)
	} else if n > 0 {
		d.log.Info("gave back deliveries of the run before, which did not end properly", "deliveries", n)
	}
	var loops errgroup.Group
	loops.Go(func() error { d.deliver(ctx); return nil })
	loops.Go(func() error { d.tidy(ctx); return nil })
	return loops.Wait()
}

// underWay counts deliveries.
type underWay struct {
	all      int
	tenants  map[host.TenantID]int
	webhooks map[host.WebhookID]int
}

func (u *underWay) add(c host.DeliveryClaim, n int) {
	u.all += n
	u.tenants[c.Webhook.TenantID] += n
	u.webhooks[c.WebhookID] += n
	if u.tenants[c.Webhook.TenantID] == 0 {
		delete(u.tenants, c.Webhook.TenantID)
	}
	if u.webhooks[c.WebhookID] == 0 {
		delete(u.webhooks, c.WebhookID)
	}
}

// full gives those that have so many under way, or more.
func full[K comparable](counts map[K]int, most int) (out []K) {
	for k, n := range counts {
		if n >= most {
			out = append(out, k)
		}
	}
	return out
}

// deliver claims and sends until ctx ends, and returns when all that it sent is
// stored.
func (d *Deliverer) deliver(ctx context.Context) {
	busy := underWay{tenants: map[host.TenantID]int{}, webhooks: map[host.WebhookID]int{}}
	ended := make(chan host.DeliveryClaim, d.cfg.Slots)
	trouble := turns.Trouble{Log: d.log, What: "claim deliveries"}
	for ctx.Err() == nil {
		claims, err := d.claim(ctx, &busy)
		if ctx.Err() == nil {
			trouble.Report(err)
		}
		for _, c := range claims {
			busy.add(c, 1)
			go func() {
				defer func() { ended <- c }()
				d.try(ctx, c)
			}()
		}
		if len(claims) > 0 {
			continue // there may be more of the same tenants
		}
		d.rest(ctx, &busy, ended)
	}
	for busy.all > 0 {
		busy.add(<-ended, -1)
	}
}

func (d *Deliverer) claim(ctx context.Context, busy *underWay) ([]host.DeliveryClaim, error) {
	if busy.all >= d.cfg.Slots {
		return nil, nil
	}
	return d.store.ClaimDeliveries(ctx, host.ClaimDeliveries{
		Owner: d.cfg.Owner, TTL: d.cfg.Lease, Limit: d.cfg.Slots - busy.all,
		WithoutWebhooks: full(busy.webhooks, d.cfg.PerWebhook), WithoutTenants: full(busy.tenants, d.cfg.PerTenant),
	})
}

// rest waits until there may be something to claim.
func (d *Deliverer) rest(ctx context.Context, busy *underWay, ended <-chan host.DeliveryClaim) {
	look := time.NewTimer(turns.Jitter(d.cfg.Poll))
	defer look.Stop()
	select {
	case <-ctx.Done():
	case <-look.C:
	case c := <-ended:
		busy.add(c, -1)
	}
}

// dropAtOnce bounds one transaction that removes old deliveries.
const dropAtOnce = 1000

// tidy keeps the log short.
func (d *Deliverer) tidy(ctx context.Context) {
	trouble := turns.Trouble{Log: d.log, What: "remove old deliveries"}
	for turns.Sleep(ctx, turns.Jitter(d.cfg.Tidy)) {
		var err error
		for n := dropAtOnce; n == dropAtOnce && err == nil; {
			n, err = d.store.DropDeliveries(ctx, d.cfg.Kept, dropAtOnce)
		}
		if ctx.Err() == nil {
			trouble.Report(err)
		}
	}
}

// try makes one attempt and stores what came of it.
func (d *Deliverer) try(ctx context.Context, c host.DeliveryClaim) {
	o := d.attempt(ctx, c)
	o.ID, o.Lease = c.ID, c.Lease
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	disabled, err := d.store.FinishDelivery(ctx, o)
	switch {
	case errors.Is(err, host.ErrLeaseLost):
		return // the webhook was disabled or deleted, or this host was cut off for long
	case err != nil:
		d.log.Error("cannot store what came of a delivery: it will be made again", "delivery", c.ID, "webhook", c.WebhookID, "error", err)
		return
	case disabled:
		d.log.Warn("webhook disabled", "webhook", c.WebhookID, "tenant", c.Webhook.TenantID, "reason", o.Error)
	}
	if !o.Release {
		d.cfg.Meter.WebhookTried(o.State)
	}
}
