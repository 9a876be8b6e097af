package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testAccept(s *suite) {
	t := s.tenant()
	in := newScan(t, "secrets", "deps", "secrets-2")
	in.Type, in.Project, in.Options = "codeaudit", "shop", json.RawMessage(`{"depth": 3, "x": "\u0000"}`)
	in.Input = host.Input{Archive: &host.Archive{Blob: "a/b", Filename: "Köln <1>.zip", Format: "zip", Size: 10,
		SHA256: "00ff", Files: 3, UnpackedBytes: 20, Dropped: 1}}
	in.Jobs[1].MaxAttempts, in.Jobs[1].Timeout = 1, 90*time.Second+time.Microsecond
	// The store sets these, whatever the caller thinks.
	in.State, in.CreatedAt = host.StateFailed, time.Unix(1, 0)
	in.Jobs[0].State, in.Jobs[0].Attempt, in.Jobs[0].TenantID = host.StateSucceeded, 7, host.NewTenantID()

	got := s.accept(in)
	want := in
	want.State, want.Priority, want.CreatedAt = host.StateQueued, host.PriorityNormal, got.CreatedAt
	want.Jobs = slices.Clone(in.Jobs)
	for i := range want.Jobs {
		j := &want.Jobs[i]
		j.ScanID, j.TenantID, j.State, j.Attempt = in.ID, t, host.StateQueued, 0
		j.CreatedAt, j.RunAt = got.CreatedAt, got.CreatedAt
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("accepted (-want +got):\n%s", diff)
	}
	if got.CreatedAt.IsZero() || got.CreatedAt.Location() != time.UTC || got.CreatedAt.Nanosecond()%1000 != 0 {
		s.Errorf("created at %v, want UTC with microseconds", got.CreatedAt)
	}
	if diff := cmp.Diff(got, s.get(in)); diff != "" {
		s.Errorf("read back (-accepted +read):\n%s", diff)
	}
	url := s.accept(newScan(t, "p"))
	if diff := cmp.Diff(url, s.get(url)); diff != "" || url.Options != nil || url.Input.Archive != nil {
		s.Errorf("scan of a URL (-accepted +read):\n%s", diff)
	}
}

// testAcceptMany: scans of several tenants, of every shape, in one go.
func testAcceptMany(s *suite) {
	one, two := s.tenant(), s.tenant()
	archive := newScan(two, "a", "b")
	archive.Input = host.Input{Archive: &host.Archive{Blob: "archives/x", Format: "zip", Size: 3}}
	archive.Options, archive.Project = json.RawMessage(`{"a":{}}`), "shop"
	in := []host.Scan{newScan(one, "p"), archive, newScan(two, plugins(5)...), newScan(one, "b", "a")}
	out, err := s.Accept(s.ctx(), in, nil)
	s.check(err)
	if len(out) != len(in) {
		s.Fatalf("%d scans came back of %d", len(out), len(in))
	}
	for i, scan := range out {
		if scan.ID != in[i].ID || len(scan.Jobs) != len(in[i].Jobs) {
			s.Errorf("scan %d came back as %s with %d jobs", i, scan.ID, len(scan.Jobs))
		}
		if diff := cmp.Diff(scan, s.get(scan)); diff != "" {
			s.Errorf("scan %d (-accepted +read):\n%s", i, diff)
		}
	}
}

// testArchiveData: an archive that is kept in the store comes back with the
// claims of its scan's jobs, byte for byte, and with nothing else.
func testArchiveData(s *suite) {
	data := make([]byte, host.InlineArchive)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	t := s.tenant()
	small, large := newScan(t, "a", "b"), newScan(t, "p")
	small.Input = host.Input{Archive: &host.Archive{Data: data, Format: "zip", Size: int64(len(data))}}
	large.Input = host.Input{Archive: &host.Archive{Blob: "archives/x", Format: "zip", Size: 1 << 20}}
	out, err := s.Accept(s.ctx(), []host.Scan{small, large}, nil)
	s.check(err)
	if got := small.Input.Archive.Data; !bytes.Equal(got, data) {
		s.Error("accepting changed the caller's archive")
	}
	for _, scan := range out {
		if a := s.get(scan).Input.Archive; a.Data != nil || scan.Input.Archive.Data != nil {
			s.Error("the data of an archive shows outside a claim")
		}
		for _, c := range s.claimAll(scan) {
			got := c.Scan.Input.Archive
			switch {
			case scan.ID == small.ID && (!bytes.Equal(got.Data, data) || got.Blob != ""):
				s.Errorf("a claim has %d bytes and the blob %q", len(got.Data), got.Blob)
			case scan.ID == large.ID && (got.Data != nil || got.Blob != "archives/x"):
				s.Errorf("an archive in the blob store comes with %d bytes and the blob %q", len(got.Data), got.Blob)
			}
		}
	}
}

func testAcceptRefuses(s *suite) {
	t := s.tenant()
	taken := s.accept(newScan(t, "p"))
	for name, tt := range map[string]struct {
		change func(*host.Scan)
		want   error
	}{
		"no jobs":            {func(sc *host.Scan) { sc.Jobs = nil }, host.ErrInvalid},
		"no input":           {func(sc *host.Scan) { sc.Input = host.Input{} }, host.ErrInvalid},
		"two inputs":         {func(sc *host.Scan) { sc.Input.Archive = &host.Archive{} }, host.ErrInvalid},
		"no type":            {func(sc *host.Scan) { sc.Type = "" }, host.ErrInvalid},
		"no plugin":          {func(sc *host.Scan) { sc.Jobs[0].Plugin = "" }, host.ErrInvalid},
		"no attempts":        {func(sc *host.Scan) { sc.Jobs[0].MaxAttempts = 0 }, host.ErrInvalid},
		"no timeout":         {func(sc *host.Scan) { sc.Jobs[0].Timeout = 0 }, host.ErrInvalid},
		"options not JSON":   {func(sc *host.Scan) { sc.Options = json.RawMessage("{") }, host.ErrInvalid},
		"id not a UUID":      {func(sc *host.Scan) { sc.ID = "x" }, host.ErrInvalid},
		"job id not a UUID":  {func(sc *host.Scan) { sc.Jobs[0].ID = "x" }, host.ErrInvalid},
		"id taken":           {func(sc *host.Scan) { sc.ID = taken.ID }, host.ErrConflict},
		"job id taken":       {func(sc *host.Scan) { sc.Jobs[0].ID = taken.Jobs[0].ID }, host.ErrConflict},
		"unknown tenant":     {func(sc *host.Scan) { sc.TenantID = host.NewTenantID() }, host.ErrNotFound},
		"tenant not a UUID":  {func(sc *host.Scan) { sc.TenantID = "x" }, host.ErrNotFound},
		"second job's taken": {func(sc *host.Scan) { sc.Jobs = append(sc.Jobs, taken.Jobs[0]) }, host.ErrConflict},
	} {
		scan := newScan(t, "p")
		tt.change(&scan)
		// What is accepted together with it is refused with it.
		for _, scans := range [][]host.Scan{{scan}, {newScan(t, "p"), scan}, {scan, newScan(t, "p")}} {
			if _, err := s.Accept(s.ctx(), scans, nil); !errors.Is(err, tt.want) {
				s.Errorf("%s, one of %d: %v, want %v", name, len(scans), err, tt.want)
			}
		}
	}
	if none, err := s.Accept(s.ctx(), nil, nil); len(none) != 0 || err != nil {
		s.Errorf("accepting nothing: %v, %v", none, err)
	}
	// Nothing of them stayed: neither scans nor jobs.
	all, err := s.Scans(s.ctx(), t, host.ScanQuery{})
	s.check(err)
	out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 100, Horizon: time.Hour})
	s.check(err)
	if len(all) != 1 || len(out.Bells) != 1 {
		s.Errorf("%d scans and %d jobs are stored, want one of each", len(all), len(out.Bells))
	}
}

func testScansList(s *suite) {
	t := s.tenant()
	var scans []host.Scan
	for i := range 60 {
		scan := newScan(t, "p")
		scan.Type, scan.Project = []string{"web", "api"}[i%2], []string{"", "shop", "blog"}[i%3]
		scans = append(scans, s.accept(scan))
	}
	s.finish(end(s.claimAll(scans[6])[0].Lease, host.StateSucceeded))
	page := func(q host.ScanQuery) []host.Scan {
		s.Helper()
		got, err := s.Scans(s.ctx(), t, q)
		s.check(err)
		return got
	}
	if got := page(host.ScanQuery{}); len(got) != 50 || got[0].ID != scans[59].ID || got[49].ID != scans[10].ID || got[0].Jobs != nil {
		s.Errorf("the default page is %d scans from %s", len(got), got[0].ID)
	}
	if got := page(host.ScanQuery{Limit: 10000}); len(got) != 60 {
		s.Errorf("a huge limit gives %d", len(got))
	}
	var ids []host.ScanID
	q := host.ScanQuery{Limit: 7}
	for {
		got := page(q)
		for _, g := range got {
			ids = append(ids, g.ID)
		}
		if len(got) < 7 {
			break
		}
		q.After = got[6].ID
	}
	var want []host.ScanID
	for _, sc := range slices.Backward(scans) {
		want = append(want, sc.ID)
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		s.Errorf("pages (-want +got):\n%s", diff)
	}
	for name, tt := range map[string]struct {
		q host.ScanQuery
		n int
	}{
		"type":             {host.ScanQuery{Type: "api", Limit: 100}, 30},
		"project":          {host.ScanQuery{Project: "shop", Limit: 100}, 20},
		"state":            {host.ScanQuery{State: host.StateSucceeded}, 1},
		"type and project": {host.ScanQuery{Type: "web", Project: "blog", Limit: 100}, 10},
		"nothing":          {host.ScanQuery{Project: "none"}, 0},
		"behind the last":  {host.ScanQuery{After: scans[0].ID}, 0},
		"no such state":    {host.ScanQuery{State: "lost"}, 0},
		"hostile":          {host.ScanQuery{Type: "\x00\xff", Project: "' or ''='"}, 0},
	} {
		if got := page(tt.q); len(got) != tt.n {
			s.Errorf("%s: %d scans, want %d", name, len(got), tt.n)
		}
	}
	if _, err := s.Scans(s.ctx(), t, host.ScanQuery{After: "x"}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("cursor x: %v", err)
	}
	listed, full := page(host.ScanQuery{State: host.StateSucceeded})[0], s.get(scans[6])
	full.Jobs = nil
	if diff := cmp.Diff(full, listed); diff != "" {
		s.Errorf("listed (-full +listed):\n%s", diff)
	}
}

func testScanIsolation(s *suite) {
	scan, theirs := s.one(), s.tenant()
	for _, tenant := range []host.TenantID{theirs, host.NewTenantID(), "x", "", "' or 1=1"} {
		if _, err := s.Scan(s.ctx(), tenant, scan.ID); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("read as %q: %v", tenant, err)
		}
		if _, err := s.Cancel(s.ctx(), tenant, scan.ID); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("cancel as %q: %v", tenant, err)
		}
		if got, err := s.Scans(s.ctx(), tenant, host.ScanQuery{}); err != nil || len(got) != 0 {
			s.Errorf("list as %q: %v, %v", tenant, got, err)
		}
		if got, err := s.Scans(s.ctx(), tenant, host.ScanQuery{After: host.NewScanID()}); err != nil || len(got) != 0 {
			s.Errorf("list as %q: %v, %v", tenant, got, err)
		}
	}
	for _, id := range []host.ScanID{host.NewScanID(), "x", "", host.ScanID(scan.Jobs[0].ID)} {
		if _, err := s.Scan(s.ctx(), scan.TenantID, id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("read %q: %v", id, err)
		}
		if _, err := s.Cancel(s.ctx(), scan.TenantID, id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("cancel %q: %v", id, err)
		}
	}
	s.wantState(scan, host.StateQueued, host.StateQueued)
	if got := s.get(scan); !got.CancelRequestedAt.IsZero() {
		s.Error("another tenant's cancel left its mark")
	}
}

func (s *suite) cancel(scan host.Scan) host.Scan {
	s.Helper()
	got, err := s.Cancel(s.ctx(), scan.TenantID, scan.ID)
	s.check(err)
	if diff := cmp.Diff(got, s.get(scan)); diff != "" {
		s.Errorf("cancel answered one thing and stored another (-answered +stored):\n%s", diff)
	}
	return got
}

func testCancelQueued(s *suite) {
	scan := s.one()
	first := s.cancel(scan)
	if first.State != host.StateCanceled || first.Jobs[0].State != host.StateCanceled ||
		first.FinishedAt.IsZero() || first.Jobs[0].FinishedAt.IsZero() || first.CancelRequestedAt.IsZero() {
		s.Errorf("canceled: %+v", first)
	}
	if diff := cmp.Diff(first, s.cancel(scan)); diff != "" {
		s.Errorf("the second cancel changed it (-first +second):\n%s", diff)
	}
	if got, err := s.Claim(s.ctx(), "a", jobIDs(scan), ttl); err != nil || len(got) != 0 {
		s.Errorf("claimed a canceled job: %v, %v", got, err)
	}
	if got, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 10, Horizon: time.Hour}); err != nil || len(got.Bells) != 0 {
		s.Errorf("dispatched a canceled job: %v, %v", got, err)
	}
}

func testCancelRunning(s *suite) {
	scan, l := s.running()
	got := s.cancel(scan)
	if got.State != host.StateRunning || got.CancelRequestedAt.IsZero() || !got.FinishedAt.IsZero() {
		s.Errorf("after cancel: %+v", got)
	}
	if again := s.cancel(scan); !again.CancelRequestedAt.Equal(got.CancelRequestedAt) {
		s.Error("the second cancel moved the time of the first")
	}
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l}}, ttl)
	s.check(err)
	if want := []host.Pulse{{Lease: l, CancelRequested: true}}; !slices.Equal(pulses, want) {
		s.Errorf("pulses %v, want %v", pulses, want)
	}
	s.finish(end(l, host.StateCanceled))
	s.wantState(scan, host.StateCanceled, host.StateCanceled)
	s.cancel(scan)

	// A job that was done before it heard of the cancel is done.
	late, l := s.running()
	s.cancel(late)
	s.finish(end(l, host.StateSucceeded))
	s.wantState(late, host.StateSucceeded, host.StateSucceeded)
}

func testCancelFinal(s *suite) {
	for _, state := range []host.State{host.StateSucceeded, host.StatePartial, host.StateFailed, host.StateTimedOut} {
		scan, l := s.running()
		s.finish(end(l, state))
		before := s.get(scan)
		if _, err := s.Cancel(s.ctx(), scan.TenantID, scan.ID); !errors.Is(err, host.ErrConflict) {
			s.Errorf("cancel a scan that %s: %v", state, err)
		}
		if diff := cmp.Diff(before, s.get(scan)); diff != "" {
			s.Errorf("the cancel of a scan that %s changed it:\n%s", state, diff)
		}
	}
}

func testCancelSome(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(3)...))
	claims, err := s.Claim(s.ctx(), "a", jobIDs(scan)[:2], ttl)
	s.check(err)
	for _, c := range claims {
		if c.Job.ID == scan.Jobs[0].ID {
			s.finish(end(c.Lease, host.StateSucceeded))
		}
	}
	got := s.cancel(scan)
	states := []host.State{got.Jobs[0].State, got.Jobs[1].State, got.Jobs[2].State}
	if want := []host.State{host.StateSucceeded, host.StateRunning, host.StateCanceled}; !slices.Equal(states, want) {
		s.Errorf("jobs are %v, want %v", states, want)
	}
	if got.State != host.StateRunning {
		s.Errorf("scan is %s", got.State)
	}
}

func testDeriveTwo(s *suite)   { s.derive(2) }
func testDeriveThree(s *suite) { s.derive(3) }

// derive brings n jobs into every combination of states, in one Finish and in
// one for each job by turns, and compares the scan with host.DeriveState. Of
// three jobs and more, those that differ in their order count as one.
func (s *suite) derive(n int) {
	t := s.tenant()
	all := host.States()
	combinations := 1
	for range n {
		combinations *= len(all)
	}
	for c := range combinations {
		want := make([]host.State, n)
		for i, rest := 0, c; i < n; i, rest = i+1, rest/len(all) {
			want[i] = all[rest%len(all)]
		}
		if n > 2 && !slices.IsSortedFunc(want, func(a, b host.State) int { return slices.Index(all, a) - slices.Index(all, b) }) {
			continue
		}
		scan := s.accept(newScan(t, plugins(n)...))
		s.bring(scan, want, c%2 == 0)
		got := s.get(scan)
		label := fmt.Sprintf("jobs %v", want)
		if derived := host.DeriveState(want); got.State != derived {
			s.Errorf("%s: scan is %s, want %s", label, got.State, derived)
		}
		if got.FinishedAt.IsZero() == got.State.Final() {
			s.Errorf("%s: scan is %s and finished at %v", label, got.State, got.FinishedAt)
		}
		if started := slices.ContainsFunc(want, func(st host.State) bool { return st != host.StateQueued }); got.StartedAt.IsZero() == started {
			s.Errorf("%s: scan started at %v", label, got.StartedAt)
		}
		var sum host.Counts
		for i, j := range got.Jobs {
			if j.State != want[i] {
				s.Errorf("%s: job %d is %s", label, i, j.State)
			}
			sum = sum.Plus(j.Counts)
		}
		if got.Counts != sum {
			s.Errorf("%s: counts %+v, want %+v", label, got.Counts, sum)
		}
	}
}

// bring claims the jobs that do not stay queued and ends those that do not
// stay running; delivering ones find two things.
func (s *suite) bring(scan host.Scan, to []host.State, atOnce bool) {
	s.Helper()
	var ids []host.JobID
	state := map[host.JobID]host.State{}
	for i, j := range scan.Jobs {
		if state[j.ID] = to[i]; to[i] != host.StateQueued {
			ids = append(ids, j.ID)
		}
	}
	claims, err := s.Claim(s.ctx(), "host-a", ids, ttl)
	s.check(err)
	var outcomes []host.Outcome
	for _, c := range claims {
		if st := state[c.Job.ID]; st.Final() {
			o := end(c.Lease, st)
			if st == host.StateSucceeded || st == host.StatePartial {
				o.Findings = append(newFindings(1, host.SeverityHigh), newFindings(1, host.SeverityInfo)...)
			}
			outcomes = append(outcomes, o)
		}
	}
	if atOnce {
		s.finish(outcomes...)
		return
	}
	for _, o := range outcomes {
		s.finish(o)
	}
}
