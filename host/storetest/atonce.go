package storetest

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

// atOnce hands out a window with the horizon of a minute and claims up to most
// jobs of it for "host-a".
func (s *suite) atOnce(window, most int) host.Dispatched {
	s.Helper()
	out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: window, Horizon: time.Minute,
		Claim: host.AtOnce{Owner: "host-a", TTL: ttl, Most: most}})
	s.check(err)
	return out
}

func claimedIDs(claims []host.Claim) (ids []host.JobID) {
	for _, c := range claims {
		ids = append(ids, c.Job.ID)
	}
	return ids
}

// testAtOnce: what is claimed at once is claimed like any other, has no doorbell
// and takes no room in the window.
func testAtOnce(s *suite) {
	if out := s.atOnce(10, 5); len(out.Bells)+len(out.Claims) != 0 || out.More {
		s.Errorf("of nothing: %+v", out)
	}
	scan := s.accept(newScan(s.tenant(), plugins(6)...))
	if out := s.atOnce(0, 5); len(out.Bells)+len(out.Claims) != 0 || !out.More {
		s.Errorf("with no window: %+v", out)
	}
	out := s.atOnce(3, 2)
	if len(out.Claims) != 2 || len(out.Bells) != 1 || !out.More || !near(out.Next, time.Minute) {
		s.Fatalf("two of a window of three: %+v", out)
	}
	after := s.get(scan)
	s.wantClaims(after, out.Claims)
	running := 0
	for _, j := range after.Jobs {
		if j.State == host.StateRunning {
			running++
		}
	}
	if running != 2 {
		s.Errorf("%d jobs run, want the two that were claimed", running)
	}
	// The window of three has one in it.
	next := s.atOnce(3, -1)
	if len(next.Claims) != 0 || len(next.Bells) != 2 || !next.More {
		s.Errorf("the next, with none to claim: %+v", next)
	}
	ids := append(claimedIDs(out.Claims), append(bellsOf(out), bellsOf(next)...)...)
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 5 {
		s.Errorf("a job was handed out twice: %v", ids)
	}
	// A doorbell that nobody heard leads to a claim like any other.
	s.advance(2 * time.Minute)
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: out.Claims[0].Lease}}, ttl)
	s.check(err)
	if len(pulses) != 0 {
		s.Error("a lease outlived its length")
	}
	if _, err := s.Expire(s.ctx(), 10); err != nil {
		s.Fatal(err)
	}
	again := s.atOnce(100, 100)
	if len(again.Claims) != 6 || len(again.Bells) != 0 || again.More {
		s.Errorf("everything, later: %+v", again)
	}
	started := s.get(scan).StartedAt
	for _, c := range again.Claims {
		s.finish(end(c.Lease, host.StateSucceeded))
		if !c.Scan.StartedAt.Equal(started) {
			s.Errorf("a later claim says that the scan started at %v, not %v", c.Scan.StartedAt, started)
		}
	}
	s.consistent(scan)
	s.wantState(scan, host.StateSucceeded, host.StateSucceeded)
}

// testAtOnceOrder: the slots are for those whose turn is first: what was lost,
// then what is urgent.
func testAtOnceOrder(s *suite) {
	t := s.tenant()
	lost := s.accept(newScan(t, "p"))
	if out := s.atOnce(1, 0); !sameIDs(bellsOf(out), jobIDs(lost)) {
		s.Fatalf("dispatched %+v", out)
	}
	s.advance(2 * time.Minute)
	low, high := newScan(t, "p"), newScan(t, "p")
	low.Priority, high.Priority = host.PriorityLow, host.PriorityHigh
	low, high = s.accept(low), s.accept(high)
	for _, want := range []host.Scan{lost, high} {
		if out := s.atOnce(1, 1); !sameIDs(claimedIDs(out.Claims), jobIDs(want)) || len(out.Bells) != 0 {
			s.Errorf("claimed %+v, want that of scan %s", out, want.ID)
		}
	}
	again, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 5, Horizon: time.Minute, Again: true,
		Claim: host.AtOnce{Owner: "b", TTL: ttl, Most: 5}})
	s.check(err)
	if !sameIDs(claimedIDs(again.Claims), jobIDs(low)) {
		s.Errorf("claimed %+v, want that of scan %s", again, low.ID)
	}
}

// testAtOnceLeavesOut: nothing is claimed that Claim would leave out.
func testAtOnceLeavesOut(s *suite) {
	t := s.tenant()
	canceled := s.one()
	s.cancel(canceled)
	later, l := s.running()
	retry := end(l, host.StateQueued)
	retry.RetryAfter = time.Hour
	s.finish(retry)
	overdue := newScan(t, "p")
	overdue.Jobs[0].Timeout = time.Minute
	overdue = s.accept(overdue)
	s.finish(end(s.claimAll(overdue)[0].Lease, host.StateQueued))
	s.advance(2 * time.Minute)
	s.accept(newScan(t, "of no host here"))
	paused, typed := s.typed(t, "web", "a"), s.typed(t, "codeaudit", "b")
	s.pause(host.PausePlugin, "a")
	s.pause(host.PauseScanType, "codeaudit")
	if out := s.atOnce(10, 10); len(out.Claims)+len(out.Bells) != 0 || out.More {
		s.Errorf("dispatched %+v, want nothing", out)
	}
	s.wantState(overdue, host.StateTimedOut, host.StateTimedOut)
	s.wantState(later, host.StateQueued, host.StateQueued)
	s.pause(host.PauseAll, "")
	s.resume(host.PausePlugin, "a")
	if out := s.atOnce(10, 10); len(out.Claims)+len(out.Bells) != 0 {
		s.Errorf("with all paused dispatched %+v", out)
	}
	s.resume(host.PauseAll, "")
	if out := s.atOnce(10, 10); !sameIDs(claimedIDs(out.Claims), jobIDs(paused)) {
		s.Errorf("claimed %+v, want what is not paused any more", out)
	}
	s.wantState(typed, host.StateQueued, host.StateQueued)
}

// testAtOnceCaps: what is claimed counts for the caps, and when it has ended no
// more.
func testAtOnceCaps(s *suite) {
	t := s.tenant()
	for range 6 {
		s.accept(newScan(t, "p"))
	}
	q := host.DispatchQuery{Plugins: everyPlugin(), Window: 10, Horizon: time.Minute, Caps: host.Caps{Tenant: 3},
		Claim: host.AtOnce{Owner: "host-a", TTL: ttl, Most: 2}}
	total := 0
	for _, want := range []struct{ claims, bells int }{{2, 1}, {2, 0}, {1, 0}} {
		out, err := s.Dispatch(s.ctx(), q)
		s.check(err)
		if len(out.Claims) != want.claims || len(out.Bells) != want.bells || !out.Capped && total < 3 {
			s.Errorf("under a cap of three, after %d: %+v, want %+v", total, out, want)
		}
		total += want.claims + want.bells
		if more, err := s.Dispatch(s.ctx(), q); err != nil || len(more.Claims)+len(more.Bells) != 0 {
			s.Errorf("over the cap: %+v, %v", more, err)
		}
		for _, c := range out.Claims {
			s.finish(end(c.Lease, host.StateSucceeded))
		}
	}
}

// testAtOnceArchive: the claim brings what the store keeps of the archive.
func testAtOnceArchive(s *suite) {
	data := bytes.Repeat([]byte("zip"), 5000)
	scan := newScan(s.tenant(), "a", "b")
	scan.Input = host.Input{Archive: &host.Archive{Data: data, Format: "zip", Size: int64(len(data))}}
	s.accept(scan)
	out := s.atOnce(10, 10)
	if len(out.Claims) != 2 {
		s.Fatalf("claimed %d", len(out.Claims))
	}
	for _, c := range out.Claims {
		if !bytes.Equal(c.Scan.Input.Archive.Data, data) {
			s.Errorf("a claim has %d bytes", len(c.Scan.Input.Archive.Data))
		}
	}
}

// testAtOnceConcurrent: hosts that dispatch, claim and cancel side by side get
// each job once, and no scan contradicts its jobs.
func testAtOnceConcurrent(s *suite) {
	t := s.tenant()
	for range 5 {
		var scans []host.Scan
		for range 12 {
			scans = append(scans, s.accept(newScan(t, plugins(3)...)))
		}
		var mu sync.Mutex
		got := map[host.JobID]int{}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range 5 {
			wg.Go(func() {
				<-start
				for range 4 {
					out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 20, Horizon: time.Hour,
						Claim: host.AtOnce{Owner: "host-a", TTL: ttl, Most: 3}})
					if err != nil {
						s.Error(err)
						return
					}
					rung, err := s.Store.Claim(s.ctx(), "host-b", bellsOf(out), ttl)
					if err != nil {
						s.Error(err)
					}
					if _, err := s.Cancel(s.ctx(), t, scans[w].ID); err != nil {
						s.Error(err)
					}
					mu.Lock()
					for _, c := range append(out.Claims, rung...) {
						got[c.Job.ID]++
					}
					mu.Unlock()
				}
			})
		}
		close(start)
		wg.Wait()
		for id, n := range got {
			if n != 1 {
				s.Errorf("job %s was claimed %d times", id, n)
			}
		}
		for _, scan := range scans {
			s.consistent(scan)
			for _, j := range s.get(scan).Jobs {
				if (j.State == host.StateRunning) != (got[j.ID] == 1) {
					s.Errorf("job %s is %s and was claimed %d times", j.ID, j.State, got[j.ID])
				}
			}
		}
		for _, owner := range []string{"host-a", "host-b"} {
			_, err := s.ReleaseOwner(s.ctx(), owner)
			s.check(err)
		}
		for _, scan := range scans {
			s.cancel(scan)
		}
	}
}
