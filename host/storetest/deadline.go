package storetest

import (
	"time"

	"github.com/securetaghq/securetag/host"
)

// testDeadlineTotal: a job's time counts from its first start, whatever happens
// to it between that and its end.
func testDeadlineTotal(s *suite) {
	scan := newScan(s.tenant(), "p")
	scan.Jobs[0].MaxAttempts, scan.Jobs[0].Timeout = 10, time.Hour
	scan = s.accept(scan)
	first := s.claimAll(scan)[0]
	again := func(what string, left time.Duration) host.Lease {
		s.Helper()
		c := s.claimAll(scan)[0]
		if got := c.Job.DeadlineAt.Sub(c.Job.StartedAt); got != time.Hour || !near(c.Remaining, left) {
			s.Errorf("after %s the deadline is %v behind the start and %v remain, want %v and %v", what, got, c.Remaining, time.Hour, left)
		}
		return c.Lease
	}
	s.advance(10 * time.Minute)
	s.finish(end(first.Lease, host.StateQueued))
	l := again("a retry", 50*time.Minute)

	s.advance(10 * time.Minute)
	s.finish(host.Outcome{Lease: l, State: host.StateQueued, Release: true})
	again("a release", 40*time.Minute)

	if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
		s.Fatalf("release owner: %d, %v", n, err)
	}
	s.advance(10 * time.Minute)
	again("the death of its host", 30*time.Minute)

	s.advance(10 * time.Minute)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Fatalf("expire: %d, %v", n, err)
	}
	l = again("its lease ran out", 20*time.Minute)

	o := end(l, host.StateQueued)
	o.RetryAfter = 15 * time.Minute
	s.advance(10 * time.Minute)
	s.finish(o) // due five minutes after the deadline
	s.advance(11 * time.Minute)
	s.dispatch(10, time.Hour)
	s.wantState(scan, host.StateTimedOut, host.StateTimedOut)
}

// testDeadlineOfEach: the jobs of a scan have their times apart.
func testDeadlineOfEach(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(2)...))
	claim := func(i int) host.Claim {
		s.Helper()
		claims, err := s.Claim(s.ctx(), "host-a", jobIDs(scan)[i:i+1], ttl)
		if err != nil || len(claims) != 1 {
			s.Fatalf("claim: %v, %v", claims, err)
		}
		return claims[0]
	}
	s.finish(end(claim(0).Lease, host.StateQueued))
	s.advance(50 * time.Minute)
	if c := claim(1); c.Remaining != time.Hour {
		s.Errorf("the second job begins with %v, want its hour", c.Remaining)
	}
	s.advance(20 * time.Minute)
	if claims, err := s.Claim(s.ctx(), "host-a", jobIDs(scan)[:1], ttl); err != nil || len(claims) != 0 {
		s.Errorf("the first was claimed after its time: %v, %v", claims, err)
	}
	s.dispatch(10, time.Hour)
	s.wantState(scan, host.StateTimedOut, host.StateRunning)
}

// testCancelNeverRetries: whichever way a running job of a canceled scan comes
// back, and however often, nobody starts it again.
func testCancelNeverRetries(s *suite) {
	retry := func(l host.Lease, change func(*host.Outcome)) func() {
		return func() {
			o := end(l, host.StateQueued)
			change(&o)
			s.finish(o)
		}
	}
	for what, back := range map[string]func(host.Lease) func(){
		"retry":   func(l host.Lease) func() { return retry(l, func(*host.Outcome) {}) },
		"crash":   func(l host.Lease) func() { return retry(l, func(o *host.Outcome) { o.Crashed = true }) },
		"backoff": func(l host.Lease) func() { return retry(l, func(o *host.Outcome) { o.RetryAfter = time.Minute }) },
		"release": func(l host.Lease) func() {
			return retry(l, func(o *host.Outcome) { o.Release, o.Error = true, nil })
		},
		"owner died": func(host.Lease) func() {
			return func() {
				if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
					s.Fatalf("release owner: %d, %v", n, err)
				}
			}
		},
		"lease ran out": func(host.Lease) func() {
			return func() {
				s.advance(2 * ttl)
				if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
					s.Fatalf("expire: %d, %v", n, err)
				}
			}
		},
	} {
		scan, l := s.running()
		s.cancel(scan)
		back(l)()
		s.wantState(scan, host.StateCanceled, host.StateCanceled)
		s.advance(5 * time.Minute)
		if out := s.dispatch(10, time.Millisecond); len(out.Bells) != 0 {
			s.Errorf("%s: dispatched %v", what, out.Bells)
		}
		if claims, err := s.Claim(s.ctx(), "host-b", jobIDs(scan), ttl); err != nil || len(claims) != 0 {
			s.Errorf("%s: claimed %v, %v", what, claims, err)
		}
	}

	// One that waits for its retry is not started either.
	scan, l := s.running()
	s.finish(end(l, host.StateQueued))
	s.cancel(scan)
	s.wantState(scan, host.StateCanceled, host.StateCanceled)
	if claims, err := s.Claim(s.ctx(), "host-b", jobIDs(scan), ttl); err != nil || len(claims) != 0 {
		s.Errorf("claimed %v, %v", claims, err)
	}
}
