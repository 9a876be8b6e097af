package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// maxTake is how many requests are asked for at once: on the embedded server a
// script of as many takes a millisecond.
const maxTake = 256

// Config tunes a Limiter. The zero value of each field takes its default.
type Config struct {
	// Hosts is how many share the rates while the shared server is away, and
	// each lets its part through. Default 1.
	Hosts int
	// Keys is how many the host remembers meanwhile; see LocalConfig.
	Keys int
	// Timeout is how long the shared server may take to answer. Default 250ms.
	Timeout time.Duration
	// Pause is how long it is left alone when it did not. Default 1s.
	Pause time.Duration
}

// Limiter counts rates on a shared server, and by itself while that is away.
type Limiter struct {
	shared host.RateLimiter
	local  *Local
	cfg    Config
	meter  host.Meter
	log    hclog.Logger

	mu      sync.Mutex
	working bool // somebody asks
	waiting []*question

	outage outage
}

var _ host.RateLimiter = (*Limiter)(nil)

// question is what one request asks.
type question struct {
	asks    []host.RateAsk
	answers []host.RateAnswer // nil: the shared server did not answer
	turn    chan bool         // true: it was asked; false: ask what waits, this one first
}

// New makes a limiter that asks shared. It starts nothing.
func New(shared host.RateLimiter, cfg Config, meter host.Meter, log hclog.Logger) (*Limiter, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 250 * time.Millisecond
	}
	if cfg.Pause == 0 {
		cfg.Pause = time.Second
	}
	if cfg.Timeout < 0 || cfg.Pause < 0 {
		return nil, fmt.Errorf("rates: timeout %v and pause %v must be positive: %w", cfg.Timeout, cfg.Pause, host.ErrInvalid)
	}
	local, err := NewLocal(LocalConfig{Hosts: cfg.Hosts, Keys: cfg.Keys})
	if err != nil {
		return nil, err
	}
	cfg.Hosts = local.hosts
	return &Limiter{shared: shared, local: local, cfg: cfg, meter: meter, log: log}, nil
}

// Take is that of the shared server, or of this host while that is away: it
// never fails but for asks that are invalid. It takes at most twice
// Config.Timeout, for the question that is under way and its own, and once more
// for each maxTake requests that wait before it.
func (l *Limiter) Take(ctx context.Context, asks []host.RateAsk) ([]host.RateAnswer, error) {
	for _, a := range asks { // one that is wrong must not fail those that it shares the question with
		if err := a.Check(); err != nil {
			return nil, err
		}
	}
	if l.outage.skip(l.cfg.Pause) {
		return l.local.Take(ctx, asks)
	}
	q := &question{asks: asks, turn: make(chan bool, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, q)
	leads := !l.working
	l.working = true
	l.mu.Unlock()
	if leads || !<-q.turn {
		l.ask(ctx)
	}
	if q.answers == nil {
		return l.local.Take(ctx, asks)
	}
	return q.answers, nil
}

// ask asks what waits, the caller's question with it, and hands the work on.
// There is no goroutine of its own: whoever finds nobody at work does it.
func (l *Limiter) ask(ctx context.Context) {
	l.mu.Lock()
	n := min(len(l.waiting), maxTake)
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.mu.Unlock()
	defer l.handOn(batch) // also after a panic: the others must not wait for ever

	var asks []host.RateAsk
	for _, q := range batch {
		asks = append(asks, q.asks...)
	}
	// Whatever happens to this request, the others get their answers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Timeout)
	defer cancel()
	answers, err := l.shared.Take(ctx, asks)
	l.note(err)
	if err != nil {
		return
	}
	for _, q := range batch {
		q.answers, answers = answers[:len(q.asks):len(q.asks)], answers[len(q.asks):]
	}
}

// handOn gives the answers, and the work to who waits longest.
func (l *Limiter) handOn(batch []*question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range batch[1:] {
		q.turn <- true
	}
	if l.working = len(l.waiting) > 0; l.working {
		l.waiting[0].turn <- false
	}
}

// note says once when the shared server goes and once when it is back.
func (l *Limiter) note(err error) {
	began, took := l.outage.note(err != nil, l.cfg.Pause)
	switch {
	case began:
		l.meter.LimitsAlone(true)
		l.log.Error("cannot count rates with the other hosts; this host limits requests by itself", "part", fmt.Sprintf("1/%d", l.cfg.Hosts), "error", err)
	case took > 0:
		l.meter.LimitsAlone(false)
		l.log.Info("can count rates with the other hosts again", "after", took.Round(time.Millisecond))
	}
}

// outage is whether the shared server is away.
type outage struct {
	mu    sync.Mutex
	since time.Time // zero: it is not
	again time.Time // when to ask it again
}

// skip reports whether not to ask now. Who is told to, during an outage, is the
// only one for this pause.
func (o *outage) skip(pause time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return false
	}
	now := time.Now()
	if now.Before(o.again) {
		return true
	}
	o.again = now.Add(pause)
	return false
}

// note takes what the server did, and reports whether an outage began with it,
// or how long the one took that ended with it.
func (o *outage) note(away bool, pause time.Duration) (began bool, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case away:
		began = o.since.IsZero()
		if began {
			o.since = now
		}
		o.again = now.Add(pause)
	case !o.since.IsZero():
		took = max(now.Sub(o.since), 1)
		o.since = time.Time{}
	}
	return began, took
}
