package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testFindingRoundTrip(s *suite) {
	scan, l := s.running()
	full := host.Finding{ID: host.NewFindingID(), ScanID: scan.ID, JobID: l.Job, Plugin: "p", RuleID: "aws-key", Title: "AWS key",
		Message: "two\nlines <b>&</b> \u2028", Severity: host.SeverityCritical, Confidence: host.ConfidenceMedium,
		Location: host.Location{Path: "a/ö.go", StartLine: 1, StartColumn: 2, EndLine: 3, EndColumn: 4, URL: "https://x/"},
		Snippet:  "key = \"***\"", Fingerprint: "v1:abc", LineHash: "54703d4cd895b18:1", CWE: []int{798, 20}, Tags: []string{"secret", ""},
		References: []string{"https://cwe.mitre.org/?a=1&b=<2>"}, Properties: json.RawMessage(`{"entropy":"4.2","html":"<i>&"}`)}
	bare := host.Finding{ID: host.NewFindingID(), ScanID: scan.ID, JobID: l.Job, Plugin: "p", Severity: host.SeverityInfo}
	early := full
	early.ID, early.Severity, early.CWE = host.NewFindingID(), host.SeverityHigh, nil
	s.check(s.AddFindings(s.ctx(), l, []host.Finding{early}))
	o := end(l, host.StateSucceeded)
	o.Findings = []host.Finding{bare, full}
	s.finish(o)
	got := s.findings(scan, host.FindingQuery{})
	finished := s.job(scan).FinishedAt
	for i := range got {
		if at := got[i].CreatedAt; at.IsZero() || at.After(finished) || at.Location() != time.UTC {
			s.Errorf("finding %d was created at %v, its job finished at %v", i, at, finished)
		}
		got[i].CreatedAt = time.Time{}
	}
	if diff := cmp.Diff([]host.Finding{full, early, bare}, got); diff != "" {
		s.Errorf("findings (-want +got):\n%s", diff)
	}
	want := host.Counts{Critical: 1, High: 1, Info: 1}
	if scan := s.get(scan); scan.Counts != want || scan.Jobs[0].Counts != want {
		s.Errorf("counts %+v and %+v, want %+v", scan.Counts, scan.Jobs[0].Counts, want)
	}
}

func testFindingsHidden(s *suite) {
	for _, state := range host.States() {
		scan, l := s.running()
		s.check(s.AddFindings(s.ctx(), l, newFindings(3, host.SeverityHigh)))
		if got := s.findings(scan, host.FindingQuery{}); len(got) != 0 {
			s.Errorf("%d findings show while the job runs", len(got))
		}
		if counts := s.get(scan).Counts; counts != (host.Counts{}) {
			s.Errorf("counts %+v while the job runs", counts)
		}
		delivers := state == host.StateSucceeded || state == host.StatePartial
		if state == host.StateRunning {
			continue
		}
		o := end(l, state)
		o.Findings = newFindings(2, host.SeverityLow)
		s.finish(o)
		want, counts := 0, host.Counts{}
		if delivers {
			want, counts = 5, host.Counts{High: 3, Low: 2}
		}
		if got, sc := s.findings(scan, host.FindingQuery{}), s.get(scan); len(got) != want || sc.Counts != counts {
			s.Errorf("%s: %d findings and counts %+v, want %d", state, len(got), sc.Counts, want)
		}
	}
}

func testFindingsStale(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(2)...))
	claims := s.claimAll(scan)
	s.check(s.AddFindings(s.ctx(), claims[0].Lease, newFindings(4, host.SeverityHigh)))
	other := newFindings(1, host.SeverityInfo)
	s.check(s.AddFindings(s.ctx(), claims[1].Lease, other))
	s.finish(end(claims[0].Lease, host.StateQueued))
	second, err := s.Claim(s.ctx(), "b", jobIDs(scan)[:1], ttl)
	s.check(err)
	s.check(s.AddFindings(s.ctx(), second[0].Lease, newFindings(2, host.SeverityLow)))
	s.finish(end(second[0].Lease, host.StatePartial), end(claims[1].Lease, host.StateSucceeded))
	got := s.get(scan)
	if want := (host.Counts{Low: 2, Info: 1}); got.Counts != want {
		s.Errorf("counts %+v, want %+v", got.Counts, want)
	}
	for _, f := range s.findings(scan, host.FindingQuery{}) {
		if f.Severity == host.SeverityHigh {
			s.Errorf("a finding of the first attempt shows: %+v", f)
		}
	}
	if n := len(s.findings(scan, host.FindingQuery{})); n != 3 {
		s.Errorf("%d findings, want 3", n)
	}
}

// testFindingsTwice sends a batch again, as a host does that got no answer.
func testFindingsTwice(s *suite) {
	scan, l := s.running()
	batch := newFindings(10, host.SeverityHigh)
	s.check(s.AddFindings(s.ctx(), l, batch))
	s.check(s.AddFindings(s.ctx(), l, batch))
	s.check(s.AddFindings(s.ctx(), l, nil))
	o := end(l, host.StateSucceeded)
	o.Findings = append(batch[:2:2], newFindings(1, host.SeverityHigh)...)
	s.finish(o)
	if got := s.get(scan).Counts; got != (host.Counts{High: 11}) {
		s.Errorf("counts %+v, want 11 high", got)
	}
	if err := s.AddFindings(s.ctx(), l, nil); !errors.Is(err, host.ErrLeaseLost) {
		s.Errorf("an empty batch after the end: %v", err)
	}
}

func testFindingPages(s *suite) {
	scan, l := s.running()
	var all []host.Finding
	for i, sev := range slices.Backward(host.Severities()) {
		all = append(all, newFindings(30+i, sev)...)
	}
	s.check(s.AddFindings(s.ctx(), l, all))
	s.finish(end(l, host.StateSucceeded))
	slices.SortFunc(all, func(a, b host.Finding) int {
		if d := a.Severity.Rank() - b.Severity.Rank(); d != 0 {
			return d
		}
		return compare(a.ID, b.ID)
	})
	var want, got []host.FindingID
	for _, f := range all {
		want = append(want, f.ID)
	}
	q := host.FindingQuery{Limit: 11}
	for {
		page := s.findings(scan, q)
		for _, f := range page {
			got = append(got, f.ID)
		}
		if len(page) < 11 {
			break
		}
		last := page[len(page)-1]
		q.After = &host.FindingCursor{Rank: last.Severity.Rank(), ID: last.ID}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("pages (-want +got):\n%s", diff)
	}
	if n := len(s.findings(scan, host.FindingQuery{})); n != 100 {
		s.Errorf("the default page has %d", n)
	}
	if n := len(s.findings(scan, host.FindingQuery{Limit: 5000})); n != len(all) {
		s.Errorf("a huge limit gives %d of %d", n, len(all))
	}
	for i, sev := range host.Severities() {
		page := s.findings(scan, host.FindingQuery{Severity: sev, Limit: 1000})
		if len(page) != 30+i || slices.ContainsFunc(page, func(f host.Finding) bool { return f.Severity != sev }) {
			s.Errorf("%d findings that are %s, want %d", len(page), sev, 30+i)
		}
	}
	for _, c := range []host.FindingCursor{{Rank: 0, ID: "x"}, {Rank: -2, ID: got[0]}, {Rank: 99999, ID: got[0]}} {
		if _, err := s.Findings(s.ctx(), scan.TenantID, scan.ID, host.FindingQuery{After: &c}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("cursor %+v: %v", c, err)
		}
	}
}

func testFindingIsolation(s *suite) {
	scan, l := s.running()
	o := end(l, host.StateSucceeded)
	o.Findings = newFindings(3, host.SeverityHigh)
	s.finish(o)
	theirs := s.one()
	for _, tenant := range []host.TenantID{theirs.TenantID, host.NewTenantID(), "x", ""} {
		if got, err := s.Findings(s.ctx(), tenant, scan.ID, host.FindingQuery{}); !errors.Is(err, host.ErrNotFound) || len(got) != 0 {
			s.Errorf("as %q: %d findings, %v", tenant, len(got), err)
		}
	}
	for _, id := range []host.ScanID{host.NewScanID(), "x", ""} {
		if _, err := s.Findings(s.ctx(), scan.TenantID, id, host.FindingQuery{}); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("scan %q: %v", id, err)
		}
	}
	if got := s.findings(theirs, host.FindingQuery{}); len(got) != 0 {
		s.Errorf("another scan has %v", got)
	}
}

func testFindingsLarge(s *suite) {
	scan, l := s.running()
	const batches, size = 12, 500
	for range batches {
		s.check(s.AddFindings(s.ctx(), l, newFindings(size, host.SeverityMedium)))
	}
	o := end(l, host.StateSucceeded)
	o.Findings = newFindings(size, host.SeverityLow)
	s.finish(o)
	if got, want := s.get(scan).Counts, (host.Counts{Medium: batches * size, Low: size}); got != want {
		s.Errorf("counts %+v, want %+v", got, want)
	}
	seen, q := map[host.FindingID]bool{}, host.FindingQuery{Limit: 1000}
	for {
		page := s.findings(scan, q)
		for _, f := range page {
			seen[f.ID] = true
		}
		if len(page) < 1000 {
			break
		}
		last := page[len(page)-1]
		q.After = &host.FindingCursor{Rank: last.Severity.Rank(), ID: last.ID}
	}
	if len(seen) != (batches+1)*size {
		s.Errorf("the pages show %d findings, want %d", len(seen), (batches+1)*size)
	}
}

// testFindingsOfPlugin: pages of one plugin's, as of all.
func testFindingsOfPlugin(s *suite) {
	scan := s.accept(newScan(s.tenant(), plugins(2)...))
	var ids []host.JobID
	for _, j := range scan.Jobs {
		ids = append(ids, j.ID)
	}
	claims, err := s.Claim(s.ctx(), "host-a", ids, ttl)
	s.check(err)
	want := map[string]int{}
	for i, c := range claims {
		o := end(c.Lease, host.StateSucceeded)
		o.Findings = append(newFindings(3+i, host.SeverityHigh), newFindings(3+i, host.SeverityLow)...)
		s.finish(o)
		want[c.Job.Plugin] = len(o.Findings)
	}
	want["none"] = 0
	for plugin, n := range want {
		var got []host.Finding
		for q := (host.FindingQuery{Plugin: plugin, Limit: 2}); ; {
			page := s.findings(scan, q)
			if got = append(got, page...); len(page) < q.Limit {
				break
			}
			last := page[len(page)-1]
			q.After = &host.FindingCursor{Rank: last.Severity.Rank(), ID: last.ID}
		}
		if len(got) != n || slices.ContainsFunc(got, func(f host.Finding) bool { return f.Plugin != plugin }) {
			s.Errorf("%d findings of plugin %q, want %d: %+v", len(got), plugin, n, got)
		}
	}
	if got := s.findings(scan, host.FindingQuery{Plugin: claims[1].Job.Plugin, Severity: host.SeverityLow}); len(got) != 4 {
		s.Errorf("%d of one plugin that are low, want 4", len(got))
	}
}

// testFindingsHostile stores what the host should have cleaned.
func testFindingsHostile(s *suite) {
	scan, l := s.running()
	const bad = "a\x00b\xff\xfe'\"\\u0000;--\U0010FFFF"
	f := host.Finding{ID: "not an id", RuleID: bad, Title: bad, Message: bad, Severity: host.Severity(bad), Confidence: host.Confidence(bad),
		Location: host.Location{Path: bad, URL: bad, StartLine: -1}, Snippet: bad, Fingerprint: bad,
		Tags: []string{bad}, References: []string{bad}, Properties: json.RawMessage(`{"x":`)}
	g := f
	g.Properties = json.RawMessage(`{"x":"\u0000\ud800"}`)
	s.check(s.AddFindings(s.ctx(), l, []host.Finding{f}))
	o := end(l, host.StateSucceeded)
	o.Findings = append(newFindings(1, host.SeverityHigh), f, g)
	s.finish(o)
	got := s.findings(scan, host.FindingQuery{})
	if len(got) != 4 {
		s.Fatalf("%d findings, want 4: one hostile string lost a batch", len(got))
	}
	const cleaned = "ab\uFFFD'\"\\u0000;--\U0010FFFF"
	for _, f := range got[1:] {
		for _, text := range []string{f.RuleID, f.Title, f.Message, f.Location.Path, f.Snippet, f.Tags[0]} {
			if text != cleaned {
				s.Errorf("stored %q, want %q", text, cleaned)
			}
		}
		if f.Severity != host.SeverityUnknown {
			s.Errorf("severity %q", f.Severity)
		}
		if _, err := json.Marshal(f); err != nil {
			s.Errorf("it cannot be shown: %v", err)
		}
	}
}

func testFindingsOfFailedRetry(s *suite) {
	scan, l := s.running()
	for attempt := range 3 {
		s.check(s.AddFindings(s.ctx(), l, newFindings(2, host.SeverityHigh)))
		s.advance(2 * ttl)
		if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
			s.Fatalf("attempt %d: expire: %d, %v", attempt, n, err)
		}
		if attempt < 2 {
			l = s.claimAll(scan)[0].Lease
		}
	}
	s.wantState(scan, host.StateFailed, host.StateFailed)
	if got := s.findings(scan, host.FindingQuery{}); len(got) != 0 {
		s.Errorf("a failed job shows %s", fmt.Sprint(got))
	}
}
