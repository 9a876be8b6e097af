package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// Store is what watching needs of the store.
type Store interface {
	Scan(ctx context.Context, t host.TenantID, id host.ScanID) (host.Scan, error)
	Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) ([]host.Scan, error)
}

// Config tunes a Hub. The zero value of each field takes its default.
type Config struct {
	// Readers is how many this host has at once, at most; default 2000.
	Readers int
	// TenantReaders is the same of one tenant; default 500.
	TenantReaders int
	// Buffer is how many items a reader may be behind; default 256.
	Buffer int
	// Check is how often a scan that somebody watches is read from the store
	// when no event asks for it; default 10s. It must be shorter than events are
	// kept after a job's end.
	Check time.Duration
	// Retry is the same while events are away; default 2s.
	Retry time.Duration
	// Settle is how long the events of a scan that ended may take; default 500ms.
	Settle time.Duration
	// Pace is the least time between two reads of events, which gathers those
	// that come at about the same time; default 25ms.
	Pace time.Duration
}

func (c *Config) fill() error {
	for _, n := range []struct {
		field *int
		value int
	}{{&c.Readers, 2000}, {&c.TenantReaders, 500}, {&c.Buffer, 256}} {
		if *n.field == 0 {
			*n.field = n.value
		}
		if *n.field < 0 {
			return fmt.Errorf("watch: a bound must be positive, not %d: %w", *n.field, host.ErrInvalid)
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Check, 10 * time.Second}, {&c.Retry, 2 * time.Second}, {&c.Settle, 500 * time.Millisecond}, {&c.Pace, 25 * time.Millisecond}} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return fmt.Errorf("watch: a time must be positive, not %v: %w", *d.field, host.ErrInvalid)
		}
	}
	return nil
}

const (
	followWait  = time.Minute     // of one Follow; it is woken when there is more to follow
	callTimeout = 5 * time.Second // of one call of store or events
	lookups     = 8               // reads of the store at once, so that watching leaves the others room
)

// Hub is what readers of this host have in common. Safe for concurrent use.
type Hub struct {
	events host.Events
	store  Store
	cfg    Config
	log    hclog.Logger
	rows   chan struct{} // a place for each read of the store
	poke   chan struct{} // the topics changed

	mu        sync.Mutex // taken before a topic's
	topics    map[host.Feed]*topic
	open      int
	tenants   map[host.TenantID]int
	following bool // a Follow waits
	stopping  bool
	running   sync.WaitGroup // topics
}

// New makes a hub; Run starts it.
func New(events host.Events, store Store, cfg Config, log hclog.Logger) (*Hub, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	return &Hub{
		events: events, store: store, cfg: cfg, log: log, rows: make(chan struct{}, lookups), poke: make(chan struct{}, 1),
		topics: map[host.Feed]*topic{}, tenants: map[host.TenantID]int{},
	}, nil
}

// Readers is how many there are.
func (h *Hub) Readers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Run follows events until ctx ends, and ends all readers then. It returns when
// nothing of the hub runs any more.
func (h *Hub) Run(ctx context.Context) error {
	defer h.running.Wait()
	stopped := context.AfterFunc(ctx, h.stop) // at once, whatever Follow waits for
	defer stopped()
	down := false
	for ctx.Err() == nil {
		places := h.places()
		if len(places) == 0 {
			select {
			case <-ctx.Done():
			case <-h.poke:
			}
			continue
		}
		news, err := h.events.Follow(ctx, places, host.MaxEvents, followWait)
		h.followed()
		if ctx.Err() != nil {
			break
		}
		if (err != nil) != down {
			down = err != nil
			h.report(err)
		}
		switch {
		case err != nil:
			h.lose()
			pause(ctx, h.cfg.Retry/2)
		case len(news) > 0:
			for _, n := range news {
				if t := h.find(n.Place.Feed); t != nil {
					t.take(n)
				}
			}
			pause(ctx, h.cfg.Pace)
		}
	}
	h.stop()
	return nil
}

func (h *Hub) report(err error) {
	if err != nil {
		h.log.Warn("live events cannot be read: whoever watches a scan sees what the database says", "error", err)
		return
	}
	h.log.Info("live events can be read again")
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// places are those to follow; from now on whoever adds one must wake.
func (h *Hub) places() (out []host.Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.poke: // seen with this
	default:
	}
	for _, t := range h.topics {
		if at, ok := t.follows(); ok {
			out = append(out, at)
		}
	}
	h.following = len(out) > 0
	return out
}

func (h *Hub) followed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.following = false
}

// wake makes Run look at its topics again.
func (h *Hub) wake(ctx context.Context) {
	h.mu.Lock()
	following := h.following
	select {
	case h.poke <- struct{}{}:
	default:
	}
	h.mu.Unlock()
	if following {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_ = h.events.Wake(ctx) // the server is away: Follow finds out by itself
	}
}

func (h *Hub) find(f host.Feed) *topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.topics[f]
}

func (h *Hub) all() (out []*topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		out = append(out, t)
	}
	return out
}

// lose tells all topics that events are away.
func (h *Hub) lose() {
	for _, t := range h.all() {
		t.lose()
	}
}

// stop ends all readers and takes no more.
func (h *Hub) stop() {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	for _, t := range h.all() {
		t.stop()
	}
}

// scan reads a scan from the store, in its turn.
func (h *Hub) scan(ctx context.Context, t host.TenantID, id host.ScanID) (s host.Scan, err error) {
	err = h.inTurn(ctx, func(ctx context.Context) error {
		s, err = h.store.Scan(ctx, t, id)
		return err
	})
	return s, err
}

func (h *Hub) inTurn(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case h.rows <- struct{}{}:
		defer func() { <-h.rows }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn to read the store: %w", ctx.Err())
	}
	return f(ctx)
}

// admit counts a reader in.
func (h *Hub) admit(t host.TenantID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopping:
		return ErrStopping
	case h.tenants[t] >= h.cfg.TenantReaders:
		return fmt.Errorf("%w: %d", ErrTenantFull, h.cfg.TenantReaders)
	case h.open >= h.cfg.Readers:
		return fmt.Errorf("%w: %d", ErrHostFull, h.cfg.Readers)
	}
	h.open++
	h.tenants[t]++
	return nil
}

func (h *Hub) dismiss(t host.TenantID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
	if h.tenants[t]--; h.tenants[t] == 0 {
		delete(h.tenants, t)
	}
}

// enter gives the topic of a feed, which it starts when there is none. Each call
// is undone by leave.
func (h *Hub) enter(ctx context.Context, tenant host.TenantID, feed host.Feed) (*topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return nil, ErrStopping
	}
	t := h.topics[feed]
	if t == nil {
		// It goes on when the request that began it has ended.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		t = newTopic(h, tenant, feed, cancel)
		h.topics[feed] = t
		h.running.Go(func() { t.run(own) })
	}
	t.refs++
	return t, nil
}

func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.refs--; t.refs == 0 {
		h.forget(t)
	}
}

// forget ends a topic's goroutine; mu is held.
func (h *Hub) forget(t *topic) {
	if h.topics[t.feed] == t {
		delete(h.topics, t.feed)
	}
	t.cancel()
}

func gone(err error) bool {
	return errors.Is(err, host.ErrEventsGone) || errors.Is(err, host.ErrInvalid)
}
