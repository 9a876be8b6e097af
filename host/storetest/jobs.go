package storetest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// testTransitions applies every operation to a job in every state. What
// changes is in the table; everything else must stay.
func testTransitions(s *suite) {
	finish := func(next host.State) func(host.Scan, host.Lease) {
		return func(_ host.Scan, l host.Lease) {
			if _, err := s.Finish(s.ctx(), []host.Outcome{end(l, next)}); err != nil {
				s.Errorf("finish as %s: %v", next, err)
			}
		}
	}
	type change = map[host.State]host.State
	operations := map[string]struct {
		do      func(host.Scan, host.Lease)
		changes change
	}{
		"claim": {func(sc host.Scan, _ host.Lease) {
			_, err := s.Claim(s.ctx(), "b", jobIDs(sc), ttl)
			s.check(err)
		}, change{host.StateQueued: host.StateRunning}},
		"cancel": {func(sc host.Scan, _ host.Lease) {
			if _, err := s.Cancel(s.ctx(), sc.TenantID, sc.ID); err != nil && !errors.Is(err, host.ErrConflict) {
				s.Error(err)
			}
		}, change{host.StateQueued: host.StateCanceled}},
		"heartbeat": {func(_ host.Scan, l host.Lease) {
			_, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l}}, ttl)
			s.check(err)
		}, nil},
		"findings": {func(_ host.Scan, l host.Lease) {
			if err := s.AddFindings(s.ctx(), l, newFindings(1, host.SeverityLow)); err != nil && !errors.Is(err, host.ErrLeaseLost) {
				s.Error(err)
			}
		}, nil},
		"dispatch": {func(host.Scan, host.Lease) {
			_, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 1000, Horizon: time.Hour})
			s.check(err)
		}, nil},
		"expire too early": {func(host.Scan, host.Lease) {
			_, err := s.Expire(s.ctx(), 1000)
			s.check(err)
		}, nil},
		"release another owner": {func(host.Scan, host.Lease) {
			_, err := s.ReleaseOwner(s.ctx(), "host-")
			s.check(err)
		}, nil},
		"release owner": {func(host.Scan, host.Lease) {
			_, err := s.ReleaseOwner(s.ctx(), "host-a")
			s.check(err)
		}, change{host.StateRunning: host.StateQueued}},
		"expire": {func(host.Scan, host.Lease) {
			s.advance(2 * ttl)
			_, err := s.Expire(s.ctx(), 1000)
			s.check(err)
		}, change{host.StateRunning: host.StateQueued}},
		// Only of dead letters: see testRequeue.
		"requeue": {func(sc host.Scan, _ host.Lease) {
			_, err := s.Requeue(s.ctx(), jobIDs(sc))
			s.check(err)
		}, nil},
		"drop": {func(sc host.Scan, _ host.Lease) {
			_, err := s.Drop(s.ctx(), jobIDs(sc))
			s.check(err)
		}, nil},
		"pause": {func(host.Scan, host.Lease) {
			s.pause(host.PauseAll, "")
			s.resume(host.PauseAll, "")
		}, nil},
		"finish as queued":    {finish(host.StateQueued), change{host.StateRunning: host.StateQueued}},
		"finish as succeeded": {finish(host.StateSucceeded), change{host.StateRunning: host.StateSucceeded}},
		"finish as partial":   {finish(host.StatePartial), change{host.StateRunning: host.StatePartial}},
		"finish as failed":    {finish(host.StateFailed), change{host.StateRunning: host.StateFailed}},
		"finish as canceled":  {finish(host.StateCanceled), change{host.StateRunning: host.StateCanceled}},
		"finish as timed_out": {finish(host.StateTimedOut), change{host.StateRunning: host.StateTimedOut}},
	}
	t := s.tenant()
	for name, op := range operations {
		for _, from := range host.States() {
			scan := s.accept(newScan(t, "p"))
			l := host.Lease{Job: scan.Jobs[0].ID, Epoch: 1, ID: string(host.NewJobID())}
			if from != host.StateQueued {
				l = s.claimAll(scan)[0].Lease
			}
			if from.Final() {
				s.finish(end(l, from))
			}
			op.do(scan, l)
			want := from
			if to, ok := op.changes[from]; ok {
				want = to
				if !from.CanBecome(to) {
					s.Fatalf("%s: host.State says that %s cannot become %s", name, from, to)
				}
			}
			s.wantState(scan, want, host.DeriveState([]host.State{want}))
			_, err := s.ReleaseOwner(s.ctx(), "host-a") // leave nothing running for the next round
			s.check(err)
		}
	}
}

func testClaim(s *suite) {
	scan := newScan(s.tenant(), "one", "two")
	scan.Jobs[0].Timeout = 90 * time.Minute
	scan = s.accept(scan)
	claims := s.claimAll(scan)
	s.wantClaims(s.get(scan), claims)
	if claims[0].Lease.ID == claims[1].Lease.ID {
		s.Error("two leases have the same id")
	}
}

// wantClaims looks at first claims of a scan that was read after them.
func (s *suite) wantClaims(after host.Scan, claims []host.Claim) {
	s.Helper()
	if after.State != host.StateRunning || after.StartedAt.IsZero() {
		s.Errorf("scan is %s, started at %v", after.State, after.StartedAt)
	}
	stored := map[host.JobID]host.Job{}
	for _, j := range after.Jobs {
		stored[j.ID] = j
	}
	for _, c := range claims {
		j := stored[c.Job.ID]
		if diff := cmp.Diff(j, c.Job); diff != "" {
			s.Errorf("the claim's job (-stored +claimed):\n%s", diff)
		}
		if j.State != host.StateRunning || j.Attempt != 1 || j.StartedAt.IsZero() || !j.DeadlineAt.Equal(j.StartedAt.Add(j.Timeout)) {
			s.Errorf("job after its claim: %+v", j)
		}
		if c.Lease.Job != j.ID || c.Lease.Epoch != 1 || c.Lease.ID == "" {
			s.Errorf("lease %+v", c.Lease)
		}
		if c.Remaining > j.Timeout || !near(c.Remaining, j.Timeout) {
			s.Errorf("remaining %v of %v", c.Remaining, j.Timeout)
		}
		want := after
		want.Jobs, want.Counts = nil, host.Counts{}
		if diff := cmp.Diff(want, c.Scan); diff != "" {
			s.Errorf("the claim's scan (-stored +claimed):\n%s", diff)
		}
	}
}

func testClaimLeavesOut(s *suite) {
	scan, _ := s.running()
	done, l := s.running()
	s.finish(end(l, host.StateSucceeded))
	canceled := s.one()
	s.cancel(canceled)
	later, l := s.running()
	retry := end(l, host.StateQueued)
	retry.RetryAfter = time.Hour
	s.finish(retry)
	ready := s.one()
	ids := []host.JobID{scan.Jobs[0].ID, done.Jobs[0].ID, canceled.Jobs[0].ID, later.Jobs[0].ID,
		host.NewJobID(), "x", "", "\x00\xff", "' or 1=1", ready.Jobs[0].ID, ready.Jobs[0].ID}
	claims, err := s.Claim(s.ctx(), "b", ids, ttl)
	s.check(err)
	if len(claims) != 1 || claims[0].Job.ID != ready.Jobs[0].ID || claims[0].Job.Attempt != 1 {
		s.Errorf("claimed %+v, want only the ready job, once", claims)
	}
	for _, none := range [][]host.JobID{nil, {}, {"x"}, ids[:1]} {
		if claims, err := s.Claim(s.ctx(), "b", none, ttl); err != nil || len(claims) != 0 {
			s.Errorf("claim %q: %v, %v", none, claims, err)
		}
	}
}

// testClaimOldDoorbell: a doorbell claims its job once, and not again when the
// job was given back meanwhile, or its mark taken back; that would be one job
// more than a cap allows.
func testClaimOldDoorbell(s *suite) {
	scan := s.one()
	claim := func() []host.Claim {
		s.Helper()
		claims, err := s.Store.Claim(s.ctx(), "host-b", jobIDs(scan), ttl)
		s.check(err)
		return claims
	}
	if got := claim(); len(got) != 0 {
		s.Errorf("claimed what was never handed out: %v", got)
	}
	s.dispatch(10, time.Hour)
	first := claim()
	if len(first) != 1 {
		s.Fatalf("claimed %v", first)
	}
	s.finish(host.Outcome{Lease: first[0].Lease, State: host.StateQueued, Release: true})
	if got := claim(); len(got) != 0 {
		s.Errorf("the old doorbell claimed a job that was given back: %v", got)
	}
	s.dispatch(10, time.Hour)
	s.check(s.Undispatch(s.ctx(), jobIDs(scan)))
	if got := claim(); len(got) != 0 {
		s.Errorf("claimed a job whose mark was taken back: %v", got)
	}
	s.dispatch(10, time.Hour)
	if got := claim(); len(got) != 1 {
		s.Errorf("handed out anew, and claimed %v", got)
	}
}

func testClaimAgain(s *suite) {
	scan := s.one()
	first := s.claimAll(scan)[0]
	s.finish(end(first.Lease, host.StateQueued))
	before := s.job(scan)
	if s.get(scan).State != host.StateQueued {
		s.Errorf("scan waits to be tried again and is %s", s.get(scan).State)
	}
	s.advance(10 * time.Minute)
	second := s.claimAll(scan)[0]
	if second.Lease.Epoch != 2 || second.Job.Attempt != 2 || second.Lease.ID == first.Lease.ID {
		s.Errorf("second claim: %+v", second)
	}
	if second.Job.Progress != (host.Progress{}) {
		s.Errorf("a new attempt starts at %+v", second.Job.Progress)
	}
	if diff := cmp.Diff(before.Error, second.Job.Error); diff != "" {
		s.Errorf("the last attempt's error while it is tried again:\n%s", diff)
	}
	// The deadline is of the job, not of the attempt.
	if got := second.Job.DeadlineAt.Sub(second.Job.StartedAt); got != time.Hour {
		s.Errorf("the second claim moved the deadline to %v after the start", got)
	}
	if !near(second.Remaining, 50*time.Minute) {
		s.Errorf("remaining %v, want 50 min", second.Remaining)
	}
	if got := s.get(scan); !got.StartedAt.Equal(got.Jobs[0].StartedAt) {
		s.Errorf("the second claim moved the scan's start: %v, job %v", got.StartedAt, got.Jobs[0].StartedAt)
	}
}

// testFence tries every write with every kind of wrong lease.
func testFence(s *suite) {
	scan, l := s.running()
	other, _ := s.running()
	for name, wrong := range map[string]host.Lease{
		"old epoch":      {Job: l.Job, Epoch: l.Epoch - 1, ID: l.ID},
		"future epoch":   {Job: l.Job, Epoch: l.Epoch + 1, ID: l.ID},
		"other id":       {Job: l.Job, Epoch: l.Epoch, ID: string(host.NewJobID())},
		"id not a UUID":  {Job: l.Job, Epoch: l.Epoch, ID: "x"},
		"upper case id":  {Job: l.Job, Epoch: l.Epoch, ID: strings.ToUpper(l.ID)},
		"no id":          {Job: l.Job, Epoch: l.Epoch},
		"other job":      {Job: other.Jobs[0].ID, Epoch: l.Epoch, ID: l.ID},
		"unknown job":    {Job: host.NewJobID(), Epoch: l.Epoch, ID: l.ID},
		"job not a UUID": {Job: "x", Epoch: l.Epoch, ID: l.ID},
	} {
		before := s.get(scan)
		if err := s.AddFindings(s.ctx(), wrong, newFindings(1, host.SeverityHigh)); !errors.Is(err, host.ErrLeaseLost) {
			s.Errorf("%s: add findings: %v", name, err)
		}
		pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: wrong, Progress: host.Progress{Phase: "stolen"}}}, time.Hour)
		if err != nil || len(pulses) != 0 {
			s.Errorf("%s: heartbeat: %v, %v", name, pulses, err)
		}
		for _, to := range []host.State{host.StateSucceeded, host.StateFailed, host.StateQueued, host.StateCanceled} {
			lost, err := s.Finish(s.ctx(), []host.Outcome{end(wrong, to)})
			if err != nil || !slices.Equal(lost, []host.Lease{wrong}) {
				s.Errorf("%s: finish as %s: lost %v, %v", name, to, lost, err)
			}
		}
		if diff := cmp.Diff(before, s.get(scan)); diff != "" {
			s.Errorf("%s changed the scan:\n%s", name, diff)
		}
	}
	s.finish(end(l, host.StateSucceeded))
	if got := s.findings(scan, host.FindingQuery{}); len(got) != 0 {
		s.Errorf("findings of a wrong lease: %v", got)
	}
}

// testZombie is a host that wakes up after its job was given to another.
func testZombie(s *suite) {
	scan, old := s.running()
	s.check(s.AddFindings(s.ctx(), old, newFindings(3, host.SeverityHigh)))
	s.advance(2 * ttl)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Fatalf("expire: %d, %v", n, err)
	}
	held := s.claimAll(scan)[0].Lease
	if held.Epoch != old.Epoch+1 || held.ID == old.ID {
		s.Errorf("the next lease is %+v after %+v", held, old)
	}
	if err := s.AddFindings(s.ctx(), old, newFindings(1, host.SeverityHigh)); !errors.Is(err, host.ErrLeaseLost) {
		s.Errorf("the zombie adds findings: %v", err)
	}
	zombie := end(old, host.StateSucceeded)
	zombie.Findings = newFindings(5, host.SeverityCritical)
	if lost, err := s.Finish(s.ctx(), []host.Outcome{zombie}); err != nil || len(lost) != 1 {
		s.Errorf("the zombie finishes: lost %v, %v", lost, err)
	}
	s.wantState(scan, host.StateRunning, host.StateRunning)
	result := end(held, host.StateSucceeded)
	result.Findings = newFindings(2, host.SeverityLow)
	s.finish(result)
	if lost, err := s.Finish(s.ctx(), []host.Outcome{zombie}); err != nil || len(lost) != 1 {
		s.Errorf("the zombie finishes after its successor: lost %v, %v", lost, err)
	}
	got := s.get(scan)
	if want := (host.Counts{Low: 2}); got.Counts != want || got.Jobs[0].Counts != want || len(s.findings(scan, host.FindingQuery{})) != 2 {
		s.Errorf("counts %+v and %d findings, want only the successor's two", got.Counts, len(s.findings(scan, host.FindingQuery{})))
	}
}

func testHeartbeat(s *suite) {
	one, l1 := s.running()
	_, l2 := s.running()
	lost := host.Lease{Job: l1.Job, Epoch: 9, ID: l1.ID}
	p := host.Progress{Phase: "matching", Done: 3, Total: 10, Unit: "files", Message: "<a>"}
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: lost}, {Lease: l1, Progress: p}, {Lease: l2}, {Lease: l1, Progress: p}}, 10*time.Minute)
	s.check(err)
	got := map[host.Lease]int{}
	for _, p := range pulses {
		got[p.Lease]++
		if p.CancelRequested {
			s.Errorf("cancel requested of %v", p.Lease)
		}
	}
	if want := (map[host.Lease]int{l1: 1, l2: 1}); !cmp.Equal(want, got) {
		s.Errorf("pulses %v, want %v", got, want)
	}
	if got := s.job(one).Progress; got != p {
		s.Errorf("progress %+v, want %+v", got, p)
	}
	s.advance(9 * time.Minute)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 0 {
		s.Errorf("expired %d renewed leases, %v", n, err)
	}
	if pulses, err := s.Heartbeat(s.ctx(), nil, ttl); err != nil || len(pulses) != 0 {
		s.Errorf("no beats: %v, %v", pulses, err)
	}
	s.finish(end(l1, host.StateSucceeded))
	if got := s.job(one).Progress; got != p {
		s.Errorf("an outcome without progress left %+v, want the last", got)
	}
	o := end(l2, host.StateSucceeded)
	o.Progress = host.Progress{Phase: "done", Done: 10}
	s.finish(o)
}

func testHeartbeatExpired(s *suite) {
	scan, l := s.running()
	s.advance(2 * ttl)
	// Nobody has taken it yet, and still it is lost: the host must stop.
	if pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l}}, ttl); err != nil || len(pulses) != 0 {
		s.Errorf("an expired lease was renewed: %v, %v", pulses, err)
	}
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Errorf("expire: %d, %v", n, err)
	}
	s.wantState(scan, host.StateQueued, host.StateQueued)
}
