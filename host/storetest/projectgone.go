package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// testDeleteScanFound: with a scan goes what only it saw, and nothing that somebody
// said something of.
func testDeleteScanFound(s *suite) {
	t := s.tenant()
	s.shop(t, found("a", "1", 1), found("b", "1", 1))
	scan, _ := s.shop(t, found("a", "1", 2), found("c", "1", 1), found("d", "1", 1))
	i := slices.IndexFunc(s.projectFindings(t, host.ProjectFindingQuery{}), func(f host.ProjectFinding) bool { return f.Finding.Location.Path == "d" })
	said := s.projectFindings(t, host.ProjectFindingQuery{})[i]
	_, err := s.Triage(s.ctx(), t, said.ID, 0, host.Said{Triage: host.TriageConfirmed, Author: "k"})
	s.check(err)
	_, err = s.DeleteScan(s.ctx(), t, scan.ID)
	s.check(err)
	if got := s.dropDeleted(10); got.Scans != 1 {
		s.Fatalf("dropped %+v", got)
	}
	if diff := cmp.Diff([]string{"a:2 unchanged", "b:1 absent", "d:1 new"}, s.states(t)); diff != "" {
		s.Errorf("findings (-want +got):\n%s", diff)
	}
	if p, err := s.Project(s.ctx(), t, "shop"); err != nil || p.Findings != 3 {
		s.Errorf("project %+v, %v, want 3 findings", p, err)
	}
	next, got := s.shop(t, found("a", "1", 1), found("c", "1", 1), found("d", "1", 1))
	s.wantTracking(got, 1, 2, 0, 0)
	if got.Base == scan.ID {
		s.Error("it was compared with a deleted scan")
	}
	_, err = s.DeleteScan(s.ctx(), t, got.Base)
	s.check(err)
	if _, err := s.Diff(s.ctx(), t, next.ID, ""); !errors.Is(err, host.ErrConflict) {
		s.Errorf("diff with a deleted scan: %v, want nothing to compare with", err)
	}
	if _, err := s.Diff(s.ctx(), t, next.ID, got.Base); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("diff with a deleted scan by its id: %v", err)
	}
}

// testDeletedUntracked: a deleted scan leaves nothing in its project, when it ends
// after that too.
func testDeletedUntracked(s *suite) {
	t := s.tenant()
	s.shop(t, found("a", "1", 1))
	ended, l := s.begin(t)
	o := end(l, host.StateSucceeded)
	o.Findings = []host.Finding{found("b", "1", 1)}
	s.finish(o)
	running, l := s.begin(t)
	for _, scan := range []host.Scan{ended, running} {
		_, err := s.DeleteScan(s.ctx(), t, scan.ID)
		s.check(err)
	}
	o = end(l, host.StateSucceeded)
	o.Findings = []host.Finding{found("c", "1", 1)}
	s.finish(o)
	if got := s.track(); got != nil {
		s.Errorf("tracked %+v", got)
	}
	if got := s.dropDeleted(10); got.Scans != 2 {
		s.Errorf("dropped %+v", got)
	}
	if diff := cmp.Diff([]string{"a:1 new"}, s.states(t)); diff != "" {
		s.Errorf("findings (-want +got):\n%s", diff)
	}
}

// testDeleteProjectFound: a project goes with what it found and what was said of it,
// at once for its tenant, and another of its name begins anew meanwhile.
func testDeleteProjectFound(s *suite) {
	t, stranger := s.tenant(), s.tenant()
	s.shop(stranger, found("a", "1", 1))
	untouched := s.h.Rows(s.T, stranger)
	_, err := s.SetProject(s.ctx(), t, "shop", 0, host.Gate{FailOn: host.SeverityLow})
	s.check(err)
	s.shop(t, found("a", "1", 1), found("b", "1", 1))
	_, l := s.begin(t) // goes on
	f := s.projectFindings(t, host.ProjectFindingQuery{})[0]
	_, err = s.Triage(s.ctx(), t, f.ID, 0, host.Said{Triage: host.TriageConfirmed, Author: "k"})
	s.check(err)
	d, err := s.DeleteProject(s.ctx(), t, "shop")
	s.check(err)
	s.projectUnseen(t, f.ID)
	s.finish(end(l, host.StateSucceeded))
	if got := s.track(); got != nil {
		s.Errorf("tracked %+v", got)
	}
	s.projectUnseen(t, f.ID)

	s.advance(time.Second)
	_, got := s.shop(t, found("a", "1", 1)) // the next of that name
	s.wantTracking(got, 1, 0, 0, 0)
	p, err := s.Project(s.ctx(), t, "shop")
	if err != nil || p.Gate != (host.Gate{}) || p.Findings != 1 || got.Base != "" {
		s.Errorf("%+v, %v, base %q, want another project", p, err, got.Base)
	}
	if got := s.dropDeleted(10); got.Scans != 2 || got.Findings != 3 {
		s.Errorf("dropped %+v, want 2 scans, their findings, and the one that somebody said something of", got)
	}
	s.wantLeft(d, 2, 0)
	want := map[string]int{"projects": 1, "project_findings": 1, "observations": 1, "finding_history": 0, "project_runs": 1, "scan_outcomes": 1, "untracked_scans": 0, "scans": 1}
	rows := s.h.Rows(s.T, t)
	for table, n := range want {
		if rows[table] != n {
			s.Errorf("%d rows left in %s, want %d", rows[table], table, n)
		}
	}
	others := s.h.Rows(s.T, stranger)
	delete(untouched, "lanes") // which are tidied by themselves
	delete(others, "lanes")
	if diff := cmp.Diff(untouched, others); diff != "" {
		s.Errorf("another tenant's rows (-before +after):\n%s", diff)
	}
}

// projectUnseen checks that no method of ProjectStore sees project "shop", or its
// finding.
func (s *suite) projectUnseen(t host.TenantID, id host.ProjectFindingID) {
	s.Helper()
	said := host.Said{Triage: host.TriageOpen, Author: "k"}
	_, err := s.Project(s.ctx(), t, "shop")
	_, lerr := s.ProjectFindings(s.ctx(), t, "shop", host.ProjectFindingQuery{})
	_, _, ferr := s.ProjectFinding(s.ctx(), t, id)
	_, serr := s.SetProject(s.ctx(), t, "shop", 1, host.Gate{})
	_, terr := s.Triage(s.ctx(), t, id, 0, said)
	_, merr := s.TriageMany(s.ctx(), t, "shop", []host.ProjectFindingID{id}, said)
	_, derr := s.DeleteProject(s.ctx(), t, "shop")
	for what, err := range map[string]error{"read": err, "list": lerr, "finding": ferr, "set": serr, "triage": terr, "triage many": merr, "delete": derr} {
		if !errors.Is(err, host.ErrNotFound) {
			s.Errorf("%s of a deleted project: %v, want not found", what, err)
		}
	}
	if all, err := s.Projects(s.ctx(), t, "", 0); err != nil || len(all) != 0 {
		s.Errorf("projects %+v, %v", all, err)
	}
}

// testDeleteProjectEmpty: one that was made and never scanned.
func testDeleteProjectEmpty(s *suite) {
	t := s.tenant()
	_, err := s.SetProject(s.ctx(), t, "shop", 0, host.Gate{})
	s.check(err)
	d, err := s.DeleteProject(s.ctx(), t, "shop")
	if err != nil || d.Scans != 0 || d.Project != "shop" {
		s.Fatalf("%+v, %v", d, err)
	}
	s.dropDeleted(10)
	s.wantLeft(d, 0, 0)
	if n := s.h.Rows(s.T, t)["projects"]; n != 0 {
		s.Errorf("%d projects left", n)
	}
}

// testDeleteProjectTracking: whoever tracks while a project is deleted leaves
// nothing behind, and fails nobody.
func testDeleteProjectTracking(s *suite) {
	t := s.tenant()
	for range 3 {
		for i := range 4 {
			_, l := s.begin(t)
			o := end(l, host.StateSucceeded)
			o.Findings = []host.Finding{found("a", "1", 1), found("b", "1", i)}
			s.finish(o)
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for tracked := new(host.Tracking); tracked != nil; {
					var err error
					if tracked, err = s.Track(s.ctx(), plenty); err != nil {
						s.Errorf("track: %v", err)
					}
				}
			})
		}
		all.Go(func() {
			if _, err := s.DeleteProject(s.ctx(), t, "shop"); err != nil {
				s.Errorf("delete: %v", err)
			}
		})
		all.Wait()
		if got := s.dropDeleted(2); got.Scans != 4 {
			s.Errorf("dropped %+v, want 4 scans", got)
		}
		rows := s.h.Rows(s.T, t)
		for _, table := range []string{"scans", "projects", "project_findings", "observations", "project_runs", "scan_outcomes", "untracked_scans"} {
			if rows[table] != 0 {
				s.Errorf("%d rows left in %s", rows[table], table)
			}
		}
	}
}
