package watch_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server keeps events as Redis does, for any number of hosts.
type server struct {
	mu      sync.Mutex
	feeds   map[host.Feed][]host.Event
	last    int
	down    bool
	changed chan struct{} // closed with each change
	follows int           // that were asked for
	reads   int
	kept    int
}

func newServer() *server {
	return &server{feeds: map[host.Feed][]host.Event{}, changed: make(chan struct{})}
}

func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) setDown(down bool) { s.change(func() { s.down = down }) }
func (s *server) wipe()             { s.change(func() { clear(s.feeds) }) }

func (s *server) publish(events ...host.Event) {
	s.change(func() {
		if s.down {
			return // it is lost
		}
		for _, e := range events {
			s.last++
			e.ID = host.EventID(fmt.Sprintf("%d-0", s.last))
			feeds := []host.Feed{{Scan: e.Scan}}
			if e.Tenant != "" {
				feeds = append(feeds, host.Feed{Tenant: e.Tenant})
			}
			for _, f := range feeds {
				s.feeds[f] = append(s.feeds[f], e)
			}
		}
	})
}

func (s *server) count() (follows, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.follows, s.reads
}

// asSeen is the server as one host sees it.
type asSeen struct {
	*server
	wake chan struct{}
}

var _ host.Events = asSeen{}

func (s *server) host() asSeen { return asSeen{s, make(chan struct{}, 1)} }

func (s asSeen) Publish(_ context.Context, events []host.Event) error {
	s.publish(events...)
	return nil
}

func (s asSeen) End(_ context.Context, f host.Feed) (host.EventID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return "", host.ErrUnavailable
	}
	if n := len(s.feeds[f]); n > 0 {
		return s.feeds[f][n-1].ID, nil
	}
	return "", nil
}

func (s asSeen) Read(_ context.Context, f host.Feed, after host.EventID, most int, _ time.Duration) ([]host.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return s.behind(f, after, most)
}

func (s asSeen) behind(f host.Feed, after host.EventID, most int) ([]host.Event, error) {
	if s.down {
		return nil, host.ErrUnavailable
	}
	events := s.feeds[f]
	if after != "" {
		i := slices.IndexFunc(events, func(e host.Event) bool { return e.ID == after })
		if i < 0 {
			return nil, host.ErrEventsGone
		}
		events = events[i+1:]
	}
	return slices.Clone(events[:min(len(events), most)]), nil
}

func (s asSeen) Follow(ctx context.Context, places []host.Place, most int, wait time.Duration) ([]host.News, error) {
	s.mu.Lock()
	s.follows++
	s.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		var news []host.News
		for _, at := range places {
			if events := s.feeds[at.Feed]; len(events) == 0 || events[len(events)-1].ID == at.After {
				continue
			}
			events, err := s.behind(at.Feed, at.After, most)
			news = append(news, host.News{Place: at, Events: events, Gone: err != nil})
		}
		down := s.down
		s.mu.Unlock()
		switch {
		case down:
			return nil, host.ErrUnavailable
		case len(news) > 0:
			return news, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.wake:
			return nil, nil
		case <-timer.C:
			return nil, nil
		case <-changed:
		}
	}
}

func (s asSeen) Wake(context.Context) error {
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s asSeen) Keep(_ context.Context, scans []host.ScanID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept += len(scans)
	return nil
}

// store has the scans of one tenant.
type store struct {
	mu    sync.Mutex
	scans map[host.ScanID]host.Scan
	err   error
	reads int
}

func newStore(scans ...host.Scan) *store {
	s := &store{scans: map[host.ScanID]host.Scan{}}
	for _, sc := range scans {
		s.scans[sc.ID] = sc
	}
	return s
}

func (s *store) change(id host.ScanID, f func(*host.Scan)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := s.scans[id]
	sc.Jobs = slices.Clone(sc.Jobs)
	f(&sc)
	s.scans[id] = sc
}

func (s *store) set(f func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *store) Scan(_ context.Context, t host.TenantID, id host.ScanID) (host.Scan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	sc, ok := s.scans[id]
	switch {
	case s.err != nil:
		return host.Scan{}, s.err
	case !ok || sc.TenantID != t:
		return host.Scan{}, host.ErrNotFound
	}
	return sc, nil
}

func (s *store) Scans(_ context.Context, t host.TenantID, q host.ScanQuery) (out []host.Scan, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.scans {
		if sc.TenantID == t && sc.State == q.State && len(out) < q.Limit {
			out = append(out, sc)
		}
	}
	return out, s.err
}

// running is a scan with jobs that run.
func running(t host.TenantID, jobs int) host.Scan {
	s := host.Scan{ID: host.NewScanID(), TenantID: t, State: host.StateRunning}
	for i := range jobs {
		s.Jobs = append(s.Jobs, host.Job{ID: host.NewJobID(), Plugin: "p" + strconv.Itoa(i), State: host.StateRunning, Attempt: 1})
	}
	return s
}

// end ends a job in the store and returns what its host then publishes.
func (s *store) end(scan host.Scan, job int) host.Event {
	s.change(scan.ID, func(sc *host.Scan) {
		sc.Jobs[job].State = host.StateSucceeded
		var states []host.State
		for _, j := range sc.Jobs {
			states = append(states, j.State)
		}
		sc.State = host.DeriveState(states)
	})
	j := scan.Jobs[job]
	return host.Event{Kind: host.EventEnded, Scan: scan.ID, Tenant: scan.TenantID, Job: j.ID, Plugin: j.Plugin, Attempt: j.Attempt, State: host.StateSucceeded}
}

func progress(scan host.Scan, n int) host.Event {
	return host.Event{Kind: host.EventProgress, Scan: scan.ID, Tenant: scan.TenantID, Job: scan.Jobs[0].ID, Attempt: 1, State: host.StateRunning, Findings: n}
}

// start runs a hub until the test's end, or until stop is called.
func start(t *testing.T, srv *server, st *store, cfg watch.Config) (h *watch.Hub, stop func()) {
	t.Helper()
	h, err := watch.New(srv.host(), st, cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
	})
	t.Cleanup(stop)
	return h, stop
}

// eyes reads one reader's items all the time.
type eyes struct {
	r     *watch.Reader
	mu    sync.Mutex
	items []*watch.Item
	ended chan struct{}
	stop  func()
}

func look(t *testing.T, h *watch.Hub, ask watch.Ask) *eyes {
	t.Helper()
	r, err := h.Watch(t.Context(), ask)
	if err != nil {
		t.Fatalf("watch %+v: %v", ask, err)
	}
	e := &eyes{r: r, items: slices.Clone(r.First), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	e.stop = func() { cancel(); <-e.ended }
	go func() {
		defer close(e.ended)
		defer r.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case item, ok := <-r.Items():
				if !ok {
					return
				}
				e.mu.Lock()
				e.items = append(e.items, item)
				e.mu.Unlock()
			}
		}
	}()
	return e
}

// seen says what came, and forgets it.
func (e *eyes) seen() (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.items {
		out = append(out, say(i))
	}
	e.items = nil
	return out
}

// place is the id that it saw last.
func place(items []*watch.Item) (id host.EventID) {
	for _, i := range items {
		if i.Placed {
			id = i.ID
		}
	}
	return id
}

func say(i *watch.Item) string {
	at := ""
	if i.Placed {
		at = "@" + string(i.ID)
	}
	switch i.Kind {
	case watch.KindSnapshot:
		if i.Scans != nil || i.Scan.ID == "" {
			return fmt.Sprintf("snapshot%s of %d", at, len(i.Scans))
		}
		return "snapshot" + at + " " + string(i.Scan.State)
	case watch.KindEvent:
		text := fmt.Sprintf("%s%s %d", i.Event.Kind, at, i.Event.Findings)
		if i.Event.ScanState != "" {
			text += " " + string(i.Event.ScanState)
		}
		return text
	case watch.KindAway:
		return "away" + at
	case watch.KindReset:
		return "reset" + at
	case watch.KindEnded:
		return "ended" + at + " " + string(i.Scan.State)
	}
	return "removed" + at
}
