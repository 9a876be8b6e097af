package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

func testConcurrentClaim(s *suite) {
	t := s.tenant()
	var ids []host.JobID
	for range 20 {
		ids = append(ids, jobIDs(s.accept(newScan(t, plugins(5)...)))...)
	}
	var mu sync.Mutex
	won := map[host.JobID][]string{}
	var wg sync.WaitGroup
	for w := range 8 {
		owner := fmt.Sprint("host-", w)
		mine := make([]host.JobID, len(ids))
		for i, p := range rand.Perm(len(ids)) {
			mine[i] = ids[p]
		}
		wg.Go(func() {
			for len(mine) > 0 {
				n := min(len(mine), 7)
				claims, err := s.Claim(s.ctx(), owner, mine[:n], ttl)
				if err != nil {
					s.Error(err)
					return
				}
				mine = mine[n:]
				mu.Lock()
				for _, c := range claims {
					won[c.Job.ID] = append(won[c.Job.ID], owner)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if len(won[id]) != 1 {
			s.Errorf("job %s was claimed by %v, want exactly one", id, won[id])
		}
	}
}

// testConcurrentFinish ends the jobs of one scan at the same moment: whoever
// comes last must see all of them.
func testConcurrentFinish(s *suite) {
	t := s.tenant()
	finals := []host.State{host.StateSucceeded, host.StatePartial, host.StateFailed, host.StateTimedOut, host.StateCanceled}
	for range 25 {
		scan := s.accept(newScan(t, plugins(4)...))
		start := make(chan struct{})
		var wg sync.WaitGroup
		var want []host.State
		for _, c := range s.claimAll(scan) {
			o := end(c.Lease, finals[rand.IntN(len(finals))])
			if o.State == host.StateSucceeded {
				o.Findings = newFindings(3, host.SeverityHigh)
			}
			want = append(want, o.State)
			wg.Go(func() {
				<-start
				if lost, err := s.Finish(s.ctx(), []host.Outcome{o}); err != nil || len(lost) > 0 {
					s.Errorf("finish: lost %v, %v", lost, err)
				}
			})
		}
		close(start)
		wg.Wait()
		s.consistent(scan)
		if got := s.get(scan).State; got != host.DeriveState(want) {
			s.Errorf("scan is %s, want %s of %v", got, host.DeriveState(want), want)
		}
	}
}

// testConcurrentFinishOne ends one attempt many times at once, with different
// results: exactly one is stored, whole.
func testConcurrentFinishOne(s *suite) {
	for range 10 {
		scan, l := s.running()
		start := make(chan struct{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		var stored []int
		for n := range 6 {
			o := end(l, host.StateSucceeded)
			o.Findings = newFindings(n+1, host.SeverityHigh)
			wg.Go(func() {
				<-start
				lost, err := s.Finish(s.ctx(), []host.Outcome{o})
				if err != nil {
					s.Error(err)
				}
				if len(lost) == 0 {
					mu.Lock()
					stored = append(stored, n+1)
					mu.Unlock()
				}
			})
		}
		close(start)
		wg.Wait()
		if len(stored) != 1 {
			s.Fatalf("%d results were stored, want one", len(stored))
		}
		if got := s.get(scan).Counts.High; got != stored[0] || len(s.findings(scan, host.FindingQuery{})) != got {
			s.Errorf("%d findings counted, want those of the one stored: %d", got, stored[0])
		}
	}
}

// consistent checks what must hold of a scan at any time between operations.
func (s *suite) consistent(scan host.Scan) {
	s.Helper()
	got := s.get(scan)
	var states []host.State
	var sum host.Counts
	for _, j := range got.Jobs {
		states, sum = append(states, j.State), sum.Plus(j.Counts)
		if j.State.Final() == j.FinishedAt.IsZero() || j.Attempt > j.MaxAttempts || j.Attempt < 0 {
			s.Errorf("job %+v", j)
		}
	}
	if got.State != host.DeriveState(states) || got.Counts != sum || got.State.Final() == got.FinishedAt.IsZero() {
		s.Errorf("scan is %s with counts %+v, finished %v; its jobs are %v with %+v", got.State, got.Counts, got.FinishedAt, states, sum)
	}
	shown := 0
	for q := (host.FindingQuery{Limit: 1000}); ; {
		page := s.findings(scan, q)
		shown += len(page)
		if len(page) < 1000 {
			break
		}
		last := page[len(page)-1]
		q.After = &host.FindingCursor{Rank: last.Severity.Rank(), ID: last.ID}
	}
	if shown != sum.Total() {
		s.Errorf("%d findings show, %d are counted", shown, sum.Total())
	}
}

// testConcurrentEverything lets hosts claim, beat, add, finish, release,
// expire, dispatch and cancel across the same scans. No operation may fail
// (a deadlock would), and every scan must add up afterwards.
func testConcurrentEverything(s *suite) {
	var scans []host.Scan
	var ids []host.JobID
	for range 3 {
		t := s.tenant()
		for range 8 {
			scan := s.accept(newScan(t, plugins(3)...))
			scans, ids = append(scans, scan), append(ids, jobIDs(scan)...)
		}
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			h := chaosHost{suite: s, owner: fmt.Sprint("host-", w), rng: rand.New(rand.NewPCG(uint64(w), 1)), scans: scans, ids: ids}
			for range 60 {
				if err := h.step(); err != nil {
					s.Errorf("%s: %v", h.owner, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, scan := range scans {
		s.consistent(scan)
	}
}

type chaosHost struct {
	*suite
	owner string
	rng   *rand.Rand
	scans []host.Scan
	ids   []host.JobID
	held  []host.Lease
}

func (h *chaosHost) step() error {
	switch h.rng.IntN(9) {
	case 0, 1:
		var some []host.JobID
		for range 10 {
			some = append(some, h.ids[h.rng.IntN(len(h.ids))])
		}
		claims, err := h.Claim(h.ctx(), h.owner, some, time.Duration(1+h.rng.IntN(50))*time.Millisecond)
		for _, c := range claims {
			h.held = append(h.held, c.Lease)
		}
		return err
	case 2:
		var beats []host.Beat
		for _, l := range h.held {
			beats = append(beats, host.Beat{Lease: l, Progress: host.Progress{Done: 1}})
		}
		_, err := h.Heartbeat(h.ctx(), beats, 50*time.Millisecond)
		return err
	case 3:
		for _, l := range h.held {
			if err := h.AddFindings(h.ctx(), l, newFindings(3, host.SeverityHigh)); err != nil && !errors.Is(err, host.ErrLeaseLost) {
				return err
			}
		}
	case 4, 5:
		states := []host.State{host.StateSucceeded, host.StatePartial, host.StateFailed, host.StateQueued, host.StateQueued, host.StateCanceled}
		var outcomes []host.Outcome
		for _, l := range h.held {
			o := end(l, states[h.rng.IntN(len(states))])
			o.Findings, o.Release = newFindings(2, host.SeverityLow), h.rng.IntN(2) == 0
			outcomes = append(outcomes, o)
		}
		h.held = nil
		_, err := h.Finish(h.ctx(), outcomes)
		return err
	case 6:
		_, err := h.Expire(h.ctx(), 20)
		return err
	case 7:
		out, err := h.Dispatch(h.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 20, Horizon: 10 * time.Millisecond,
			Claim: host.AtOnce{Owner: h.owner, TTL: time.Duration(1+h.rng.IntN(50)) * time.Millisecond, Most: h.rng.IntN(5)}})
		if err != nil {
			return err
		}
		for _, c := range out.Claims {
			h.held = append(h.held, c.Lease)
		}
		var back []host.JobID
		for _, b := range out.Bells {
			if h.rng.IntN(2) == 0 {
				back = append(back, b.Job)
			}
		}
		return h.Undispatch(h.ctx(), back)
	default:
		if h.rng.IntN(4) > 0 {
			_, err := h.ReleaseOwner(h.ctx(), h.owner)
			return err
		}
		scan := h.scans[h.rng.IntN(len(h.scans))]
		if _, err := h.Cancel(h.ctx(), scan.TenantID, scan.ID); err != nil && !errors.Is(err, host.ErrConflict) {
			return err
		}
	}
	return nil
}

func testContextEnded(s *suite) {
	scan, l := s.running()
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	for name, call := range s.calls(ctx, scan, l) {
		err := call()
		if !errors.Is(err, context.Canceled) || errors.Is(err, host.ErrUnavailable) {
			s.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	late, done := context.WithDeadline(s.ctx(), time.Now().Add(-time.Second))
	defer done()
	if _, err := s.Scan(late, scan.TenantID, scan.ID); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("past the deadline: %v", err)
	}
	s.wantState(scan, host.StateRunning, host.StateRunning)
	s.finish(end(l, host.StateSucceeded))
}

func testAfterClose(s *suite) {
	scan, l := s.running()
	s.check(s.Ping(s.ctx()))
	s.check(s.Close())
	s.check(s.Close())
	for name, call := range s.calls(s.ctx(), scan, l) {
		if err := call(); !errors.Is(err, host.ErrUnavailable) {
			s.Errorf("%s on a closed store: %v", name, err)
		}
	}
}

// calls is every method that asks the server.
func (s *suite) calls(ctx context.Context, scan host.Scan, l host.Lease) map[string]func() error {
	return map[string]func() error{
		"CreateTenant": func() error {
			return s.CreateTenant(ctx, host.Tenant{ID: host.NewTenantID(), Name: "new"})
		},
		"TenantByName": func() error { _, err := s.TenantByName(ctx, "t"); return err },
		"Tenants":      func() error { _, err := s.Tenants(ctx); return err },
		"CreateKey":    func() error { return s.CreateKey(ctx, newKey(scan.TenantID, 5)) },
		"UseKey":       func() error { _, err := s.UseKey(ctx, [32]byte{}); return err },
		"GoodKeys":     func() error { _, err := s.GoodKeys(ctx, [][32]byte{{}}); return err },
		"Keys":         func() error { _, err := s.Keys(ctx, scan.TenantID); return err },
		"RevokeKey":    func() error { return s.RevokeKey(ctx, scan.TenantID, host.NewKeyID()) },
		"Accept":       func() error { _, err := s.Accept(ctx, []host.Scan{newScan(scan.TenantID, "p")}, nil); return err },
		"Scan":         func() error { _, err := s.Scan(ctx, scan.TenantID, scan.ID); return err },
		"Scans":        func() error { _, err := s.Scans(ctx, scan.TenantID, host.ScanQuery{}); return err },
		"Cancel":       func() error { _, err := s.Cancel(ctx, scan.TenantID, scan.ID); return err },
		"Findings": func() error {
			_, err := s.Findings(ctx, scan.TenantID, scan.ID, host.FindingQuery{})
			return err
		},
		"Dispatch": func() error {
			_, err := s.Dispatch(ctx, host.DispatchQuery{Plugins: everyPlugin(), Window: 1, Horizon: time.Hour})
			return err
		},
		"Undispatch": func() error { return s.Undispatch(ctx, jobIDs(scan)) },
		"Claim":      func() error { _, err := s.Claim(ctx, "a", jobIDs(scan), ttl); return err },
		"Heartbeat": func() error {
			_, err := s.Heartbeat(ctx, []host.Beat{{Lease: l}}, ttl)
			return err
		},
		"AddFindings": func() error { return s.AddFindings(ctx, l, newFindings(1, host.SeverityLow)) },
		"Finish": func() error {
			_, err := s.Finish(ctx, []host.Outcome{end(l, host.StateSucceeded)})
			return err
		},
		"Expire":       func() error { _, err := s.Expire(ctx, 1); return err },
		"ReleaseOwner": func() error { _, err := s.ReleaseOwner(ctx, "a"); return err },
		"Ping":         func() error { return s.Ping(ctx) },
	}
}
