package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// plenty is more findings than any test makes.
const plenty = 1000

// found is a finding as a plugin reports it: a text at a line of a file.
func found(path, text string, line int) host.Finding {
	return host.Finding{ID: host.NewFindingID(), RuleID: "r", Title: "title", Message: "message", Severity: host.SeverityHigh,
		Location: host.Location{Path: path, StartLine: line}, Fingerprint: "v1:" + path + text, Content: "v1:" + text}
}

// begin accepts and starts a scan of project "shop".
func (s *suite) begin(t host.TenantID) (host.Scan, host.Lease) {
	s.Helper()
	scan := newScan(t, "p")
	scan.Project = "shop"
	scan = s.accept(scan)
	return scan, s.claimAll(scan)[0].Lease
}

// report ends a job with findings, and tracks its scan.
func (s *suite) report(l host.Lease, state host.State, findings ...host.Finding) *host.Tracking {
	s.Helper()
	o := end(l, state)
	o.Findings = findings
	s.finish(o)
	return s.track()
}

// track tracks what waits, and gives the last.
func (s *suite) track() (last *host.Tracking) {
	s.Helper()
	for {
		t, err := s.Track(s.ctx(), plenty)
		s.check(err)
		if t == nil {
			return last
		}
		last = t
	}
}

// shop scans project "shop" once.
func (s *suite) shop(t host.TenantID, findings ...host.Finding) (host.Scan, *host.Tracking) {
	s.Helper()
	scan, l := s.begin(t)
	got := s.report(l, host.StateSucceeded, findings...)
	if got == nil || got.Scan != scan.ID {
		s.Fatalf("tracked %+v, want scan %s", got, scan.ID)
	}
	return scan, got
}

func (s *suite) projectFindings(t host.TenantID, q host.ProjectFindingQuery) []host.ProjectFinding {
	s.Helper()
	page, err := s.ProjectFindings(s.ctx(), t, "shop", q)
	s.check(err)
	return page.Items
}

// states gives "path:line state" of a project's findings.
func (s *suite) states(t host.TenantID) []string {
	s.Helper()
	var out []string
	for _, f := range s.projectFindings(t, host.ProjectFindingQuery{Limit: 1000}) {
		out = append(out, fmt.Sprint(f.Finding.Location.Path, ":", f.Finding.Location.StartLine, " ", f.State))
	}
	slices.Sort(out)
	return out
}

func (s *suite) wantTracking(got *host.Tracking, added, unchanged, updated, absent int) {
	s.Helper()
	if got == nil || got.New != added || got.Unchanged != unchanged || got.Updated != updated || got.Absent != absent || got.Untracked != 0 {
		s.Errorf("tracked %+v, want %d new, %d unchanged, %d updated, %d absent", got, added, unchanged, updated, absent)
	}
}

func testProjects(s *suite) {
	t, other := s.tenant(), s.tenant()
	gate := host.Gate{FailOn: host.SeverityHigh, NewOnly: true}
	p, err := s.SetProject(s.ctx(), t, "shop", 0, gate)
	s.check(err)
	if p.Name != "shop" || p.Gate != gate || p.Version != 1 || p.TenantID != t || p.CreatedAt.IsZero() || p.Findings != 0 || p.LastScan != "" {
		s.Errorf("made %+v", p)
	}
	for name, want := range map[string]error{"shop": host.ErrConflict} {
		if _, err := s.SetProject(s.ctx(), t, name, 0, gate); !errors.Is(err, want) {
			s.Errorf("made again: %v", err)
		}
	}
	next, err := s.SetProject(s.ctx(), t, "shop", 1, host.Gate{})
	if err != nil || next.Version != 2 || next.Gate != (host.Gate{}) {
		s.Errorf("changed: %+v, %v", next, err)
	}
	if _, err := s.SetProject(s.ctx(), t, "shop", 1, gate); !errors.Is(err, host.ErrStale) {
		s.Errorf("changed from an old version: %v", err)
	}
	if _, err := s.SetProject(s.ctx(), t, "none", 1, gate); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("changed one that is not there: %v", err)
	}
	for _, bad := range []host.Gate{{FailOn: "worst"}, {NewOnly: true}} {
		if _, err := s.SetProject(s.ctx(), t, "shop", 2, bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("gate %+v: %v", bad, err)
		}
	}
	_, err = s.SetProject(s.ctx(), t, "a", 0, host.Gate{})
	s.check(err)
	all, err := s.Projects(s.ctx(), t, "", 0)
	if err != nil || len(all) != 2 || all[0].Name != "a" || cmp.Diff(next, all[1]) != "" {
		s.Errorf("listed %+v, %v", all, err)
	}
	if all, err = s.Projects(s.ctx(), t, "a", 1); err != nil || len(all) != 1 || all[0].Name != "shop" {
		s.Errorf("behind a: %+v, %v", all, err)
	}
	for _, id := range []host.TenantID{other, "x"} {
		if all, err := s.Projects(s.ctx(), id, "", 0); err != nil || len(all) != 0 {
			s.Errorf("tenant %q lists %+v, %v", id, all, err)
		}
		if _, err := s.Project(s.ctx(), id, "shop"); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("tenant %q reads it: %v", id, err)
		}
		if _, err := s.ProjectFindings(s.ctx(), id, "shop", host.ProjectFindingQuery{}); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("tenant %q lists its findings: %v", id, err)
		}
	}
}

// testTrack is the life of a project: findings come, move, change, go and come
// back, and stay the same ones.
func testTrack(s *suite) {
	t := s.tenant()
	first, got := s.shop(t, found("a", "x", 10), found("a", "x", 20), found("b", "y", 1))
	s.wantTracking(got, 3, 0, 0, 0)
	if got.Base != "" || got.TrackedAt.IsZero() {
		s.Errorf("the first is %+v", got)
	}
	before := s.projectFindings(t, host.ProjectFindingQuery{})
	second, got := s.shop(t, found("a", "x", 60), found("a", "x", 70), found("b", "y", 51))
	s.wantTracking(got, 0, 3, 0, 0)
	if got.Base != first.ID {
		s.Errorf("the base is %s, want %s", got.Base, first.ID)
	}
	if diff := cmp.Diff([]string{"a:60 unchanged", "a:70 unchanged", "b:51 unchanged"}, s.states(t)); diff != "" {
		s.Errorf("50 lines on top (-want +got):\n%s", diff)
	}
	for i, f := range s.projectFindings(t, host.ProjectFindingQuery{}) {
		if was := before[i]; f.ID != was.ID || f.FirstScan != first.ID || !f.FirstSeen.Equal(was.FirstSeen) || f.Finding.ScanID != second.ID || !f.LastSeen.After(f.FirstSeen) {
			s.Errorf("%+v was %+v", f, was)
		}
	}
	// One twin goes, y is renamed, z comes, and a message changes.
	reworded := found("a", "x", 70)
	reworded.Message = "reworded"
	third, got := s.shop(t, reworded, found("c", "y", 9), found("a", "z", 5))
	s.wantTracking(got, 1, 0, 2, 1)
	if diff := cmp.Diff([]string{"a:5 new", "a:60 absent", "a:70 updated", "c:9 updated"}, s.states(t)); diff != "" {
		s.Errorf("after the third (-want +got):\n%s", diff)
	}
	for _, f := range s.findings(third, host.FindingQuery{}) {
		if f.Baseline == "" || f.ProjectFinding == "" || f.Location.StartLine == 5 != (f.Baseline == host.BaselineNew) {
			s.Errorf("a finding of the scan: %+v", f)
		}
	}
	d, err := s.Diff(s.ctx(), t, third.ID, "")
	s.check(err)
	if d.Base != second.ID || d.New != 1 || d.Absent != 1 || d.Updated != 2 || d.Unchanged != 0 || len(d.Items) != 2 {
		s.Errorf("diff %+v", d)
	}
	if d, err = s.Diff(s.ctx(), t, third.ID, first.ID); err != nil || d.Base != first.ID || d.New != 1 || d.Absent != 1 {
		s.Errorf("diff with the first: %+v, %v", d, err)
	}
	_, got = s.shop(t, found("a", "x", 60), found("a", "x", 70), found("c", "y", 9), found("a", "z", 5))
	s.wantTracking(got, 1, 2, 1, 0) // the twin is back, and it is the same one
	if all := s.projectFindings(t, host.ProjectFindingQuery{}); len(all) != 4 {
		s.Errorf("%d findings in the end", len(all))
	}
	p, err := s.Project(s.ctx(), t, "shop")
	if err != nil || p.Findings != 4 || p.LastScan == "" || p.LastAt.IsZero() {
		s.Errorf("the project: %+v, %v", p, err)
	}
	if again := s.track(); again != nil {
		s.Errorf("tracked again: %+v", again)
	}
}

// testTrackOnly: nothing waits but scans of projects that have ended.
func testTrackOnly(s *suite) {
	scan, l := s.running()
	if got := s.report(l, host.StateSucceeded, found("a", "x", 1)); got != nil {
		s.Errorf("a scan without a project: %+v", got)
	}
	if all := s.findings(scan, host.FindingQuery{}); len(all) != 1 || all[0].Baseline != "" || all[0].ProjectFinding != "" {
		s.Errorf("its findings: %+v", all)
	}
	t := s.tenant()
	s.begin(t)
	if got := s.track(); got != nil {
		s.Errorf("a scan that runs: %+v", got)
	}
	if _, err := s.Project(s.ctx(), t, "shop"); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("its project: %v", err)
	}
}

// testTrackAbsent: only a plugin that saw the whole of the same scope says that
// something is gone.
func testTrackAbsent(s *suite) {
	t := s.tenant()
	s.shop(t, found("a", "x", 1))
	for _, state := range []host.State{host.StatePartial, host.StateFailed, host.StateTimedOut, host.StateCanceled} {
		scan, l := s.begin(t)
		if state == host.StateCanceled {
			_, err := s.Cancel(s.ctx(), t, scan.ID)
			s.check(err)
		}
		s.wantTracking(s.report(l, state), 0, 0, 0, 0)
		if got := s.states(t); got[0] != "a:1 new" {
			s.Errorf("after a scan that is %s: %v", state, got)
		}
	}
	other := newScan(t, "p")
	other.Project, other.Input.URL = "shop", "https://example.com/elsewhere"
	other = s.accept(other)
	s.wantTracking(s.report(s.claimAll(other)[0].Lease, host.StateSucceeded), 0, 0, 0, 0)
	third := newScan(t, "one")
	third.Project = "shop"
	third = s.accept(third)
	s.wantTracking(s.report(s.claimAll(third)[0].Lease, host.StateSucceeded, found("a", "x", 1)), 1, 0, 0, 0)
	_, got := s.shop(t)
	s.wantTracking(got, 0, 0, 0, 1)
	if got := s.states(t); got[0] != "a:1 absent" || got[1] != "a:1 new" {
		s.Errorf("in the end: %v", got)
	}
}

// testTrackLate has the older scan end last.
func testTrackLate(s *suite) {
	t := s.tenant()
	first, _ := s.shop(t, found("a", "x", 1), found("a", "gone", 2))
	s.advance(time.Second)
	older, late := s.begin(t)
	s.advance(time.Second)
	newer, _ := s.shop(t, found("a", "x", 1), found("b", "y", 1))
	before := s.states(t)
	got := s.report(late, host.StateSucceeded, found("a", "x", 1), found("a", "gone", 2), found("b", "y", 1), found("c", "z", 1))
	if got == nil || got.Scan != older.ID || got.Base != first.ID || got.Absent != 0 {
		s.Errorf("the late scan came to %+v", got)
	}
	if diff := cmp.Diff(append(before, "c:1 absent"), s.states(t)); diff != "" {
		s.Errorf("the late scan changed (-before +after):\n%s", diff)
	}
	for _, f := range s.projectFindings(t, host.ProjectFindingQuery{}) {
		if f.Finding.Location.Path == "b" && (f.FirstScan != older.ID || f.Finding.ScanID != newer.ID) {
			s.Errorf("y is %+v, want it first seen by the older", f)
		}
	}
	p, err := s.Project(s.ctx(), t, "shop")
	if err != nil || p.LastScan != newer.ID {
		s.Errorf("the newest scan is %s, %v, want %s", p.LastScan, err, newer.ID)
	}
	_, got = s.shop(t, found("c", "z", 1))
	s.wantTracking(got, 1, 0, 0, 2)
}

// testTrackAgain: a job that is tried again after all brings its findings later.
func testTrackAgain(s *suite) {
	t := s.tenant()
	scan := newScan(t, "a", "b")
	scan.Project = "shop"
	scan = s.accept(scan)
	claims := s.claimAll(scan)
	good, dead := end(claims[0].Lease, host.StateSucceeded), end(claims[1].Lease, host.StateFailed)
	good.Findings, dead.Dead = []host.Finding{found("a", "x", 1)}, true
	s.finish(good, dead)
	s.wantTracking(s.track(), 1, 0, 0, 0)
	_, err := s.Requeue(s.ctx(), []host.JobID{scan.Jobs[1].ID})
	s.check(err)
	again := s.claimAll(host.Scan{ID: scan.ID, Jobs: scan.Jobs[1:]})
	s.wantTracking(s.report(again[0].Lease, host.StateSucceeded, found("b", "y", 1)), 1, 0, 0, 0)
	if diff := cmp.Diff([]string{"a:1 new", "b:1 new"}, s.states(t)); diff != "" {
		s.Errorf("states (-want +got):\n%s", diff)
	}
	f, err := s.GateFacts(s.ctx(), s.get(scan))
	if err != nil || f.Tracking == nil || f.Tracking.New != 2 {
		s.Errorf("the scan came to %+v, %v", f.Tracking, err)
	}
}

// testTrackHosts has several hosts track many scans of one project, while more
// end. Each is tracked once, and what is known in the end is what the newest saw.
func testTrackHosts(s *suite) {
	const scans = 12
	t := s.tenant()
	var leases []host.Lease
	for range scans {
		_, l := s.begin(t)
		leases = append(leases, l)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := map[host.ScanID]int{}
	for n := range 3 {
		store := s.Store
		if n > 0 {
			store = s.h.Another()
		}
		wg.Go(func() {
			for i := n; i < scans; i += 3 {
				o := end(leases[i], host.StateSucceeded)
				o.Findings = []host.Finding{found("a", "always", i+1), found("a", fmt.Sprint("only ", i), 1)}
				if _, err := store.Finish(s.ctx(), []host.Outcome{o}); err != nil {
					s.Error(err)
				}
				got, err := store.Track(s.ctx(), plenty)
				if err != nil {
					s.Error(err)
				}
				if got != nil {
					mu.Lock()
					done[got.Scan]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for {
		got, err := s.Track(s.ctx(), plenty)
		s.check(err)
		if got == nil {
			break
		}
		done[got.Scan]++
	}
	if len(done) != scans {
		s.Errorf("%d scans were tracked, want %d", len(done), scans)
	}
	for id, n := range done {
		if n != 1 {
			s.Errorf("scan %s was tracked %d times", id, n)
		}
	}
	present, always := 0, 0
	for _, f := range s.projectFindings(t, host.ProjectFindingQuery{}) {
		if f.State != host.BaselineAbsent {
			present++
		}
		if f.Finding.Fingerprint == "v1:aalways" {
			always++
		}
	}
	if present != 2 || always != 1 {
		s.Errorf("%d findings are present, want those of the newest scan; %d times the one of all", present, always)
	}
}

// testTrackFull: a project that is full keeps the worst, and says what it did not
// keep. What is gone makes room.
func testTrackFull(s *suite) {
	t := s.tenant()
	scan, l := s.begin(t)
	low := found("a", "low", 1)
	low.Severity = host.SeverityLow
	o := end(l, host.StateSucceeded)
	o.Findings = []host.Finding{low, found("a", "x", 1), found("a", "y", 1)}
	s.finish(o)
	got, err := s.Track(s.ctx(), 2)
	s.check(err)
	if got == nil || got.New != 2 || got.Untracked != 1 {
		s.Errorf("tracked %+v, want 2 new and 1 without room", got)
	}
	for _, f := range s.findings(scan, host.FindingQuery{}) {
		if f.Severity == host.SeverityHigh != (f.ProjectFinding != "") {
			s.Errorf("kept: %+v", f)
		}
	}
	for n, findings := range [][]host.Finding{{found("a", "x", 1)}, {found("a", "x", 1), found("b", "z", 1)}} {
		_, l := s.begin(t)
		o := end(l, host.StateSucceeded)
		o.Findings = findings
		s.finish(o)
		if got, err = s.Track(s.ctx(), 2); err != nil || got.Untracked != 0 {
			s.Errorf("scan %d: %+v, %v", n, got, err)
		}
	}
	if diff := cmp.Diff([]string{"a:1 unchanged", "b:1 new"}, s.states(t)); diff != "" {
		s.Errorf("states (-want +got):\n%s", diff)
	}
	if p, err := s.Project(s.ctx(), t, "shop"); err != nil || p.Findings != 2 {
		s.Errorf("the project holds %d, %v", p.Findings, err)
	}
}

// testProjectFindingPages compares filters and pages with a plain list.
func testProjectFindingPages(s *suite) {
	t := s.tenant()
	var all []host.Finding
	for i := range 40 {
		f := found([]string{"src/a", "src/b", "lib/ö", "lib/%"}[i%4], fmt.Sprint(i), i+1)
		f.Severity, f.RuleID = host.Severities()[i%6], []string{"r", "q"}[i%2]
		all = append(all, f)
	}
	s.shop(t, all...)
	s.shop(t, all[:30]...)
	whole := s.projectFindings(t, host.ProjectFindingQuery{})
	if len(whole) != 40 || !slices.IsSortedFunc(whole, func(a, b host.ProjectFinding) int {
		return a.Finding.Severity.Rank() - b.Finding.Severity.Rank()
	}) {
		s.Fatalf("%d findings, or they are not in order", len(whole))
	}
	for name, c := range map[string]struct {
		q    host.ProjectFindingQuery
		want int
	}{
		"absent": {host.ProjectFindingQuery{State: host.BaselineAbsent}, 10}, "severity": {host.ProjectFindingQuery{Severity: host.SeverityHigh}, 7},
		"rule": {host.ProjectFindingQuery{Rule: "q"}, 20}, "plugin": {host.ProjectFindingQuery{Plugin: "p"}, 40}, "no plugin": {host.ProjectFindingQuery{Plugin: "q"}, 0},
		"path": {host.ProjectFindingQuery{Path: "src/"}, 20}, "letters": {host.ProjectFindingQuery{Path: "lib/ö"}, 10}, "no pattern": {host.ProjectFindingQuery{Path: "lib/%"}, 10},
		"open": {host.ProjectFindingQuery{Triage: host.TriageOpen}, 40}, "both": {host.ProjectFindingQuery{Path: "src/", State: host.BaselineAbsent}, 4},
	} {
		var got []host.ProjectFindingID
		for q := c.q; ; {
			q.Limit = 3
			page, err := s.ProjectFindings(s.ctx(), t, "shop", q)
			s.check(err)
			for _, f := range page.Items {
				got = append(got, f.ID)
			}
			if page.Next == nil {
				break
			}
			q.After = page.Next
		}
		slices.Sort(got)
		if len(got) != c.want || len(slices.Compact(got)) != c.want {
			s.Errorf("%s: %d findings, want %d", name, len(got), c.want)
		}
	}
	for _, q := range []host.ProjectFindingQuery{
		{After: &host.ProjectFindingCursor{Rank: 9, ID: whole[0].ID}}, {After: &host.ProjectFindingCursor{ID: "x"}}, {Path: string(make([]byte, 401))},
	} {
		if _, err := s.ProjectFindings(s.ctx(), t, "shop", q); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%+v: %v", q, err)
		}
	}
}

// testProjectOutlives: what scans left behind stays when they go.
func testProjectOutlives(s *suite) {
	t := s.tenant()
	hostile := found("a\x00b\xff", "x", 1)
	hostile.Title, hostile.Snippet, hostile.Tags = "t\x00", "code", []string{"t"}
	s.shop(t, hostile)
	s.advance(time.Hour)
	before := s.projectFindings(t, host.ProjectFindingQuery{})
	out, err := s.DropScans(s.ctx(), host.Keep{Most: time.Minute}, 10)
	if err != nil || out.Scans != 1 {
		s.Fatalf("dropped %+v, %v", out, err)
	}
	after := s.projectFindings(t, host.ProjectFindingQuery{})
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 1 || after[0].Finding.Title != "t" || after[0].Finding.Snippet != "code" {
		s.Errorf("%+v (-before +after):\n%s", after, diff)
	}
	_, got := s.shop(t, hostile)
	s.wantTracking(got, 0, 1, 0, 0)
}
