package main

import (
	"context"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/bench/peers/report"
	"github.com/securetaghq/securetag/bench/peers/stats"
)

const (
	clients    = 32
	warmUps    = 1000
	idleCount  = 200
	idlePerSec = 20
	longest    = 3 * time.Minute // any one phase
)

// warmUp starts the system and puts jobs through it: connections, statements,
// just-in-time compilers, plugin processes.
func (s *subject) warmUp(ctx context.Context) error {
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.ledger.clear(ctx); err != nil {
		return err
	}
	if err := s.startWorker(ctx); err != nil {
		return err
	}
	if _, err := load.Run(ctx, s.addr, s.request, warmUps, clients); err != nil {
		return err
	}
	return s.await(ctx, warmUps, longest)
}

// during measures what f costs. A process that f starts is counted.
func (s *subject) during(jobs int, f func() error) (report.Common, error) {
	meter.Settle(s.groups(), s.bench.settle)
	before := meter.Take()
	if err := f(); err != nil {
		return report.Common{}, err
	}
	return report.Common{Usage: meter.Between(before, meter.Take(), s.groups()), Jobs: jobs, Peak: s.peaks()}, nil
}

// live uploads as fast as the server takes it while the worker works.
func (s *subject) live(ctx context.Context, r *report.Result) (*report.Common, error) {
	if err := s.ledger.clear(ctx); err != nil {
		return nil, err
	}
	p, n := &report.Live{}, s.bench.uploads
	var err error
	p.Common, err = s.during(n, func() (err error) {
		if p.Burst, err = load.Run(ctx, s.addr, s.request, n, clients); err != nil {
			return err
		}
		return s.await(ctx, n, longest)
	})
	if err != nil {
		return nil, err
	}
	spans, err := s.ledger.spans(ctx)
	if err != nil {
		return nil, err
	}
	_, last := bounds(spans)
	p.EndPerSec = float64(n) / last.Sub(p.Burst.Began).Seconds()
	r.Live = p
	return &p.Common, nil
}

// idle uploads so slowly that no job waits for another.
func (s *subject) idle(ctx context.Context, r *report.Result) (*report.Common, error) {
	if err := s.ledger.clear(ctx); err != nil {
		return nil, err
	}
	p := &report.Idle{}
	var (
		sent []load.Sent
		err  error
	)
	p.Common, err = s.during(idleCount, func() (err error) {
		if sent, err = load.Pace(ctx, s.addr, s.request, idleCount, idlePerSec); err != nil {
			return err
		}
		return s.await(ctx, idleCount, longest)
	})
	if err != nil {
		return nil, err
	}
	spans, err := s.ledger.spans(ctx)
	if err != nil {
		return nil, err
	}
	var answer, pickUp, started, completed []float64
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	for _, u := range sent {
		t, ok := spans[u.ID]
		if !ok {
			return nil, fmt.Errorf("upload %s has no row", u.ID)
		}
		answer = append(answer, ms(u.Confirmed.Sub(u.Sent)))
		pickUp = append(pickUp, ms(t.started.Sub(u.Confirmed)))
		started = append(started, ms(t.started.Sub(u.Sent)))
		completed = append(completed, ms(t.completed.Sub(u.Sent)))
	}
	p.Answer, p.PickUp, p.Started, p.Completed = stats.Of(answer), stats.Of(pickUp), stats.Of(started), stats.Of(completed)
	r.Idle = p
	return &p.Common, nil
}

// api uploads while no worker runs, and leaves the jobs queued.
func (s *subject) api(ctx context.Context, r *report.Result) (*report.Common, error) {
	if err := s.empty(ctx); err != nil {
		return nil, err
	}
	p, n := &report.API{}, s.bench.uploads
	var err error
	p.Common, err = s.during(n, func() (err error) {
		p.Burst, err = load.Run(ctx, s.addr, s.request, n, clients)
		return err
	})
	r.API, s.queued = p, true
	return &p.Common, err
}

// backlog starts the worker on jobs that are queued.
func (s *subject) backlog(ctx context.Context, r *report.Result) (*report.Common, error) {
	n := s.bench.uploads
	if !s.queued {
		if err := s.empty(ctx); err != nil {
			return nil, err
		}
		if _, err := load.Run(ctx, s.addr, s.request, n, clients); err != nil {
			return nil, err
		}
	}
	s.queued = false
	p := &report.Drain{Queued: n}
	var err error
	p.Common, err = s.during(n, func() error {
		if err := s.startWorker(ctx); err != nil {
			return err
		}
		return s.await(ctx, n, longest)
	})
	if err != nil {
		return nil, err
	}
	spans, err := s.ledger.spans(ctx)
	if err != nil {
		return nil, err
	}
	first, last := bounds(spans)
	p.PerSec = float64(n) / last.Sub(first).Seconds()
	r.Backlog = p
	return &p.Common, nil
}

// empty leaves a server with an empty queue and no worker. A queue does not
// forget its jobs with their rows: they are worked off.
func (s *subject) empty(ctx context.Context) error {
	queued, _, err := s.ledger.count(ctx)
	if err != nil {
		return err
	}
	if err := s.startWorker(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, queued, longest); err != nil {
		return err
	}
	if err := s.stopWorker(); err != nil {
		return err
	}
	return s.ledger.clear(ctx)
}
