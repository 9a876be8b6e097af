package dispatch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// publisher tells whoever looks on what becomes of the jobs. Nothing waits for
// it: when Redis is down or slower than the jobs it drops events and counts
// them.
type publisher struct {
	events  host.Events // nil: nobody is told
	gate    *gate
	in      chan host.Event
	meter   host.Meter
	dropped atomic.Int64
	retry   time.Time // after an error: not before
	status  outage
}

const (
	// eventQueue is several seconds of a busy host, and a few MiB.
	eventQueue = 8192
	eventBatch = 512
	// eventLinger gathers what happens at about the same time into one round
	// trip: people look at events, and a busy host has thousands a second.
	eventLinger  = 20 * time.Millisecond
	eventTimeout = time.Second
	eventPause   = time.Second
)

func newPublisher(events host.Events, g *gate, meter host.Meter, log hclog.Logger) *publisher {
	return &publisher{
		events: events, gate: g, meter: meter, in: make(chan host.Event, eventQueue),
		status: outage{log: log, what: "publish live events (nothing else depends on them)"},
	}
}

// tell never blocks.
func (p *publisher) tell(e host.Event) {
	if p.events == nil {
		return
	}
	select {
	case p.in <- e:
	default:
		p.drop(1)
	}
}

func (p *publisher) drop(n int) {
	p.dropped.Add(int64(n))
	p.meter.EventsDropped(n)
}

// run publishes until ctx ends, and then what was told before.
func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for len(p.in) > 0 {
				p.publish(ctx, p.gather(ctx, <-p.in))
			}
			if n := p.dropped.Load(); n > 0 {
				p.status.log.Info("live events were dropped, because Redis was down or too slow", "events", n)
			}
			return
		case e := <-p.in:
			p.publish(ctx, p.gather(ctx, e))
		}
	}
}

func (p *publisher) gather(ctx context.Context, first host.Event) []host.Event {
	batch := []host.Event{first}
	linger := time.NewTimer(eventLinger)
	defer linger.Stop()
	for len(batch) < eventBatch {
		select {
		case e := <-p.in:
			batch = append(batch, e)
			continue
		default:
		}
		select {
		case e := <-p.in:
			batch = append(batch, e)
		case <-linger.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

func (p *publisher) publish(ctx context.Context, batch []host.Event) {
	if p.gate.down() || time.Now().Before(p.retry) {
		p.drop(len(batch))
		return
	}
	// The last words of a host that stops count too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventTimeout)
	defer cancel()
	err := p.events.Publish(ctx, batch)
	if err != nil {
		p.drop(len(batch))
		p.retry = time.Now().Add(eventPause)
	}
	p.status.report(context.WithoutCancel(ctx), err)
}

// eventOf is what all events of an attempt say.
func eventOf(c host.Claim, kind host.EventKind) host.Event {
	return host.Event{Kind: kind, Scan: c.Scan.ID, Tenant: c.Scan.TenantID, Job: c.Job.ID, Plugin: c.Job.Plugin, Attempt: c.Job.Attempt, State: host.StateRunning}
}

// endOf is the event of a stored outcome. The scan's state is the store's to
// say: readers ask it when a job has ended.
func endOf(c host.Claim, o host.Outcome, findings int) host.Event {
	e := eventOf(c, host.EventEnded)
	e.State, e.Findings = o.State, findings
	if o.State == host.StateQueued {
		e.Kind, e.Findings = host.EventRetry, 0
	}
	if o.Error != nil {
		e.Code = o.Error.Code
	}
	return e
}

// taken tells of jobs whose attempts the store ended by itself.
func (p *publisher) taken(jobs []host.Taken) {
	for _, t := range jobs {
		e := host.Event{Kind: host.EventEnded, Scan: t.Scan, Tenant: t.Tenant, Job: t.Job, Plugin: t.Plugin, Attempt: t.Attempt, State: t.State, Code: t.Code}
		if t.State == host.StateQueued {
			e.Kind = host.EventRetry
		}
		p.tell(e)
	}
}
