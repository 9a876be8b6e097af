package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// dropKept removes what keep does not keep.
func (s *suite) dropKept(keep host.Keep, limit int) host.Dropped {
	s.Helper()
	out, err := s.DropScans(s.ctx(), keep, limit)
	s.check(err)
	return out
}

// left reports whether a scan is still there.
func (s *suite) left(scan host.Scan) bool {
	s.Helper()
	_, err := s.Scan(s.ctx(), scan.TenantID, scan.ID)
	if !errors.Is(err, host.ErrNotFound) {
		s.check(err)
	}
	return err == nil
}

// keptAs makes a tenant that has a plan and, unless own is negative, an age of
// its own.
func (s *suite) keptAs(plan string, own time.Duration) host.TenantID {
	s.Helper()
	terms := host.Terms{Plan: plan}
	if own >= 0 {
		terms.Override.Retention = &own
	}
	id := host.NewTenantID()
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: id, Name: "t-" + string(id), Terms: terms}))
	return id
}

// testKeptByPlan: each tenant's scans go at the age that its plan, or what it has
// for itself, and the bound for everybody leave them.
func testKeptByPlan(s *suite) {
	const plans = time.Duration(-1) // what the plan says
	keep := host.Keep{Most: 24 * time.Hour, Plans: map[string]time.Duration{"": 3 * time.Hour, "free": time.Hour, "gold": 12 * time.Hour, "odd\" name'": 48 * time.Hour, "usual": 0}}
	type kept struct {
		name string
		t    host.TenantID
		age  time.Duration
	}
	all := []kept{
		{"own, shorter", s.keptAs("gold", 30*time.Minute), 30 * time.Minute},
		{"plan", s.keptAs("free", plans), time.Hour},
		{"no plan", s.keptAs("", plans), 3 * time.Hour},
		{"own, longer", s.keptAs("free", 6*time.Hour), 6 * time.Hour},
		{"longer plan", s.keptAs("gold", plans), 12 * time.Hour},
		{"plan over the bound", s.keptAs("odd\" name'", plans), keep.Most},
		{"plan without", s.keptAs("usual", plans), keep.Most},
		{"plan that is gone", s.keptAs("brass", plans), keep.Most},
		{"own, over the bound", s.keptAs("free", 48*time.Hour), keep.Most},
		{"own, for ever", s.keptAs("free", 0), keep.Most},
	}
	scans := map[string]host.Scan{}
	for _, k := range all {
		scans[k.name] = s.ended(s.archived(k.t, ""), 1)
	}
	running := s.archived(all[0].t, "")
	s.claimAll(running)
	passed := time.Duration(0)
	for _, at := range []time.Duration{30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour} {
		for _, now := range []time.Duration{at - 10*time.Minute, at + time.Minute} {
			s.advance(now - passed)
			passed = now
			s.dropKept(keep, 100)
			for _, k := range all {
				if left := s.left(scans[k.name]); left != (k.age > now) {
					s.Errorf("%s, kept for %v, %v after its end: it is left: %v", k.name, k.age, now, left)
				}
			}
		}
	}
	if s.get(running).State != host.StateRunning {
		s.Error("a scan that has not ended was touched")
	}
}

// testKeptForEver: where nothing bounds it, only a plan or a tenant's own age
// ends it; and what a call says counts, whatever the one before said.
func testKeptForEver(s *suite) {
	free, own, never, none := s.keptAs("free", -1), s.keptAs("gold", time.Hour), s.keptAs("free", 0), s.keptAs("brass", -1)
	scans := map[host.TenantID]host.Scan{}
	for _, t := range []host.TenantID{free, own, never, none} {
		scans[t] = s.ended(s.archived(t, ""), 0)
	}
	s.advance(1000 * day)
	want := func(when string, out host.Dropped, gone ...host.TenantID) {
		s.Helper()
		if out.Scans != len(gone) {
			s.Errorf("%s: dropped %+v, want %d scans", when, out, len(gone))
		}
		for _, t := range gone {
			if !s.gone(scans[t]) {
				s.Errorf("%s: the scan of %s is still there", when, t)
			}
		}
	}
	want("by a tenant's own age", s.dropKept(host.Keep{}, 10), own)
	want("the plan says as long", s.dropKept(host.Keep{Plans: map[string]time.Duration{"free": 0, "": time.Nanosecond}}, 10))
	want("the plan is changed", s.dropKept(host.Keep{Plans: map[string]time.Duration{"free": time.Hour}}, 10), free)
	s.check(s.SetTerms(s.ctx(), never, host.Terms{Plan: "free", Override: host.Override{Retention: new(time.Nanosecond)}}))
	want("what the tenant has is changed", s.dropKept(host.Keep{}, 10), never)
	want("all are bounded", s.dropKept(host.Keep{Most: time.Nanosecond}, 10), none)
}

// testKeptOfMany: a limit holds over all tenants, of each the oldest go first,
// and each scan is named once.
func testKeptOfMany(s *suite) {
	const tenants, each = 3, 3
	var all [tenants][each]host.Scan
	for n := range all {
		t := s.keptAs("free", -1)
		for i := range all[n] {
			all[n][i] = s.archived(t, host.BlobKey(fmt.Sprintf("archives/%d-%d", n, i)))
			s.advance(time.Second)
			s.ended(all[n][i], 0)
		}
	}
	s.advance(2 * time.Hour)
	keep := host.Keep{Plans: map[string]time.Duration{"free": time.Hour}}
	blobs := map[host.BlobKey]int{}
	for _, want := range []int{4, 4, 1, 0} {
		out := s.dropKept(keep, 4)
		if out.Scans != want || out.More != (want == 4) {
			s.Errorf("dropped %+v, want %d scans", out, want)
		}
		for _, a := range out.Archives {
			blobs[a.Blob]++
		}
		for _, scans := range all {
			older := false
			for _, scan := range scans {
				left := s.left(scan)
				if !left && older {
					s.Errorf("scan %s went before an older one", scan.ID)
				}
				older = older || left
			}
		}
	}
	if len(blobs) != tenants*each {
		s.Errorf("blobs named: %v", blobs)
	}
	for key, n := range blobs {
		if n != 1 {
			s.Errorf("blob %s was named %d times", key, n)
		}
	}
}

// testKeptGivesBack: what a tenant's plan removes gives its storage back, once,
// and only its own.
func testKeptGivesBack(s *suite) {
	short, long := s.keptAs("free", -1), s.keptAs("gold", -1)
	keep := host.Keep{Most: 10 * day, Plans: map[string]time.Duration{"free": time.Hour}}
	for _, t := range []host.TenantID{short, long} {
		for _, n := range []int64{10, 20} {
			scan := sized(t, n)
			s.check(s.within(host.Quota{Storage: 100}, scan))
			s.ended(scan, 1)
		}
		s.check(s.within(host.Quota{Storage: 100}, sized(t, 5))) // waits on
		s.advance(time.Second)
	}
	s.advance(day + time.Hour)
	s.dropArchives(1) // gives back by itself; its scan does no second time
	for range 3 {
		s.dropKept(keep, 1)
	}
	s.wantUsage(short, 5, 1, 0)
	s.wantUsage(long, 35, 1, 0)
	// There is room again, to the byte.
	s.check(s.within(host.Quota{Storage: 100}, sized(short, 95)))
	s.wantUsage(short, 100, 2, 1)
}
