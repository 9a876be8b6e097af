package storetest

import (
	"slices"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

func (s *suite) dispatch(window int, horizon time.Duration) host.Dispatched {
	s.Helper()
	out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: window, Horizon: horizon})
	s.check(err)
	return out
}

func testDispatchWindow(s *suite) {
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || out.Next != 0 || out.More {
		s.Errorf("an empty store dispatched %+v", out)
	}
	scan := s.accept(newScan(s.tenant(), plugins(5)...))
	if out := s.dispatch(0, time.Hour); len(out.Bells) != 0 || !out.More {
		s.Errorf("a window of none dispatched %+v", out)
	}
	first := s.dispatch(2, time.Hour)
	if len(first.Bells) != 2 || !first.More || !near(first.Next, time.Hour) {
		s.Errorf("a window of 2 dispatched %+v", first)
	}
	plugin := map[host.JobID]string{}
	for _, j := range scan.Jobs {
		plugin[j.ID] = j.Plugin
	}
	for _, b := range first.Bells {
		if plugin[b.Job] != b.Plugin || b.Plugin == "" {
			s.Errorf("bell %+v names the wrong plugin", b)
		}
	}
	if out := s.dispatch(2, time.Hour); len(out.Bells) != 0 || !out.More {
		s.Errorf("a full window dispatched %+v", out)
	}
	// A claim makes room; a running job is not in the window.
	if _, err := s.Store.Claim(s.ctx(), "a", []host.JobID{first.Bells[0].Job}, ttl); err != nil {
		s.Fatal(err)
	}
	second := s.dispatch(2, time.Hour)
	if len(second.Bells) != 1 || !second.More || slices.Contains(first.Bells, second.Bells[0]) {
		s.Errorf("after a claim: %+v, before %+v", second, first)
	}
	rest := s.dispatch(100, time.Hour)
	if len(rest.Bells) != 2 || rest.More {
		s.Errorf("a wide window: %+v", rest)
	}
	s.wantState(scan, s.job(scan).State, host.StateRunning)
}

func testDispatchHorizon(s *suite) {
	s.accept(newScan(s.tenant(), plugins(3)...))
	first := s.dispatch(2, time.Minute)
	if !near(first.Next, time.Minute) || first.Next > time.Minute {
		s.Errorf("next in %v, want the horizon", first.Next)
	}
	s.advance(30 * time.Second)
	if out := s.dispatch(2, time.Minute); len(out.Bells) != 0 || !near(out.Next, 30*time.Second) {
		s.Errorf("within the horizon: %+v", out)
	}
	s.advance(31 * time.Second)
	// The lost ones come again, before those that have not been out.
	again := s.dispatch(2, time.Minute)
	byJob := func(a, b host.Doorbell) int { return len(a.Job) - len(b.Job) + compare(a.Job, b.Job) }
	slices.SortFunc(first.Bells, byJob)
	slices.SortFunc(again.Bells, byJob)
	if !slices.Equal(first.Bells, again.Bells) || !again.More {
		s.Errorf("after the horizon %+v, want %+v again", again, first)
	}
	if out := s.dispatch(3, time.Minute); len(out.Bells) != 1 {
		s.Errorf("with room for one more: %+v", out)
	}
}

func compare[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func testUndispatch(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(3)...))
	out := s.dispatch(3, time.Hour)
	claimed := out.Bells[0].Job
	if _, err := s.Store.Claim(s.ctx(), "a", []host.JobID{claimed}, ttl); err != nil {
		s.Fatal(err)
	}
	ids := append(jobIDs(scan), host.NewJobID(), "x", "\x00")
	s.check(s.Undispatch(s.ctx(), ids))
	s.check(s.Undispatch(s.ctx(), ids))
	s.check(s.Undispatch(s.ctx(), nil))
	again := s.dispatch(3, time.Hour)
	if len(again.Bells) != 2 || slices.ContainsFunc(again.Bells, func(b host.Doorbell) bool { return b.Job == claimed }) {
		s.Errorf("dispatched again %v, want the two that nobody claimed", again.Bells)
	}
}

func testDispatchBackoff(s *suite) {
	scan, l := s.running()
	o := end(l, host.StateQueued)
	o.RetryAfter = 10 * time.Minute
	s.finish(o)
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || out.More || !near(out.Next, 10*time.Minute) || out.Next > 10*time.Minute {
		s.Errorf("a job in its backoff: %+v", out)
	}
	s.advance(4 * time.Minute)
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || !near(out.Next, 6*time.Minute) {
		s.Errorf("4 minutes later: %+v", out)
	}
	s.advance(7 * time.Minute)
	if out := s.dispatch(10, 5*time.Minute); len(out.Bells) != 1 || !near(out.Next, 5*time.Minute) {
		s.Errorf("after its backoff: %+v", out)
	}
	s.finish(end(s.claimAll(scan)[0].Lease, host.StateSucceeded))
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || out.Next != 0 || out.More {
		s.Errorf("when all is done: %+v", out)
	}
}

// testDispatchPlugins: jobs that no host can run, here more than a window of
// them, rung and never claimed, hold up nobody.
func testDispatchPlugins(s *suite) {
	for range 8 {
		s.accept(newScan(s.tenant(), "gone"))
	}
	if out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: []string{"gone"}, Window: 4, Horizon: time.Minute}); err != nil || len(out.Bells) != 4 {
		s.Fatalf("a host that knows it: %+v, %v", out, err)
	}
	want := s.accept(newScan(s.tenant(), "p"))
	for range 3 {
		s.advance(2 * time.Minute) // the others' doorbells count as lost
		out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: []string{"other", "p"}, Window: 4, Horizon: time.Minute})
		if err != nil || len(out.Bells) != 1 || out.Bells[0].Job != want.Jobs[0].ID || out.More {
			s.Errorf("dispatched %+v, %v, want the one job of a plugin that is asked for", out, err)
		}
	}
	if out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: nil, Window: 4, Horizon: time.Minute}); err != nil || len(out.Bells) != 0 {
		s.Errorf("for no plugin: %+v, %v", out, err)
	}
}

func testDispatchOverdue(s *suite) {
	short := newScan(s.tenant(), "a", "b")
	for i := range short.Jobs {
		short.Jobs[i].Timeout = 5 * time.Minute
	}
	short = s.accept(short)
	claims := s.claimAll(short)
	o := end(claims[0].Lease, host.StateQueued)
	o.RetryAfter = time.Hour
	s.finish(o, end(claims[1].Lease, host.StateSucceeded))
	if out := s.dispatch(10, time.Hour); !near(out.Next, 5*time.Minute) {
		s.Errorf("next in %v, want the deadline", out.Next)
	}
	s.advance(6 * time.Minute)
	if claims, err := s.Store.Claim(s.ctx(), "b", jobIDs(short), ttl); err != nil || len(claims) != 0 {
		s.Errorf("claimed an overdue job: %v, %v", claims, err)
	}
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 {
		s.Errorf("dispatched an overdue job: %+v", out)
	}
	s.wantState(short, host.StateTimedOut, host.StatePartial)
	if e := s.job(short).Error; e == nil || e.Code != host.CodeTimedOut || e.Message == "" || e.Attempt != 1 {
		s.Errorf("error %+v", e)
	}
	// A job that never started has no deadline yet, however long it waits.
	fresh := s.one()
	s.advance(100 * time.Hour)
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 1 {
		s.Errorf("dispatched %+v, want the job that waited", out)
	}
	s.wantState(fresh, host.StateQueued, host.StateQueued)
}

// testDispatchFair gives one tenant a hundred jobs before two others come.
func testDispatchFair(s *suite) {
	big, small, tiny := s.tenant(), s.tenant(), s.tenant()
	owner := map[host.JobID]host.TenantID{}
	add := func(t host.TenantID, scans int) {
		for range scans {
			for _, j := range s.accept(newScan(t, plugins(10)...)).Jobs {
				owner[j.ID] = t
			}
		}
	}
	add(big, 10)
	add(small, 1)
	add(tiny, 1)
	count := func(out host.Dispatched) map[host.TenantID]int {
		n := map[host.TenantID]int{}
		for _, b := range out.Bells {
			n[owner[b.Job]]++
		}
		return n
	}
	if n := count(s.dispatch(12, time.Hour)); n[big] != 4 || n[small] != 4 || n[tiny] != 4 {
		s.Errorf("first twelve: %d, %d, %d, want 4 of each", n[big], n[small], n[tiny])
	}
	// Who comes late goes first, and has not missed turns that it did not want.
	late := s.tenant()
	add(late, 1)
	out := s.dispatch(17, time.Hour)
	if n := count(out); n[late] != 2 || n[big] != 1 || n[small] != 1 || n[tiny] != 1 {
		s.Errorf("the next five: %v, want two for the newcomer and one for each of the others", n)
	}
}

func testDispatchConcurrent(s *suite) {
	t := s.tenant()
	for range 10 {
		s.accept(newScan(t, plugins(10)...))
	}
	for range 15 {
		var mu sync.Mutex
		seen := map[host.JobID]int{}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				<-start
				out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 60, Horizon: time.Hour})
				if err != nil {
					s.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, b := range out.Bells {
					seen[b.Job]++
				}
			})
		}
		close(start)
		wg.Wait()
		var out []host.JobID
		for id, n := range seen {
			if out = append(out, id); n != 1 {
				s.Errorf("job %s was handed out %d times", id, n)
			}
		}
		if len(out) != 60 {
			s.Fatalf("%d jobs are out, want the window of 60", len(out))
		}
		s.check(s.Undispatch(s.ctx(), out))
	}
}
