package storetest

import (
	"cmp"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// count is for those who ask only how many.
func count(jobs []host.Taken, err error) (int, error) { return len(jobs), err }

// testTaken: whoever looks on hears of every attempt that the store ends by
// itself, with what the rows say.
func testTaken(s *suite) {
	t := s.tenant()
	scan := func(attempts int, timeout time.Duration) host.Scan {
		n := newScan(t, "p")
		n.Jobs[0].MaxAttempts, n.Jobs[0].Timeout = attempts, timeout
		return s.accept(n)
	}
	retried, last, overdue, waits := scan(3, time.Hour), scan(1, time.Hour), scan(3, 90*time.Second), scan(3, 90*time.Second)
	for _, sc := range []host.Scan{retried, last, overdue} {
		s.claimAll(sc)
	}
	canceled, _ := s.running()
	s.cancel(canceled)
	o := end(s.claimAll(waits)[0].Lease, host.StateQueued)
	o.RetryAfter = time.Hour
	s.finish(o)

	s.advance(2 * ttl)
	got, err := s.Expire(s.ctx(), 10)
	s.check(err)
	s.wantTaken("expired", got,
		taken(retried, 1, host.StateQueued, host.CodeLeaseExpired), taken(last, 1, host.StateFailed, host.CodeLeaseExpired),
		taken(overdue, 1, host.StateTimedOut, host.CodeTimedOut), taken(canceled, 1, host.StateCanceled, ""))

	out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 10, Horizon: time.Hour})
	s.check(err)
	s.wantTaken("overdue", out.Overdue, taken(waits, 1, host.StateTimedOut, host.CodeTimedOut))

	if _, err := s.Claim(s.ctx(), "host-a", jobIDs(retried), ttl); err != nil {
		s.Fatal(err)
	}
	stopped, _ := s.running()
	s.cancel(stopped)
	got, err = s.ReleaseOwner(s.ctx(), "host-a")
	s.check(err)
	s.wantTaken("released", got, taken(retried, 2, host.StateQueued, ""), taken(stopped, 1, host.StateCanceled, ""))

	s.claimAll(retried)
	got, err = s.ReleaseOwner(s.ctx(), "host-a")
	s.check(err)
	s.wantTaken("its third crash", got, taken(retried, 2, host.StateFailed, host.CodeLeaseExpired))
}

// taken is what is said of a scan's only job.
func taken(sc host.Scan, attempt int, state host.State, code host.ErrorCode) host.Taken {
	return host.Taken{Tenant: sc.TenantID, Scan: sc.ID, Job: sc.Jobs[0].ID, Plugin: sc.Jobs[0].Plugin, Attempt: attempt, State: state, Code: code}
}

func (s *suite) wantTaken(what string, got []host.Taken, want ...host.Taken) {
	s.Helper()
	for _, all := range [][]host.Taken{got, want} {
		slices.SortFunc(all, func(a, b host.Taken) int { return cmp.Compare(a.Job, b.Job) })
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
