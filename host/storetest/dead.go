package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// dead makes a scan whose jobs are all dead letters.
func (s *suite) dead(t host.TenantID, scanType string, plugins ...string) host.Scan {
	s.Helper()
	scan := s.typed(t, scanType, plugins...)
	for _, c := range s.claimAll(scan) {
		o := end(c.Lease, host.StateFailed)
		o.Dead = true
		s.finish(o)
	}
	return scan
}

// deadOnes lists the jobs of every dead letter.
func (s *suite) deadOnes(q host.DeadQuery) (ids []host.JobID) {
	s.Helper()
	all, err := s.DeadLetters(s.ctx(), q)
	s.check(err)
	for _, d := range all {
		ids = append(ids, d.Job.ID)
	}
	return ids
}

// testDeadWhich: a job dies when nothing is left to try, and in no other way.
func testDeadWhich(s *suite) {
	t := s.tenant()
	once := func() (host.Scan, host.Lease) {
		scan := newScan(t, "p")
		scan.Jobs[0].MaxAttempts = 1
		scan = s.accept(scan)
		return scan, s.claimAll(scan)[0].Lease
	}
	var want []host.JobID
	dies := func(scan host.Scan) { want = append(want, scan.Jobs[0].ID) }

	usedUp, l := once()
	s.finish(end(l, host.StateQueued))
	dies(usedUp)

	said, l := once()
	o := end(l, host.StateFailed)
	o.Dead = true
	s.finish(o)
	dies(said)

	poison := s.one()
	for range host.CrashLimit {
		o := end(s.claimAll(poison)[0].Lease, host.StateQueued)
		o.Crashed = true
		s.finish(o)
	}
	dies(poison)

	hostKiller := s.one()
	for range host.CrashLimit {
		s.claimAll(hostKiller)
		if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
			s.Fatalf("release owner: %d, %v", n, err)
		}
	}
	dies(hostKiller)

	_, l = once() // because of its request
	s.finish(end(l, host.StateFailed))
	_, l = once()
	o = end(l, host.StateTimedOut)
	o.Dead = true // of no meaning for other states
	s.finish(o)
	_, l = once()
	s.finish(end(l, host.StateSucceeded))
	canceled, l := once()
	s.cancel(canceled)
	s.finish(end(l, host.StateQueued))
	late := newScan(t, "p")
	late.Jobs[0].MaxAttempts, late.Jobs[0].Timeout = 1, time.Minute
	s.claimAll(s.accept(late))
	expired, _ := once()
	dies(expired)
	s.advance(2 * ttl)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 2 {
		s.Fatalf("expired %d, %v", n, err)
	}
	s.one() // waits
	s.running()

	if got := s.deadOnes(host.DeadQuery{}); !sameIDs(got, want) {
		s.Errorf("dead letters are %v, want %v", got, want)
	}
}

func testDeadList(s *suite) {
	one, two := s.tenant(), s.tenant()
	first := s.dead(one, "web", "a", "b")
	s.advance(time.Minute)
	second := newScan(two, "a")
	second.Type, second.Input = "codeaudit", host.Input{Archive: &host.Archive{Blob: "scans/x", Format: "zip"}}
	second = s.accept(second)
	o := end(s.claimAll(second)[0].Lease, host.StateFailed)
	o.Dead, o.Crashed = true, true
	s.finish(o)

	name := "t-" + string(two)
	got, err := s.DeadLetters(s.ctx(), host.DeadQuery{})
	s.check(err)
	if len(got) != 3 {
		s.Fatalf("%d dead letters, want 3", len(got))
	}
	want := host.DeadLetter{Job: s.job(second), ScanType: "codeaudit", Tenant: name, Blob: "scans/x", DeadAt: s.job(second).FinishedAt}
	if diff := cmp.Diff(want, got[0]); diff != "" || want.Job.State != host.StateFailed || want.Job.Crashes != 1 {
		s.Errorf("the newest (-want +got):\n%s", diff)
	}
	if got[1].Blob != "" || got[1].DeadAt.After(got[0].DeadAt.Add(-time.Minute)) {
		s.Errorf("the one before: %+v", got[1])
	}
	for _, c := range []struct {
		q    host.DeadQuery
		want []host.JobID
	}{
		{host.DeadQuery{Plugin: "a"}, []host.JobID{first.Jobs[0].ID, second.Jobs[0].ID}},
		{host.DeadQuery{Plugin: "a", ScanType: "web"}, []host.JobID{first.Jobs[0].ID}},
		{host.DeadQuery{ScanType: "codeaudit"}, jobIDs(second)},
		{host.DeadQuery{Tenant: name}, jobIDs(second)},
		{host.DeadQuery{Tenant: name, Plugin: "b"}, nil},
		{host.DeadQuery{Tenant: "\x00nobody\xff"}, nil},
	} {
		if got := s.deadOnes(c.q); !sameIDs(got, c.want) {
			s.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	for _, id := range []host.JobID{host.NewJobID(), "x", "\x00", s.one().Jobs[0].ID} {
		if _, err := s.DeadLetter(s.ctx(), id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("dead letter %q: %v, want not found", id, err)
		}
	}
}

func testDeadPages(s *suite) {
	t := s.tenant()
	var want []host.JobID
	for range 3 {
		want = append(want, jobIDs(s.dead(t, "web", plugins(4)...))...)
	}
	for _, size := range []int{1, 5, 12, 0} {
		var got []host.JobID
		q := host.DeadQuery{Limit: size}
		for pages := 0; pages < 20; pages++ {
			page, err := s.DeadLetters(s.ctx(), q)
			s.check(err)
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				got = append(got, d.Job.ID)
			}
			last := page[len(page)-1]
			q.After = &host.DeadCursor{DeadAt: last.DeadAt, ID: last.Job.ID}
		}
		if len(got) != len(want) || !sameIDs(got, want) {
			s.Errorf("pages of %d: %d dead letters, want %d, each once", size, len(got), len(want))
		}
	}
	if _, err := s.DeadLetters(s.ctx(), host.DeadQuery{After: &host.DeadCursor{ID: "x"}}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("a cursor that is none: %v", err)
	}
}

// historyOf reads it, and checks what must be so of every one.
func (s *suite) historyOf(scan host.Scan) []host.Attempt {
	s.Helper()
	d, err := s.DeadLetter(s.ctx(), scan.Jobs[0].ID)
	s.check(err)
	epoch := int64(0)
	for i, a := range d.History {
		if a.Epoch <= epoch || a.StartedAt.IsZero() || a.EndedAt.Before(a.StartedAt) || a.Attempt < 1 {
			s.Errorf("attempt %d of the history is %+v", i, a)
		}
		epoch = a.Epoch
	}
	return d.History
}

// told is an attempt without its times.
func told(all []host.Attempt) []host.Attempt {
	out := slices.Clone(all)
	for i := range out {
		out[i].StartedAt, out[i].EndedAt = time.Time{}, time.Time{}
	}
	return out
}

func testHistory(s *suite) {
	scan := s.one()
	crash := end(s.claimAll(scan)[0].Lease, host.StateQueued)
	crash.Crashed, crash.Error = true, &host.JobError{Code: host.CodePluginCrashed, Message: "it died\x00", Attempt: 1}
	s.advance(10 * time.Second)
	s.finish(crash)
	claims, err := s.Claim(s.ctx(), "host-b", jobIDs(scan), ttl)
	if err != nil || len(claims) != 1 {
		s.Fatalf("claim: %v, %v", claims, err)
	}
	s.finish(host.Outcome{Lease: claims[0].Lease, State: host.StateQueued, Release: true})
	s.claimAll(scan)
	s.advance(2 * ttl)
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Fatalf("expired %d, %v", n, err)
	}
	last := end(s.claimAll(scan)[0].Lease, host.StateFailed)
	last.Dead, last.Error.Attempt = true, 3
	s.finish(last)

	got := s.historyOf(scan)
	if took := got[0].EndedAt.Sub(got[0].StartedAt); !near(took, 10*time.Second) || took < 10*time.Second {
		s.Errorf("the first attempt took %v, want 10 s", took)
	}
	if took := got[2].EndedAt.Sub(got[2].StartedAt); !near(took, 2*ttl) {
		s.Errorf("the attempt whose lease ran out took %v", took)
	}
	crash.Error.Message = "it died"
	lost := got[2].Error
	if lost == nil || lost.Code != host.CodeLeaseExpired || lost.Attempt != 2 {
		s.Errorf("error of the attempt whose lease ran out: %+v", lost)
	}
	want := []host.Attempt{
		{Attempt: 1, Epoch: 1, Owner: "host-a", State: host.StateQueued, Crashed: true, Error: crash.Error},
		{Attempt: 2, Epoch: 2, Owner: "host-b", State: host.StateQueued, Released: true},
		{Attempt: 2, Epoch: 3, Owner: "host-a", State: host.StateQueued, Crashed: true, Error: lost},
		{Attempt: 3, Epoch: 4, Owner: "host-a", State: host.StateFailed, Error: last.Error},
	}
	if diff := cmp.Diff(want, told(got)); diff != "" {
		s.Errorf("history (-want +got):\n%s", diff)
	}
}

// testHistoryOfHost: a host that comes back after it died gives its jobs back.
func testHistoryOfHost(s *suite) {
	scan := s.one()
	for range host.CrashLimit {
		s.claimAll(scan)
		if n, err := count(s.ReleaseOwner(s.ctx(), "host-a")); err != nil || n != 1 {
			s.Fatalf("release owner: %d, %v", n, err)
		}
	}
	want := []host.Attempt{
		{Attempt: 1, Epoch: 1, Owner: "host-a", State: host.StateQueued, Crashed: true, Released: true},
		{Attempt: 1, Epoch: 2, Owner: "host-a", State: host.StateQueued, Crashed: true, Released: true},
		{Attempt: 1, Epoch: 3, Owner: "host-a", State: host.StateFailed, Crashed: true, Error: s.job(scan).Error},
	}
	if diff := cmp.Diff(want, told(s.historyOf(scan))); diff != "" {
		s.Errorf("history (-want +got):\n%s", diff)
	}
}

// testHistoryBounded gives a job back more often than its history holds.
func testHistoryBounded(s *suite) {
	scan := s.one()
	for range host.MaxHistory + 5 {
		s.finish(host.Outcome{Lease: s.claimAll(scan)[0].Lease, State: host.StateQueued, Release: true})
	}
	o := end(s.claimAll(scan)[0].Lease, host.StateFailed)
	o.Dead = true
	s.finish(o)
	got := s.historyOf(scan)
	if len(got) != host.MaxHistory || got[0].Epoch != 7 || got[len(got)-1].State != host.StateFailed {
		s.Errorf("%d attempts are kept, from epoch %d to one that is %s; want the newest %d",
			len(got), got[0].Epoch, got[len(got)-1].State, host.MaxHistory)
	}
}

// testRequeue: a fresh budget, and the job's past stays.
func testRequeue(s *suite) {
	scan := newScan(s.tenant(), "p")
	scan.Jobs[0].MaxAttempts = 2
	scan = s.accept(scan)
	spend := func() {
		for range 2 {
			o := end(s.claimAll(scan)[0].Lease, host.StateQueued)
			o.Crashed, o.Progress = true, host.Progress{Done: 7}
			s.finish(o)
		}
		s.wantState(scan, host.StateFailed, host.StateFailed)
	}
	spend()
	before := s.job(scan)
	s.advance(48 * time.Hour) // its time limit was an hour
	if refused, err := s.Requeue(s.ctx(), jobIDs(scan)); err != nil || len(refused) != 0 {
		s.Fatalf("refused %v, %v", refused, err)
	}
	got := s.get(scan)
	if !got.FinishedAt.IsZero() || got.State != host.StateQueued {
		s.Errorf("scan is %s, finished at %v", got.State, got.FinishedAt)
	}
	j := got.Jobs[0]
	if !near(s.now().Sub(j.RunAt), 0) {
		s.Errorf("it runs at %v", j.RunAt)
	}
	want := before
	want.State, want.Attempt, want.Crashes, want.Progress = host.StateQueued, 0, 0, host.Progress{}
	want.StartedAt, want.DeadlineAt, want.FinishedAt = time.Time{}, time.Time{}, time.Time{}
	want.RunAt, want.CreatedAt = j.RunAt, j.CreatedAt
	if diff := cmp.Diff(want, j); diff != "" {
		s.Errorf("requeued job (-want +got):\n%s", diff)
	}
	if ids := s.deadOnes(host.DeadQuery{}); len(ids) != 0 {
		s.Errorf("still a dead letter: %v", ids)
	}
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 1 {
		s.Errorf("dispatched %+v, want it", out)
	}
	spend()
	epochs := []int64{}
	for _, a := range s.historyOf(scan) {
		epochs = append(epochs, a.Epoch)
	}
	if !slices.Equal(epochs, []int64{1, 2, 3, 4}) {
		s.Errorf("history has the epochs %v, want both lives", epochs)
	}
	if refused, err := s.Requeue(s.ctx(), jobIDs(scan)); err != nil || len(refused) != 0 {
		s.Fatalf("refused %v, %v", refused, err)
	}
	o := end(s.claimAll(scan)[0].Lease, host.StateSucceeded)
	o.Findings = newFindings(3, host.SeverityHigh)
	s.finish(o)
	s.wantState(scan, host.StateSucceeded, host.StateSucceeded)
	if found := s.findings(scan, host.FindingQuery{}); len(found) != 3 || s.get(scan).Counts.High != 3 {
		s.Errorf("%d findings, counts %+v", len(found), s.get(scan).Counts)
	}
}

func testRequeueRefuses(s *suite) {
	t := s.tenant()
	good := s.dead(t, "web", "p")
	canceled := s.typed(t, "web", "a", "b")
	claims := s.claimAll(canceled)
	o := end(claims[0].Lease, host.StateFailed)
	o.Dead = true
	s.finish(o)
	s.cancel(canceled)
	s.finish(end(claims[1].Lease, host.StateCanceled))
	dropped := s.dead(t, "web", "p")
	if refused, err := s.Drop(s.ctx(), jobIDs(dropped)); err != nil || len(refused) != 0 {
		s.Fatalf("drop: %v, %v", refused, err)
	}
	waiting, unknown := s.one(), host.NewJobID()
	ids := []host.JobID{unknown, canceled.Jobs[0].ID, good.Jobs[0].ID, "x", dropped.Jobs[0].ID, good.Jobs[0].ID, waiting.Jobs[0].ID, "\x00", canceled.Jobs[1].ID}
	want := []host.Refusal{
		{Job: unknown, Reason: host.RefusedNotDead}, {Job: canceled.Jobs[0].ID, Reason: host.RefusedCanceled},
		{Job: "x", Reason: host.RefusedNotDead}, {Job: dropped.Jobs[0].ID, Reason: host.RefusedNotDead},
		{Job: waiting.Jobs[0].ID, Reason: host.RefusedNotDead}, {Job: "\x00", Reason: host.RefusedNotDead},
		{Job: canceled.Jobs[1].ID, Reason: host.RefusedNotDead},
	}
	got, err := s.Requeue(s.ctx(), ids)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		s.Errorf("refusals, %v (-want +got):\n%s", err, diff)
	}
	s.wantState(good, host.StateQueued, host.StateQueued)
	s.wantState(canceled, host.StateFailed, host.StateCanceled)
	s.wantState(dropped, host.StateFailed, host.StateFailed)
	if all, err := s.DeadLetters(s.ctx(), host.DeadQuery{}); err != nil || len(all) != 1 || !all[0].Canceled {
		s.Errorf("what is left: %+v, %v, want the one of the canceled scan", all, err)
	}
	if got, err := s.Requeue(s.ctx(), nil); err != nil || len(got) != 0 {
		s.Errorf("nothing asked: %v, %v", got, err)
	}
}

// testRequeueSome: what the scan's other jobs delivered stays.
func testRequeueSome(s *suite) {
	scan := s.typed(s.tenant(), "web", "a", "b")
	claims := s.claimAll(scan)
	good, bad := end(claims[1].Lease, host.StateSucceeded), end(claims[0].Lease, host.StateFailed)
	good.Findings, bad.Dead = newFindings(2, host.SeverityLow), true
	s.finish(good, bad)
	s.wantState(scan, host.StateFailed, host.StatePartial)
	if refused, err := s.Requeue(s.ctx(), jobIDs(scan)); err != nil || len(refused) != 1 || refused[0].Job != scan.Jobs[1].ID {
		s.Fatalf("refused %v, %v", refused, err)
	}
	s.wantState(scan, host.StateQueued, host.StateRunning)
	if got := s.get(scan); got.Counts.Low != 2 || !got.FinishedAt.IsZero() || got.Jobs[1].State != host.StateSucceeded {
		s.Errorf("scan %+v", got)
	}
	again, err := s.Claim(s.ctx(), "host-a", jobIDs(scan), ttl)
	if err != nil || len(again) != 1 || again[0].Lease.Epoch != 2 || again[0].Job.Attempt != 1 || again[0].Remaining != time.Hour {
		s.Fatalf("claimed %+v, %v, want a new first attempt of epoch 2", again, err)
	}
	// Who held it in its first life cannot write to the second.
	if lost, err := s.Finish(s.ctx(), []host.Outcome{bad}); err != nil || len(lost) != 1 {
		s.Errorf("lost %v, %v", lost, err)
	}
	s.finish(end(again[0].Lease, host.StateSucceeded))
	s.wantState(scan, host.StateSucceeded, host.StateSucceeded)
}

// testRequeueConcurrent: of many who requeue the same, one does.
func testRequeueConcurrent(s *suite) {
	t := s.tenant()
	var all []host.JobID
	for range 4 {
		all = append(all, jobIDs(s.dead(t, "web", plugins(3)...))...)
	}
	won := make([]int, 6)
	var wg sync.WaitGroup
	for i := range won {
		wg.Go(func() {
			ids := slices.Clone(all)
			if i%2 == 0 {
				slices.Reverse(ids)
			}
			refused, err := s.Requeue(s.ctx(), ids)
			if err != nil {
				s.Error(err)
			}
			won[i] = len(ids) - len(refused)
		})
	}
	wg.Wait()
	total := 0
	for _, n := range won {
		total += n
	}
	if total != len(all) {
		s.Errorf("%d requeued in all (%v), want each of %d once", total, won, len(all))
	}
	if out := s.dispatch(100, time.Hour); len(out.Bells) != len(all) {
		s.Errorf("dispatched %d", len(out.Bells))
	}
}

func testDrop(s *suite) {
	scan := s.dead(s.tenant(), "web", "a", "b")
	before := s.get(scan)
	refused, err := s.Drop(s.ctx(), []host.JobID{scan.Jobs[0].ID, "x"})
	if want := []host.Refusal{{Job: "x", Reason: host.RefusedNotDead}}; err != nil || !slices.Equal(refused, want) {
		s.Errorf("refused %v, %v", refused, err)
	}
	if diff := cmp.Diff(before, s.get(scan)); diff != "" {
		s.Errorf("dropping changed the scan (-before +after):\n%s", diff)
	}
	if got := s.deadOnes(host.DeadQuery{}); !slices.Equal(got, []host.JobID{scan.Jobs[1].ID}) {
		s.Errorf("left: %v", got)
	}
	if _, err := s.DeadLetter(s.ctx(), scan.Jobs[0].ID); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("the dropped one: %v", err)
	}
}
