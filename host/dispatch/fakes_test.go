package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
)

// fakeStore holds claims to give out and records what happens to them. Function
// fields replace one method's behaviour; nil means the obvious.
type fakeStore struct {
	DispatchFunc  func(host.DispatchQuery) (host.Dispatched, error)
	MendFunc      func() int
	ClaimFunc     func(ids []host.JobID) ([]host.Claim, error)
	HeartbeatFunc func(beats []host.Beat) ([]host.Pulse, error)
	FinishFunc    func(outcomes []host.Outcome) ([]host.Lease, error)
	ExpireFunc    func() ([]host.Taken, error)
	HangHeartbeat bool

	mu         sync.Mutex
	ready      []host.Doorbell
	claims     map[host.JobID]host.Claim
	undone     []host.JobID
	outcomes   []host.Outcome
	early      []host.Finding
	dispatches int
	finishes   int
	finished   chan host.Outcome // each stored outcome, for tests to wait for
}

var _ host.JobStore = (*fakeStore)(nil)

func newFakeStore(claims ...host.Claim) *fakeStore {
	s := &fakeStore{claims: map[host.JobID]host.Claim{}, finished: make(chan host.Outcome, 1000)}
	for _, c := range claims {
		s.add(c)
	}
	return s
}

func (s *fakeStore) add(c host.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims[c.Job.ID] = c
	s.ready = append(s.ready, host.Doorbell{Plugin: c.Job.Plugin, Job: c.Job.ID})
}

func (s *fakeStore) Dispatch(_ context.Context, q host.DispatchQuery) (host.Dispatched, error) {
	s.mu.Lock()
	s.dispatches++
	f := s.DispatchFunc
	s.mu.Unlock()
	if f != nil {
		out, err := f(q)
		return s.atOnce(q, out), err
	}
	s.mu.Lock()
	n := min(q.Window, len(s.ready))
	out := host.Dispatched{Bells: slices.Clone(s.ready[:n]), More: len(s.ready) > n}
	s.ready = s.ready[n:]
	s.mu.Unlock()
	return s.atOnce(q, out), nil
}

// atOnce claims the first of what was handed out; with ClaimFunc, which tests
// claims by doorbell, none.
func (s *fakeStore) atOnce(q host.DispatchQuery, out host.Dispatched) host.Dispatched {
	if s.ClaimFunc != nil {
		return out
	}
	n := min(q.Claim.Most, len(out.Bells))
	var ids []host.JobID
	for _, b := range out.Bells[:n] {
		ids = append(ids, b.Job)
	}
	out.Claims, out.Bells = s.claim(ids), out.Bells[n:]
	return out
}

func (s *fakeStore) MendLanes(context.Context, int) (int, error) {
	if s.MendFunc != nil {
		return s.MendFunc(), nil
	}
	return 0, nil
}

func (s *fakeStore) Undispatch(_ context.Context, ids []host.JobID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undone = append(s.undone, ids...)
	for _, id := range ids {
		s.ready = append(s.ready, host.Doorbell{Plugin: s.claims[id].Job.Plugin, Job: id})
	}
	return nil
}

func (s *fakeStore) Claim(_ context.Context, _ string, ids []host.JobID, _ time.Duration) ([]host.Claim, error) {
	if s.ClaimFunc != nil {
		return s.ClaimFunc(ids)
	}
	return s.claim(ids), nil
}

func (s *fakeStore) claim(ids []host.JobID) []host.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.Claim
	for _, id := range ids {
		if c, ok := s.claims[id]; ok {
			out = append(out, c)
			delete(s.claims, id)
		}
	}
	return out
}

func (s *fakeStore) Heartbeat(ctx context.Context, beats []host.Beat, _ time.Duration) ([]host.Pulse, error) {
	if s.HangHeartbeat {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	f := s.HeartbeatFunc
	s.mu.Unlock()
	if f != nil {
		return f(beats)
	}
	return pulses(beats, false), nil
}

func pulses(beats []host.Beat, canceled bool) []host.Pulse {
	out := make([]host.Pulse, len(beats))
	for i, b := range beats {
		out[i] = host.Pulse{Lease: b.Lease, CancelRequested: canceled}
	}
	return out
}

func (s *fakeStore) AddFindings(_ context.Context, _ host.Lease, batch []host.Finding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early = append(s.early, batch...)
	return nil
}

func (s *fakeStore) Finish(_ context.Context, outcomes []host.Outcome) ([]host.Lease, error) {
	s.mu.Lock()
	s.finishes++
	s.mu.Unlock()
	if s.FinishFunc != nil {
		if lost, err := s.FinishFunc(outcomes); err != nil || lost != nil {
			return lost, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, outcomes...)
	for _, o := range outcomes {
		s.finished <- o
	}
	return nil, nil
}

func (s *fakeStore) Expire(context.Context, int) ([]host.Taken, error) {
	if s.ExpireFunc != nil {
		return s.ExpireFunc()
	}
	return nil, nil
}

func (s *fakeStore) ReleaseOwner(context.Context, string) ([]host.Taken, error) { return nil, nil }

// fakeBells is a bell board in memory that can be down.
type fakeBells struct {
	mu       sync.Mutex
	down     bool
	lost     bool // the next Listen finds the queue wiped
	rung     chan host.Doorbell
	silenced []host.Ringing
	pings    int
	left     int
}

var _ host.Doorbells = (*fakeBells)(nil)

func newFakeBells() *fakeBells { return &fakeBells{rung: make(chan host.Doorbell, 10_000)} }

func (b *fakeBells) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *fakeBells) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return fmt.Errorf("fake redis: %w", host.ErrUnavailable)
	}
	return nil
}

func (b *fakeBells) Ring(_ context.Context, bells []host.Doorbell) error {
	if err := b.err(); err != nil {
		return err
	}
	for _, d := range bells {
		b.rung <- d
	}
	return nil
}

func (b *fakeBells) Listen(ctx context.Context, _ []string, max int) ([]host.Ringing, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	lost := b.lost
	b.lost = false
	b.mu.Unlock()
	if lost {
		return nil, host.ErrQueueLost
	}
	var out []host.Ringing
	select {
	case <-ctx.Done():
		return nil, nil
	case <-time.After(time.Second):
		return nil, nil
	case d := <-b.rung:
		out = append(out, host.Ringing{Doorbell: d, Receipt: string(d.Job)})
	}
	for len(out) < max {
		select {
		case d := <-b.rung:
			out = append(out, host.Ringing{Doorbell: d, Receipt: string(d.Job)})
		default:
			return out, nil
		}
	}
	return out, nil
}

func (b *fakeBells) Silence(_ context.Context, heard []host.Ringing) error {
	if err := b.err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silenced = append(b.silenced, heard...)
	return nil
}

func (b *fakeBells) Leave(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left++
	return nil
}

func (b *fakeBells) pinged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pings
}

func (b *fakeBells) Ping(context.Context) error {
	b.mu.Lock()
	b.pings++
	b.mu.Unlock()
	return b.err()
}

// runFunc is an executor of one plugin, "p".
type runFunc func(ctx context.Context, t host.Task, s host.Sink) (host.Report, error)

func (f runFunc) Run(ctx context.Context, t host.Task, s host.Sink) (host.Report, error) {
	return f(ctx, t, s)
}
func (runFunc) Plugins() []string { return []string{"p"} }

func succeed(context.Context, host.Task, host.Sink) (host.Report, error) {
	return host.Report{State: host.StateSucceeded}, nil
}

// untilStopped runs until its context ends and says why.
func untilStopped(ctx context.Context, _ host.Task, _ host.Sink) (host.Report, error) {
	<-ctx.Done()
	return host.Report{}, context.Cause(ctx)
}

type fakeWorkspaces struct{ err error }

func (w fakeWorkspaces) Prepare(context.Context, host.Claim, func(host.Progress)) (host.Workspace, error) {
	return host.Workspace{Root: "/tree", WorkDir: "/work", Release: func() {}}, w.err
}

func claim() host.Claim {
	job, scan := host.NewJobID(), host.NewScanID()
	return host.Claim{
		Lease:     host.Lease{Job: job, Epoch: 1, ID: "lease-of-" + string(job)},
		Job:       host.Job{ID: job, ScanID: scan, Plugin: "p", State: host.StateRunning, Attempt: 1, MaxAttempts: 3, Timeout: 10 * time.Minute},
		Scan:      host.Scan{ID: scan, Type: "codeaudit"},
		Remaining: 10 * time.Minute,
	}
}

func outcomeOf(t *testing.T, s *fakeStore) host.Outcome {
	t.Helper()
	select {
	case o := <-s.finished:
		return o
	case <-time.After(time.Hour): // of the bubble's clock
		t.Fatal("no outcome was stored")
		return host.Outcome{}
	}
}
