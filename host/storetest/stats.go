package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func (s *suite) stats() host.QueueStats {
	s.Helper()
	out, err := s.QueueStats(s.ctx())
	s.check(err)
	return out
}

// testStatsParts puts a job into each part.
func testStatsParts(s *suite) {
	if got := s.stats(); len(got.Groups) != 0 || len(got.Pauses) != 0 || got.Total() != (host.QueueGroup{}) {
		s.Errorf("stats of an empty store: %+v", got)
	}
	t := s.tenant()
	s.typed(t, "codeaudit", "a")
	s.advance(time.Minute)
	s.typed(t, "codeaudit", "a")
	s.dead(t, "codeaudit", "a")
	out := s.typed(t, "web", "b")
	if rung, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: []string{"b"}, Window: 10, Horizon: time.Hour}); err != nil || !sameIDs(bellsOf(rung), jobIDs(out)) {
		s.Fatalf("dispatched %+v, %v", rung, err)
	}
	s.claimAll(s.typed(t, "web", "a"))
	waits := end(s.claimAll(s.typed(t, "web", "a"))[0].Lease, host.StateQueued)
	waits.RetryAfter = time.Hour
	s.finish(waits)
	s.finish(end(s.claimAll(s.typed(t, "web", "a"))[0].Lease, host.StateSucceeded))
	s.finish(end(s.claimAll(s.typed(t, "web", "gone"))[0].Lease, host.StateFailed))
	s.pause(host.PausePlugin, "a")

	got := s.stats()
	if age := got.Groups[0].OldestReady; !near(age, time.Minute) || age < time.Minute {
		s.Errorf("the oldest ready job is %v old, want a minute", age)
	}
	got.Groups[0].OldestReady = 0
	want := []host.QueueGroup{
		{Plugin: "a", ScanType: "codeaudit", Ready: 2, Dead: 1},
		{Plugin: "a", ScanType: "web", Waiting: 1, Running: 1},
		{Plugin: "b", ScanType: "web", Out: 1},
	}
	if diff := cmp.Diff(want, got.Groups); diff != "" {
		s.Errorf("stats (-want +got):\n%s", diff)
	}
	if len(got.Pauses) != 1 || got.Pauses[0].Name != "a" {
		s.Errorf("pauses %+v", got.Pauses)
	}
	if sum := got.Total(); sum.Ready != 2 || sum.Waiting != 1 || sum.Out != 1 || sum.Running != 1 || sum.Dead != 1 || sum.Open() != 5 {
		s.Errorf("total %+v", sum)
	}
}

// testStatsAgree does operations at random and counts the rows one by one.
func testStatsAgree(s *suite) {
	seed := uint64(time.Now().UnixNano())
	s.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	t := s.tenant()
	var scans []host.Scan
	var leases []host.Lease
	out := map[host.JobID]bool{}
	jobs := func() (ids []host.JobID) {
		for _, i := range r.Perm(len(scans))[:min(3, len(scans))] {
			ids = append(ids, jobIDs(scans[i])...)
		}
		return ids
	}
	operations := []func(){
		func() {
			scan := newScan(t, plugins(1+r.IntN(3))...)
			scan.Type = []string{"web", "codeaudit"}[r.IntN(2)]
			for i := range scan.Jobs {
				scan.Jobs[i].MaxAttempts = 1 + r.IntN(2)
			}
			scans = append(scans, s.accept(scan))
		},
		func() {
			claims, err := s.Store.Claim(s.ctx(), "host-a", jobs(), ttl)
			s.check(err)
			for _, c := range claims {
				leases = append(leases, c.Lease)
				delete(out, c.Job.ID)
			}
		},
		func() {
			if len(leases) == 0 {
				return
			}
			o := end(leases[r.IntN(len(leases))], []host.State{host.StateSucceeded, host.StateFailed, host.StateQueued, host.StateQueued}[r.IntN(4)])
			o.Dead, o.RetryAfter = r.IntN(2) == 0, time.Duration(r.IntN(2))*10*time.Minute
			_, err := s.Finish(s.ctx(), []host.Outcome{o})
			s.check(err)
		},
		func() {
			for _, id := range bellsOf(s.dispatch(r.IntN(8), time.Hour)) {
				out[id] = true
			}
		},
		func() {
			ids := jobs()
			s.check(s.Undispatch(s.ctx(), ids))
			for _, id := range ids {
				delete(out, id)
			}
		},
		func() {
			if len(scans) == 0 || r.IntN(4) > 0 {
				return
			}
			scan := scans[r.IntN(len(scans))]
			if _, err := s.Cancel(s.ctx(), t, scan.ID); err != nil && !errors.Is(err, host.ErrConflict) {
				s.Fatal(err)
			}
		},
		func() {
			s.advance(time.Duration(r.IntN(5)) * time.Minute)
			_, err := s.Expire(s.ctx(), 100)
			s.check(err)
		},
		func() {
			_, err := s.Requeue(s.ctx(), jobs())
			s.check(err)
		},
		func() {
			_, err := s.Drop(s.ctx(), jobs()[:min(1, len(scans))])
			s.check(err)
		},
	}
	for step := range 150 {
		operations[r.IntN(len(operations))]()
		if step%5 == 0 {
			s.compareStats(scans, out)
		}
	}
}

// compareStats counts the jobs of scans, of which out are handed out if they
// are still queued, and the dead letters as they are listed.
func (s *suite) compareStats(scans []host.Scan, out map[host.JobID]bool) {
	s.Helper()
	want := map[string]host.QueueGroup{}
	add := func(plugin, scanType string, change func(*host.QueueGroup)) {
		key := fmt.Sprintf("%s in %s", plugin, scanType)
		g := want[key]
		g.Plugin, g.ScanType = plugin, scanType
		change(&g)
		want[key] = g
	}
	now := s.now()
	for _, scan := range scans {
		for _, j := range s.get(scan).Jobs {
			switch {
			case j.State == host.StateRunning:
				add(j.Plugin, scan.Type, func(g *host.QueueGroup) { g.Running++ })
			case j.State != host.StateQueued:
				delete(out, j.ID)
			case out[j.ID]:
				add(j.Plugin, scan.Type, func(g *host.QueueGroup) { g.Out++ })
			case j.RunAt.After(now):
				add(j.Plugin, scan.Type, func(g *host.QueueGroup) { g.Waiting++ })
			default:
				add(j.Plugin, scan.Type, func(g *host.QueueGroup) { g.Ready++ })
			}
		}
	}
	dead, err := s.DeadLetters(s.ctx(), host.DeadQuery{Limit: 500})
	s.check(err)
	for _, d := range dead {
		add(d.Job.Plugin, d.ScanType, func(g *host.QueueGroup) { g.Dead++ })
	}
	got := map[string]host.QueueGroup{}
	for _, g := range s.stats().Groups {
		g.OldestReady = 0
		got[fmt.Sprintf("%s in %s", g.Plugin, g.ScanType)] = g
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("the stats do not agree with the rows (-rows +stats):\n%s", diff)
	}
}
