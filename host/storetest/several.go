package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// testRemarks: what a plugin said stays with the job that delivered, and with no
// other.
func testRemarks(s *suite) {
	said := host.Remarks{NotApplicable: "no Go files", More: 3, Notes: []host.Note{
		{Level: host.NoteWarning, Text: "was not loaded <b>&", Path: "a/ö.go"}, {Level: host.NoteNotice, Text: "two"}}}
	for _, state := range host.States() {
		if state == host.StateRunning {
			continue
		}
		scan, l := s.running()
		o := end(l, state)
		o.Remarks = said
		s.finish(o)
		want := host.Remarks{}
		if state == host.StateSucceeded || state == host.StatePartial {
			want = said
		}
		if diff := cmp.Diff(want, s.job(scan).Remarks); diff != "" {
			s.Errorf("remarks of a job that is %s (-want +got):\n%s", state, diff)
		}
	}
	scan, l := s.running()
	o := end(l, host.StateSucceeded)
	o.Remarks.Notes = []host.Note{{Level: "\xffn", Text: "nul \x00"}}
	s.finish(o)
	if got := s.job(scan).Remarks.Notes; !slices.Equal(got, []host.Note{{Level: "\uFFFDn", Text: "nul "}}) {
		s.Errorf("notes that are no text are stored as %q", got)
	}
	_, l = s.running()
	o = end(l, host.StateSucceeded)
	o.Remarks.Notes = make([]host.Note, host.MaxNotes+1)
	if _, err := s.Finish(s.ctx(), []host.Outcome{o}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("too many notes: %v", err)
	}
}

// spotted is a finding with an id that tests can name it by.
func spotted(rule, path string, from, to int, cwe ...int) host.Finding {
	return host.Finding{ID: host.NewFindingID(), RuleID: rule, Title: rule, Severity: host.SeverityHigh, CWE: cwe,
		Location: host.Location{Path: path, StartLine: from, EndLine: to}, Fingerprint: "v1:00"}
}

// also are the rules by which others found what each rule found.
func (s *suite) also(scan host.Scan, q host.FindingQuery) map[string][]string {
	s.Helper()
	out := map[string][]string{}
	for _, f := range s.findings(scan, q) {
		for i, o := range f.AlsoFoundBy {
			out[f.RuleID] = append(out[f.RuleID], o.Plugin+"/"+o.RuleID)
			if i > 0 && f.AlsoFoundBy[i-1].ID >= o.ID {
				s.Errorf("not by id: %v", f.AlsoFoundBy)
			}
		}
	}
	return out
}

func testAlsoFoundBy(s *suite) {
	scan := s.accept(newScan(s.tenant(), "a", "b", "p"))
	claims := s.claimAll(scan)
	a, b, failed := end(claims[0].Lease, host.StateSucceeded), end(claims[1].Lease, host.StatePartial), end(claims[2].Lease, host.StateFailed)
	password := spotted("password", "x.go", 7, 0)
	password.Tags = []string{"secret"}
	a.Findings = []host.Finding{
		spotted("sql", "x.go", 3, 5, 89), spotted("sql again", "x.go", 4, 0, 89), spotted("far", "x.go", 400, 0, 89),
		spotted("key", "x.go", 7, 0, 321), spotted("long", "x.go", 1000, 5000, 22), spotted("whole file", "y.go", 0, 0, 16),
		spotted("nobody classified", "x.go", 3, 0),
	}
	b.Findings = []host.Finding{
		spotted("injection", "x.go", 5, 9, 89, 20), spotted("elsewhere", "z.go", 3, 5, 89), spotted("other", "x.go", 3, 5, 79),
		password, spotted("near its start", "x.go", 1050, 0, 22), spotted("near its end", "x.go", 4999, 0, 22),
		spotted("file", "y.go", 0, 0, 16), spotted("line", "y.go", 1, 0, 16), spotted("unclassified", "x.go", 3, 0),
	}
	failed.Findings = []host.Finding{spotted("of a failed job", "x.go", 3, 0, 89)}
	s.check(s.AddFindings(s.ctx(), failed.Lease, failed.Findings))
	s.check(s.AddFindings(s.ctx(), a.Lease, a.Findings[:2]))
	if got := s.also(scan, host.FindingQuery{}); len(got) > 0 {
		s.Errorf("while the jobs run: %v", got)
	}
	s.finish(a)
	if got := s.also(scan, host.FindingQuery{}); len(got) > 0 {
		s.Errorf("before the other job has ended: %v", got)
	}
	s.finish(b, failed)
	want := map[string][]string{
		"sql": {"b/injection"}, "injection": {"a/sql"}, "key": {"b/password"}, "password": {"a/key"},
		"long": {"b/near its start"}, "near its start": {"a/long"}, "whole file": {"b/file"}, "file": {"a/whole file"},
	}
	if diff := cmp.Diff(want, s.also(scan, host.FindingQuery{})); diff != "" {
		s.Errorf("who else found what (-want +got):\n%s", diff)
	}
	one := s.also(scan, host.FindingQuery{Plugin: "b"})
	if diff := cmp.Diff([]string{"a/sql"}, one["injection"]); diff != "" || one["sql"] != nil {
		s.Errorf("of one plugin: %v", one)
	}
	// Another scan of the tenant's, and one of another's, found the same.
	for _, t := range []host.TenantID{scan.TenantID, s.tenant()} {
		other := s.accept(newScan(t, "a", "b"))
		o := end(s.claimAll(other)[0].Lease, host.StateSucceeded)
		o.Findings = []host.Finding{spotted("not in this scan", "x.go", 3, 5, 89)}
		s.finish(o)
		if got := s.also(other, host.FindingQuery{}); len(got) > 0 {
			s.Errorf("findings of another scan: %v", got)
		}
	}
	if diff := cmp.Diff(want, s.also(scan, host.FindingQuery{})); diff != "" {
		s.Errorf("when other scans found the same (-want +got):\n%s", diff)
	}
}

// testAlsoFoundByMany: however many say the same, so many are told.
func testAlsoFoundByMany(s *suite) {
	scan := s.accept(newScan(s.tenant(), "a", "b"))
	claims := s.claimAll(scan)
	a, b := end(claims[0].Lease, host.StateSucceeded), end(claims[1].Lease, host.StateSucceeded)
	a.Findings = []host.Finding{spotted("one", "x.go", 3, 0, 89)}
	for i := range host.MaxOthers + 2 {
		b.Findings = append(b.Findings, spotted(fmt.Sprint("many ", i), "x.go", 3, 0, 89))
	}
	s.finish(a, b)
	if n := len(s.also(scan, host.FindingQuery{Plugin: "a"})["one"]); n != host.MaxOthers {
		s.Errorf("%d are told, want %d", n, host.MaxOthers)
	}
}
