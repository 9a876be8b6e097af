package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testTriage(s *suite) {
	t, other := s.tenant(), s.tenant()
	s.shop(t, found("a", "x", 1), found("a", "y", 2))
	all := s.projectFindings(t, host.ProjectFindingQuery{})
	id := all[0].ID
	if f := all[0]; f.Triage != host.TriageOpen || f.Version != 1 || !f.TriagedAt.IsZero() {
		s.Errorf("nobody said anything: %+v", f)
	}
	soon := all[0].LastSeen.Add(time.Hour)
	waived := host.Said{Triage: host.TriageAcceptedRisk, Reason: "a test\x00", Author: "key", ExpiresAt: soon}
	f, err := s.Triage(s.ctx(), t, id, 1, waived)
	if err != nil || f.Triage != host.TriageAcceptedRisk || f.Reason != "a test" || f.Author != "key" || !f.ExpiresAt.Equal(soon) || f.Version != 2 || f.TriagedAt.IsZero() {
		s.Errorf("waived: %+v, %v", f, err)
	}
	if _, err := s.Triage(s.ctx(), t, id, 1, waived); !errors.Is(err, host.ErrStale) {
		s.Errorf("from an old version: %v", err)
	}
	for _, c := range []struct {
		tenant host.TenantID
		id     host.ProjectFindingID
	}{{other, id}, {t, host.NewProjectFindingID()}, {t, "x"}, {"x", id}} {
		if _, err := s.Triage(s.ctx(), c.tenant, c.id, 0, waived); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("%v: %v", c, err)
		}
		if _, _, err := s.ProjectFinding(s.ctx(), c.tenant, c.id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("read %v: %v", c, err)
		}
	}
	for name, bad := range map[string]host.Said{
		"no such triage": {Triage: "gone"}, "no reason": {Triage: host.TriageAcceptedRisk, Reason: " "},
		"open expires": {Triage: host.TriageOpen, ExpiresAt: soon}, "expired": {Triage: host.TriageFalsePositive, ExpiresAt: soon.Add(-24 * time.Hour)},
	} {
		if _, err := s.Triage(s.ctx(), t, id, 0, bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v", name, err)
		}
		if _, err := s.TriageMany(s.ctx(), t, "shop", []host.ProjectFindingID{id}, bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("many, %s: %v", name, err)
		}
	}
	if got := s.projectFindings(t, host.ProjectFindingQuery{Triage: host.TriageAcceptedRisk}); len(got) != 1 || got[0].ID != id {
		s.Errorf("accepted: %+v", got)
	}
	s.advance(2 * time.Hour)
	if got := s.projectFindings(t, host.ProjectFindingQuery{Triage: host.TriageOpen}); len(got) != 2 || got[0].Triage != host.TriageOpen {
		s.Errorf("open once it has expired: %+v", got)
	}
	n, err := s.TriageMany(s.ctx(), t, "shop", []host.ProjectFindingID{id, all[1].ID, id, host.NewProjectFindingID(), "x"}, host.Said{Triage: host.TriageFixed, Author: "key"})
	if err != nil || n != 2 {
		s.Errorf("%d of many, %v", n, err)
	}
	if _, err := s.TriageMany(s.ctx(), other, "shop", []host.ProjectFindingID{id}, host.Said{Triage: host.TriageFixed}); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("many of another's: %v", err)
	}
	if _, err := s.TriageMany(s.ctx(), t, "shop", make([]host.ProjectFindingID, host.MaxTriage+1), host.Said{Triage: host.TriageFixed}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("too many: %v", err)
	}
	s.shop(t, found("a", "x", 1))
	f, history, err := s.ProjectFinding(s.ctx(), t, fixedOne(s, t, "v1:ax").ID)
	s.check(err)
	var said []string
	for _, h := range history {
		if h.At.IsZero() {
			s.Errorf("a line without a time: %+v", h)
		}
		said = append(said, string(h.Triage)+" by "+h.Author)
	}
	want := []string{"fixed by key", "open by host"}
	if f.ID == id {
		want = append([]string{"accepted_risk by key"}, want...)
	}
	if diff := cmp.Diff(want, said); diff != "" || f.Triage != host.TriageOpen {
		s.Errorf("%s; history (-want +got):\n%s", f.Triage, diff)
	}
	if f := fixedOne(s, t, "v1:ay"); f.Triage != host.TriageFixed || f.State != host.BaselineAbsent {
		s.Errorf("the one that is gone: %+v", f)
	}
}

func fixedOne(s *suite, t host.TenantID, fingerprint string) host.ProjectFinding {
	s.Helper()
	for _, f := range s.projectFindings(t, host.ProjectFindingQuery{}) {
		if f.Finding.Fingerprint == fingerprint {
			return f
		}
	}
	s.Fatalf("there is no %s", fingerprint)
	return host.ProjectFinding{}
}

func testGateFacts(s *suite) {
	t := s.tenant()
	_, err := s.SetProject(s.ctx(), t, "shop", 0, host.Gate{FailOn: host.SeverityHigh})
	s.check(err)
	low := found("b", "low", 1)
	low.Severity = host.SeverityLow
	s.shop(t, found("a", "old", 1))
	scan, l := s.begin(t)
	if f, err := s.GateFacts(s.ctx(), scan); err != nil || f.Tracking != nil || f.Project.FailOn != host.SeverityHigh {
		s.Errorf("while it runs: %+v, %v", f, err)
	}
	s.report(l, host.StateSucceeded, found("a", "old", 1), found("a", "x", 1), low)
	scan = s.get(scan)
	against := func(g *host.Gate) host.Counts {
		s.Helper()
		scan := scan
		scan.Gate = g
		f, err := s.GateFacts(s.ctx(), scan)
		s.check(err)
		return f.Against
	}
	for name, c := range map[string]struct {
		gate *host.Gate
		want host.Counts
	}{
		"the project's": {nil, host.Counts{High: 2}}, "new": {&host.Gate{FailOn: host.SeverityHigh, NewOnly: true}, host.Counts{High: 1}},
		"low": {&host.Gate{FailOn: host.SeverityLow}, host.Counts{High: 2, Low: 1}}, "critical": {&host.Gate{FailOn: host.SeverityCritical}, host.Counts{}},
	} {
		if got := against(c.gate); got != c.want {
			s.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	f := fixedOne(s, t, "v1:ax")
	_, err = s.Triage(s.ctx(), t, f.ID, 0, host.Said{Triage: host.TriageFalsePositive, Reason: "a test", ExpiresAt: f.LastSeen.Add(time.Hour)})
	s.check(err)
	if got := against(nil); got != (host.Counts{High: 1}) {
		s.Errorf("with one waived: %+v", got)
	}
	s.wantTriage(f, host.TriageFalsePositive)
	s.advance(2 * time.Hour)
	s.wantTriage(f, host.TriageOpen)
	if got := against(nil); got != (host.Counts{High: 2}) {
		s.Errorf("once the waiver has expired: %+v", got)
	}
	asked := newScan(t, "p")
	asked.Gate = &host.Gate{FailOn: host.SeverityLow, NewOnly: true}
	if got := s.get(s.accept(asked)); got.Gate == nil || *got.Gate != *asked.Gate {
		s.Errorf("the request's gate is %+v", got.Gate)
	}
	asked = newScan(t, "p")
	asked.Gate = &host.Gate{NewOnly: true}
	if _, err := s.Accept(s.ctx(), []host.Scan{asked}, nil); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("a gate that means nothing: %v", err)
	}
}

// wantTriage compares what the findings of the scan that saw f last say of it.
func (s *suite) wantTriage(f host.ProjectFinding, want host.Triage) {
	s.Helper()
	all, err := s.Findings(s.ctx(), f.TenantID, f.Finding.ScanID, host.FindingQuery{})
	s.check(err)
	for _, one := range all {
		if mine := one.ProjectFinding == f.ID; mine != (one.Reason == "a test") || mine && one.Triage != want || !mine && one.Triage != host.TriageOpen {
			s.Errorf("finding %+v, want it %s", one, want)
		}
	}
}

func testDiffRefuses(s *suite) {
	t, other := s.tenant(), s.tenant()
	first, _ := s.shop(t, found("a", "x", 1))
	second, _ := s.shop(t)
	runs, _ := s.begin(t)
	elsewhere := newScan(t, "p")
	elsewhere.Project = "other"
	elsewhere = s.accept(elsewhere)
	s.report(s.claimAll(elsewhere)[0].Lease, host.StateSucceeded)
	for name, c := range map[string]struct {
		tenant     host.TenantID
		scan, base host.ScanID
		want       error
	}{
		"the first":       {t, first.ID, "", host.ErrConflict},
		"runs":            {t, runs.ID, first.ID, host.ErrConflict},
		"base runs":       {t, second.ID, runs.ID, host.ErrConflict},
		"another project": {t, second.ID, elsewhere.ID, host.ErrConflict},
		"another tenant":  {other, second.ID, first.ID, host.ErrNotFound},
		"no base":         {t, second.ID, host.NewScanID(), host.ErrNotFound},
		"no id":           {t, "x", "", host.ErrNotFound},
	} {
		if _, err := s.Diff(s.ctx(), c.tenant, c.scan, c.base); !errors.Is(err, c.want) {
			s.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
