package storetest

import (
	"errors"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func (s *suite) pause(kind host.PauseKind, name string) {
	s.Helper()
	s.check(s.Pause(s.ctx(), host.Pause{Kind: kind, Name: name}))
}

func (s *suite) resume(kind host.PauseKind, name string) {
	s.Helper()
	s.check(s.Resume(s.ctx(), kind, name))
}

// typed is a scan of a type, with a job for each plugin, accepted.
func (s *suite) typed(t host.TenantID, scanType string, plugins ...string) host.Scan {
	s.Helper()
	scan := newScan(t, plugins...)
	scan.Type = scanType
	return s.accept(scan)
}

// testPauses: the list, and what a pause takes.
func testPauses(s *suite) {
	if all, err := s.Pauses(s.ctx()); err != nil || len(all) != 0 {
		s.Fatalf("pauses of an empty store: %v, %v", all, err)
	}
	s.pause(host.PauseScanType, "web")
	s.pause(host.PausePlugin, "p")
	s.pause(host.PausePlugin, "a")
	s.pause(host.PausePlugin, "web")
	s.pause(host.PauseAll, "")
	s.advance(time.Hour)
	s.check(s.Pause(s.ctx(), host.Pause{Kind: host.PausePlugin, Name: "p", Reason: "its rules\x00 are wrong"}))
	all, err := s.Pauses(s.ctx())
	s.check(err)
	for i, p := range all {
		if want := time.Hour; !near(s.now().Sub(p.CreatedAt), want) {
			s.Errorf("%+v: made at %v, want an hour ago", p, p.CreatedAt)
		}
		all[i].CreatedAt = time.Time{}
	}
	want := []host.Pause{{Kind: host.PauseAll}, {Kind: host.PausePlugin, Name: "a"},
		{Kind: host.PausePlugin, Name: "p", Reason: "its rules are wrong"},
		{Kind: host.PausePlugin, Name: "web"}, {Kind: host.PauseScanType, Name: "web"}}
	if diff := cmp.Diff(want, all); diff != "" {
		s.Errorf("pauses (-want +got):\n%s", diff)
	}
	s.resume(host.PausePlugin, "web")
	for _, gone := range []host.Pause{{Kind: host.PausePlugin, Name: "web"}, {Kind: host.PausePlugin, Name: "b"}, {Kind: host.PausePlugin},
		{Kind: "\x00", Name: "\xff"}} {
		if err := s.Resume(s.ctx(), gone.Kind, gone.Name); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("resume %+v: %v, want not found", gone, err)
		}
	}
	if all, err := s.Pauses(s.ctx()); err != nil || len(all) != 4 {
		s.Errorf("after one was taken back: %v, %v", all, err)
	}
	long := strings.Repeat("x", host.MaxPauseText+1)
	for _, bad := range []host.Pause{{}, {Kind: host.PauseAll, Name: "p"}, {Kind: host.PausePlugin}, {Kind: "tenant", Name: "t"},
		{Kind: host.PausePlugin, Name: long}, {Kind: host.PauseAll, Reason: long}} {
		if err := s.Pause(s.ctx(), bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("pause %.50v: %v, want invalid", bad, err)
		}
	}
}

// now is the store's time.
func (s *suite) now() time.Time {
	s.Helper()
	id := s.tenant()
	all, err := s.Tenants(s.ctx())
	s.check(err)
	for _, t := range all {
		if t.ID == id {
			return t.CreatedAt
		}
	}
	s.Fatal("the tenant is not there")
	return time.Time{}
}

// testPauseDispatch: nothing of what is paused is handed out, everything else
// is, and it all comes back.
func testPauseDispatch(s *suite) {
	t := s.tenant()
	web := s.typed(t, "web", "a", "b")
	code := s.typed(t, "codeaudit", "a", "b")
	for _, c := range []struct {
		kind host.PauseKind
		name string
		want []host.JobID
	}{
		{host.PauseAll, "", nil},
		{host.PausePlugin, "a", []host.JobID{web.Jobs[1].ID, code.Jobs[1].ID}},
		{host.PauseScanType, "web", []host.JobID{code.Jobs[0].ID, code.Jobs[1].ID}},
		{host.PauseScanType, "a", []host.JobID{web.Jobs[0].ID, web.Jobs[1].ID, code.Jobs[0].ID, code.Jobs[1].ID}},
	} {
		s.pause(c.kind, c.name)
		out := s.dispatch(10, time.Hour)
		if got := bellsOf(out); !sameIDs(got, c.want) || out.More {
			s.Errorf("with %s %q paused: dispatched %v, more %v; want %v", c.kind, c.name, got, out.More, c.want)
		}
		s.check(s.Undispatch(s.ctx(), append(jobIDs(web), jobIDs(code)...)))
		s.resume(c.kind, c.name)
	}
	// Two that overlap: one of them is not enough.
	s.pause(host.PausePlugin, "a")
	s.pause(host.PauseScanType, "web")
	if got := bellsOf(s.dispatch(10, time.Hour)); !sameIDs(got, []host.JobID{code.Jobs[1].ID}) {
		s.Errorf("with two pauses: %v", got)
	}
	s.resume(host.PauseScanType, "web")
	if got := bellsOf(s.dispatch(10, time.Hour)); !sameIDs(got, []host.JobID{web.Jobs[1].ID}) {
		s.Errorf("with one of two taken back: %v", got)
	}
}

// testPauseWindow: what is paused takes no room in the window, even when more
// of it than a window was rung before, and rings no more for want of a claim.
func testPauseWindow(s *suite) {
	t := s.tenant()
	for range 3 {
		s.typed(t, "web", "a", "a", "a")
	}
	if out := s.dispatch(4, time.Minute); len(out.Bells) != 4 {
		s.Fatalf("dispatched %+v", out)
	}
	s.pause(host.PausePlugin, "a")
	want := s.typed(t, "web", "b", "b", "b", "b")
	if got := bellsOf(s.dispatch(4, time.Minute)); !sameIDs(got, jobIDs(want)) {
		s.Errorf("dispatched %v, want the four of the other plugin", got)
	}
	s.advance(2 * time.Minute)
	if out := s.dispatch(10, time.Minute); !sameIDs(bellsOf(out), jobIDs(want)) || out.More {
		s.Errorf("after the horizon: %+v, want the four of the other plugin", out)
	}
	s.resume(host.PausePlugin, "a")
	if out := s.dispatch(20, time.Minute); len(out.Bells) != 9 || out.More {
		s.Errorf("after the resume: %+v, want nine", out)
	}
}

// testPauseClaim: a doorbell that is out when the pause comes claims nothing,
// and its job is handed out at once when the pause ends.
func testPauseClaim(s *suite) {
	t := s.tenant()
	scan := s.typed(t, "web", "a", "b")
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 2 {
		s.Fatalf("dispatched %+v", out)
	}
	for _, p := range []host.Pause{{Kind: host.PauseAll}, {Kind: host.PausePlugin, Name: "a"}, {Kind: host.PauseScanType, Name: "web"}} {
		s.pause(p.Kind, p.Name)
		if claims, err := s.Claim(s.ctx(), "h", []host.JobID{scan.Jobs[0].ID}, ttl); err != nil || len(claims) != 0 {
			s.Errorf("claimed what is paused by %+v: %v, %v", p, claims, err)
		}
		s.resume(p.Kind, p.Name)
	}
	s.pause(host.PausePlugin, "a")
	claims, err := s.Claim(s.ctx(), "h", jobIDs(scan), ttl)
	if err != nil || len(claims) != 1 || claims[0].Job.ID != scan.Jobs[1].ID {
		s.Errorf("claimed %v, %v, want the one that is not paused", claims, err)
	}
	s.resume(host.PausePlugin, "a")
	if got := bellsOf(s.dispatch(10, time.Hour)); !sameIDs(got, []host.JobID{scan.Jobs[0].ID}) {
		s.Errorf("after the resume: %v, want the job that was not claimed", got)
	}
}

// testPauseLeaves: intake, running jobs and their ends go on; a retry waits, and
// its time limit passes all the same.
func testPauseLeaves(s *suite) {
	scan := newScan(s.tenant(), "a", "b")
	scan.Jobs[1].Timeout = 10 * time.Minute
	scan = s.accept(scan)
	claims := s.claimAll(scan)
	s.pause(host.PauseAll, "")
	s.one()
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: claims[0].Lease}}, ttl)
	if err != nil || len(pulses) != 1 {
		s.Errorf("heartbeat in a pause: %v, %v", pulses, err)
	}
	s.finish(end(claims[0].Lease, host.StateSucceeded), end(claims[1].Lease, host.StateQueued))
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || out.More || !near(out.Next, 10*time.Minute) {
		s.Errorf("in a pause: %+v, want nothing before the time limit", out)
	}
	s.advance(11 * time.Minute)
	s.dispatch(10, time.Hour)
	if got := s.get(scan); got.Jobs[0].State != host.StateSucceeded || got.Jobs[1].State != host.StateTimedOut {
		s.Errorf("jobs are %s and %s", got.Jobs[0].State, got.Jobs[1].State)
	}
}

func bellsOf(out host.Dispatched) []host.JobID {
	ids := make([]host.JobID, 0, len(out.Bells))
	for _, b := range out.Bells {
		ids = append(ids, b.Job)
	}
	return ids
}

// sameIDs compares without the order.
func sameIDs(a, b []host.JobID) bool {
	n := map[host.JobID]int{}
	for _, id := range a {
		n[id]++
	}
	for _, id := range b {
		n[id]--
	}
	for _, left := range n {
		if left != 0 {
			return false
		}
	}
	return true
}
