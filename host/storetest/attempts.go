package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testRetry(s *suite) {
	scan, l := s.running()
	o := end(l, host.StateQueued)
	o.RetryAfter, o.Crashed = 10*time.Minute, true
	o.Error = &host.JobError{Code: host.CodePluginCrashed, Message: "it died", Attempt: 1}
	s.finish(o)
	j := s.job(scan)
	if j.State != host.StateQueued || j.Crashes != 1 || j.Attempt != 1 || !j.FinishedAt.IsZero() || !cmp.Equal(j.Error, o.Error) {
		s.Errorf("job that waits for its retry: %+v", j)
	}
	if got := j.RunAt.Sub(j.StartedAt); !near(got, 10*time.Minute) || got < 10*time.Minute {
		s.Errorf("it runs %v after its start", got)
	}
	if claims, err := s.Claim(s.ctx(), "b", jobIDs(scan), ttl); err != nil || len(claims) != 0 {
		s.Errorf("claimed before its time: %v, %v", claims, err)
	}
	s.advance(11 * time.Minute)
	next := s.claimAll(scan)[0].Lease
	s.finish(end(next, host.StateSucceeded))
	if j := s.job(scan); j.Error != nil || j.State != host.StateSucceeded {
		s.Errorf("after it succeeded: %s, error %+v", j.State, j.Error)
	}
}

// testRetryUsedUp sends retries that must not be: a job whose attempts or
// crashes are used up would otherwise go round for ever.
func testRetryUsedUp(s *suite) {
	scan := newScan(s.tenant(), "p")
	scan.Jobs[0].MaxAttempts = 2
	scan = s.accept(scan)
	s.finish(end(s.claimAll(scan)[0].Lease, host.StateQueued))
	s.finish(end(s.claimAll(scan)[0].Lease, host.StateQueued))
	s.wantState(scan, host.StateFailed, host.StateFailed)

	crashing := newScan(s.tenant(), "p")
	crashing.Jobs[0].MaxAttempts = 10
	crashing = s.accept(crashing)
	for range 3 {
		o := end(s.claimAll(crashing)[0].Lease, host.StateQueued)
		o.Crashed = true
		s.finish(o)
	}
	if j := s.job(crashing); j.State != host.StateFailed || j.Crashes != 3 || j.Error == nil {
		s.Errorf("after three crashes: %+v", j)
	}
}

func testRetryWhenCanceled(s *suite) {
	for _, release := range []bool{false, true} {
		scan, l := s.running()
		s.cancel(scan)
		o := end(l, host.StateQueued)
		o.Release = release
		s.finish(o)
		s.wantState(scan, host.StateCanceled, host.StateCanceled)
	}
	scan, _ := s.running()
	s.cancel(scan)
	if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
		s.Errorf("release owner: %d, %v", n, err)
	}
	s.wantState(scan, host.StateCanceled, host.StateCanceled)
}

func testRelease(s *suite) {
	scan, l := s.running()
	earlier := end(l, host.StateQueued)
	s.finish(earlier)
	for epoch := int64(2); epoch < 8; epoch++ { // more often than it has attempts
		l = s.claimAll(scan)[0].Lease
		if l.Epoch != epoch {
			s.Fatalf("epoch %d, want %d: it must never shrink", l.Epoch, epoch)
		}
		s.finish(host.Outcome{Lease: l, State: host.StateQueued, Release: true})
		j := s.job(scan)
		if j.Attempt != 1 || j.State != host.StateQueued || j.Crashes != 0 || !cmp.Equal(j.Error, earlier.Error) {
			s.Fatalf("released: %+v", j)
		}
	}
}

func testReleaseOwner(s *suite) {
	t := s.tenant()
	mine := s.accept(newScan(t, plugins(3)...))
	claims := s.claimAll(mine)
	s.finish(end(claims[2].Lease, host.StateSucceeded))
	theirs := s.one()
	if _, err := s.Claim(s.ctx(), "host-b", jobIDs(theirs), ttl); err != nil {
		s.Fatal(err)
	}
	n, err := count(s.ReleaseOwner(s.ctx(), "host-a"))
	if err != nil || n != 2 {
		s.Errorf("released %d, %v, want 2", n, err)
	}
	got := s.get(mine)
	for i, want := range []host.State{host.StateQueued, host.StateQueued, host.StateSucceeded} {
		if got.Jobs[i].State != want {
			s.Errorf("job %d is %s, want %s", i, got.Jobs[i].State, want)
		}
	}
	if j := got.Jobs[0]; j.Attempt != 0 || j.Crashes != 1 || !j.DeadlineAt.IsZero() || got.State != host.StateRunning {
		s.Errorf("released: %+v", j)
	}
	s.wantState(theirs, host.StateRunning, host.StateRunning)
	if lost, err := s.Finish(s.ctx(), []host.Outcome{end(claims[0].Lease, host.StateSucceeded)}); err != nil || len(lost) != 1 {
		s.Errorf("the dead owner finishes: lost %v, %v", lost, err)
	}
	for _, owner := range []string{"host-a", "", "nobody", "\x00\xff"} {
		if n, err := count(s.ReleaseOwner(s.ctx(), owner)); err != nil || n != 0 {
			s.Errorf("release of %q: %d, %v", owner, n, err)
		}
	}
}

// testReleasedLater: the time in which no host was there is not the job's.
func testReleasedLater(s *suite) {
	stopped, died := s.one(), s.one()
	s.finish(host.Outcome{Lease: s.claimAll(stopped)[0].Lease, State: host.StateQueued, Release: true})
	s.claimAll(died)
	if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
		s.Fatalf("release owner: %d, %v", n, err)
	}
	s.advance(24 * time.Hour)
	for what, scan := range map[string]host.Scan{"stopped": stopped, "died": died} {
		if c := s.claimAll(scan); len(c) != 1 || c[0].Remaining != c[0].Job.Timeout {
			s.Errorf("its host %s a day ago: %+v, want all its time left", what, c)
		}
	}
}

// testPoisonHost: input that kills its host goes round three times.
func testPoisonHost(s *suite) {
	scan := s.one()
	for range 2 {
		s.claimAll(scan)
		if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
			s.Fatalf("release owner: %d, %v", n, err)
		}
		s.wantState(scan, host.StateQueued, host.StateQueued)
	}
	s.claimAll(scan)
	if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
		s.Fatalf("release owner: %d, %v", n, err)
	}
	s.wantState(scan, host.StateFailed, host.StateFailed)
	if j := s.job(scan); j.Error == nil || j.Error.Code != host.CodeLeaseExpired || j.Attempt != 1 {
		s.Errorf("job = %+v, want failed with the reason", j)
	}
}

func testFinishRefuses(s *suite) {
	scan, l := s.running()
	good, held := s.running()
	for name, bad := range map[string]host.Outcome{
		"running":             end(l, host.StateRunning),
		"no state":            end(l, ""),
		"unknown state":       end(l, "lost"),
		"failed, no error":    {Lease: l, State: host.StateFailed},
		"timed out, no error": {Lease: l, State: host.StateTimedOut},
		"retry, no error":     {Lease: l, State: host.StateQueued},
	} {
		if _, err := s.Finish(s.ctx(), []host.Outcome{end(held, host.StateSucceeded), bad}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v", name, err)
		}
	}
	s.wantState(scan, host.StateRunning, host.StateRunning)
	s.wantState(good, host.StateRunning, host.StateRunning)
	if lost, err := s.Finish(s.ctx(), nil); err != nil || len(lost) != 0 {
		s.Errorf("nothing to finish: %v, %v", lost, err)
	}
}

func testFinishTwice(s *suite) {
	scan, l := s.running()
	first, second := end(l, host.StateSucceeded), end(l, host.StateFailed)
	first.Findings, second.Findings = newFindings(2, host.SeverityHigh), newFindings(3, host.SeverityHigh)
	lost, err := s.Finish(s.ctx(), []host.Outcome{first, second})
	if err != nil || !slices.Equal(lost, []host.Lease{l}) {
		s.Errorf("the same lease twice: lost %v, %v", lost, err)
	}
	before := s.get(scan)
	for _, o := range []host.Outcome{first, second} {
		o.Findings = newFindings(1, host.SeverityCritical)
		if lost, err := s.Finish(s.ctx(), []host.Outcome{o}); err != nil || len(lost) != 1 {
			s.Errorf("finish again: lost %v, %v", lost, err)
		}
	}
	if diff := cmp.Diff(before, s.get(scan)); diff != "" || before.Counts != (host.Counts{High: 2}) {
		s.Errorf("counts %+v, changed by the second finish:\n%s", before.Counts, diff)
	}
	if got := s.findings(scan, host.FindingQuery{}); len(got) != 2 {
		s.Errorf("%d findings, want 2", len(got))
	}
}

// testFinishMany ends jobs of several scans and tenants in one call, some lost.
func testFinishMany(s *suite) {
	var scans []host.Scan
	var outcomes []host.Outcome
	var want []host.Lease
	for i := range 20 {
		scan := s.accept(newScan(s.tenant(), plugins(2)...))
		scans = append(scans, scan)
		for n, c := range s.claimAll(scan) {
			o := end(c.Lease, []host.State{host.StateSucceeded, host.StatePartial, host.StateFailed, host.StateQueued}[(i+n)%4])
			if o.State == host.StateSucceeded {
				o.Findings = newFindings(i, host.SeverityMedium)
			}
			if i%5 == 0 {
				o.Lease.Epoch++
				want = append(want, o.Lease)
			}
			outcomes = append(outcomes, o)
		}
	}
	slices.Reverse(outcomes)
	lost, err := s.Finish(s.ctx(), outcomes)
	s.check(err)
	slices.Reverse(lost)
	if diff := cmp.Diff(want, lost); diff != "" {
		s.Errorf("lost (-want +got):\n%s", diff)
	}
	for i, scan := range scans {
		got := s.get(scan)
		var states []host.State
		for _, j := range got.Jobs {
			states = append(states, j.State)
			if j.State == host.StateSucceeded && j.Counts != (host.Counts{Medium: i}) {
				s.Errorf("scan %d: counts %+v", i, j.Counts)
			}
		}
		if got.State != host.DeriveState(states) || i%5 == 0 && got.State != host.StateRunning {
			s.Errorf("scan %d is %s with jobs %v", i, got.State, states)
		}
	}
}

func testExpireRequeues(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(2)...))
	claims := s.claimAll(scan)
	s.finish(end(claims[1].Lease, host.StateSucceeded))
	s.advance(2 * ttl)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Fatalf("expire: %d, %v", n, err)
	}
	j := s.job(scan)
	if j.State != host.StateQueued || j.Attempt != 1 || j.Crashes != 1 || j.Error == nil || j.Error.Code != host.CodeLeaseExpired ||
		j.Error.Message == "" || j.Error.Attempt != 1 {
		s.Errorf("after its host died: %+v, error %+v", j, j.Error)
	}
	out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 10, Horizon: time.Hour})
	s.check(err)
	if len(out.Bells) != 1 || out.Bells[0].Job != j.ID {
		s.Errorf("dispatched %v, want the job at once", out.Bells)
	}
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 0 {
		s.Errorf("expire again: %d, %v", n, err)
	}
}

func testExpireEnds(s *suite) {
	t := s.tenant()
	last := newScan(t, "p")
	last.Jobs[0].MaxAttempts = 1
	last = s.accept(last)
	s.claimAll(last)

	overdue := newScan(t, "p")
	overdue.Jobs[0].Timeout = 90 * time.Second
	overdue = s.accept(overdue)
	s.claimAll(overdue)

	canceled, _ := s.running()
	s.cancel(canceled)

	poison := newScan(t, "p")
	poison.Jobs[0].MaxAttempts = 10
	poison = s.accept(poison)
	for range 2 {
		o := end(s.claimAll(poison)[0].Lease, host.StateQueued)
		o.Crashed = true
		s.finish(o)
	}
	s.claimAll(poison)

	s.advance(2 * ttl)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 4 {
		s.Fatalf("expire: %d, %v", n, err)
	}
	for name, tt := range map[string]struct {
		scan  host.Scan
		state host.State
		code  host.ErrorCode
	}{
		"out of attempts": {last, host.StateFailed, host.CodeLeaseExpired},
		"over deadline":   {overdue, host.StateTimedOut, host.CodeTimedOut},
		"canceled":        {canceled, host.StateCanceled, ""},
		"three crashes":   {poison, host.StateFailed, host.CodeLeaseExpired},
	} {
		j, got := s.job(tt.scan), s.get(tt.scan)
		var code host.ErrorCode
		if j.Error != nil {
			code = j.Error.Code
		}
		if j.State != tt.state || got.State != tt.state || code != tt.code || j.FinishedAt.IsZero() || got.FinishedAt.IsZero() {
			s.Errorf("%s: job %+v, error %+v, scan %s", name, j, j.Error, got.State)
		}
	}
}

func testExpireLimit(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(5)...))
	s.claimAll(scan)
	s.advance(2 * ttl)
	var got []int
	for range 4 {
		n, err := count(s.Expire(s.ctx(), 2))
		s.check(err)
		got = append(got, n)
	}
	if want := []int{2, 2, 1, 0}; !slices.Equal(got, want) {
		s.Errorf("expired %v, want %v", got, want)
	}
	if n, err := count(s.Expire(s.ctx(), 0)); err != nil || n != 0 {
		s.Errorf("limit 0: %d, %v", n, err)
	}
	s.wantState(scan, host.StateQueued, host.StateQueued)
}
