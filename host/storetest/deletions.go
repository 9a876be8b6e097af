package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// dropDeleted drops until there is nothing to do, and gives the sum.
func (s *suite) dropDeleted(limit int) (sum host.Dropped) {
	s.Helper()
	for range 1000 {
		out, err := s.DropDeleted(s.ctx(), limit)
		s.check(err)
		if out.Scans > limit {
			s.Errorf("dropped %d scans at once, want at most %d", out.Scans, limit)
		}
		sum.Scans, sum.Findings = sum.Scans+out.Scans, sum.Findings+out.Findings
		sum.Archives, sum.Artifacts = append(sum.Archives, out.Archives...), append(sum.Artifacts, out.Artifacts...)
		if !out.More {
			return sum
		}
	}
	s.Fatal("no end")
	return sum
}

// usage is what a tenant holds.
func (s *suite) usage(t host.TenantID) host.Usage {
	s.Helper()
	u, err := s.Usage(s.ctx(), t)
	s.check(err)
	return u
}

// unseen checks that no method of ScanStore sees a scan.
func (s *suite) unseen(scan host.Scan) {
	s.Helper()
	_, err := s.Scan(s.ctx(), scan.TenantID, scan.ID)
	_, ferr := s.Findings(s.ctx(), scan.TenantID, scan.ID, host.FindingQuery{})
	_, aerr := s.Artifacts(s.ctx(), scan.TenantID, scan.ID)
	_, cerr := s.Cancel(s.ctx(), scan.TenantID, scan.ID)
	_, derr := s.DeleteScan(s.ctx(), scan.TenantID, scan.ID)
	for what, err := range map[string]error{"read": err, "findings": ferr, "artifacts": aerr, "cancel": cerr, "delete": derr} {
		if !errors.Is(err, host.ErrNotFound) {
			s.Errorf("%s of a deleted scan: %v, want not found", what, err)
		}
	}
	all, err := s.Scans(s.ctx(), scan.TenantID, host.ScanQuery{Limit: 500})
	s.check(err)
	if slices.ContainsFunc(all, func(o host.Scan) bool { return o.ID == scan.ID }) {
		s.Error("a deleted scan is listed")
	}
}

// wantLeft compares what a deletion says.
func (s *suite) wantLeft(d host.Deletion, scans, left int) {
	s.Helper()
	got, err := s.Deletion(s.ctx(), d.TenantID, d.ID)
	s.check(err)
	done := !got.FinishedAt.IsZero()
	if got.Scans != scans || got.Left != left || done != (left == 0) || got.CreatedAt.IsZero() {
		s.Errorf("deletion %+v, want %d of %d scans left", got, left, scans)
	}
}

func testDeleteScan(s *suite) {
	t, stranger := s.tenant(), s.tenant()
	scan, other := s.ended(s.archived(t, "archives/1"), 3), s.ended(s.archived(t, "archives/2"), 1)
	foreign := s.archived(stranger, "archives/3")
	for name, id := range map[string]host.ScanID{"another tenant's": foreign.ID, "none": host.NewScanID(), "no id": "x"} {
		if _, err := s.DeleteScan(s.ctx(), t, id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("delete %s: %v", name, err)
		}
	}
	d, err := s.DeleteScan(s.ctx(), t, scan.ID)
	s.check(err)
	if d.Scan != scan.ID || d.Project != "" || d.TenantID != t || d.Scans != 1 || d.Left != 1 || !d.FinishedAt.IsZero() {
		s.Errorf("deletion %+v", d)
	}
	s.unseen(scan)
	if _, err := s.Deletion(s.ctx(), stranger, d.ID); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("a stranger reads it: %v", err)
	}
	s.wantLeft(d, 1, 1)
	if u := s.usage(t); u.Storage != 20 {
		s.Errorf("usage %+v, want both archives until they are gone", u)
	}
	if p, err := s.PendingDeletions(s.ctx()); err != nil || p.Deletions != 1 || p.Scans != 1 {
		s.Errorf("pending %+v, %v", p, err)
	}
	want := host.Dropped{Scans: 1, Findings: 6, Archives: []host.Archive{blob("archives/1")}}
	if diff := cmp.Diff(want, s.dropDeleted(10)); diff != "" {
		s.Errorf("dropped (-want +got):\n%s", diff)
	}
	s.wantLeft(d, 1, 0)
	if u := s.usage(t); u.Storage != 10 {
		s.Errorf("usage %+v, want what the other takes", u)
	}
	if p, err := s.PendingDeletions(s.ctx()); err != nil || p != (host.PendingDeletions{}) {
		s.Errorf("pending %+v, %v", p, err)
	}
	if diff := cmp.Diff(host.Dropped{}, s.dropDeleted(10)); diff != "" {
		s.Errorf("dropped again (-want +got):\n%s", diff)
	}
	if s.gone(other) || s.gone(foreign) {
		s.Error("another scan is gone")
	}
	s.advance(host.DeletionKept + time.Hour)
	s.dropDeleted(10)
	if _, err := s.Deletion(s.ctx(), t, d.ID); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("long after: %v", err)
	}
}

// testDeleteRunning: what runs is canceled, and goes when it has ended.
func testDeleteRunning(s *suite) {
	scan, l := s.running()
	waiting := s.accept(newScan(scan.TenantID, "p"))
	d, err := s.DeleteScan(s.ctx(), scan.TenantID, scan.ID)
	s.check(err)
	late, err := s.DeleteScan(s.ctx(), scan.TenantID, waiting.ID)
	s.check(err)
	if u := s.usage(scan.TenantID); u.QueuedScans != 1 {
		s.Errorf("usage %+v, want one scan that waits", u)
	}
	if got := s.dropDeleted(10); got.Scans != 1 {
		s.Errorf("dropped %+v, want the one that waited", got)
	}
	if u := s.usage(scan.TenantID); u.QueuedScans != 0 {
		s.Errorf("usage %+v, want none that waits", u)
	}
	s.wantLeft(late, 1, 0)
	s.wantLeft(d, 1, 1)
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l}}, ttl)
	if err != nil || len(pulses) != 1 || !pulses[0].CancelRequested {
		s.Fatalf("pulses %+v, %v, want to hear of the cancel", pulses, err)
	}
	s.finish(end(l, host.StateCanceled))
	if got := s.dropDeleted(10); got.Scans != 1 {
		s.Errorf("dropped %+v, want the one that ended", got)
	}
	s.wantLeft(d, 1, 0)
}

// testDeletedTold: of what is deleted nobody hears any more, and what was told of
// it is gone, whether it was delivered, waits or is in an attempt.
func testDeletedTold(s *suite) {
	t := s.tenant()
	w, other := s.hook(newWebhook(t)), s.hook(newWebhook(s.tenant()))
	s.ping(w)
	ended := func(tenant host.TenantID, project string) host.Scan {
		scan := newScan(tenant, "p")
		scan.Project = project
		scan = s.accept(scan)
		_, err := s.Cancel(s.ctx(), tenant, scan.ID)
		s.check(err)
		return scan
	}
	kept, theirs := ended(t, "kept"), ended(other.TenantID, "atlas")
	one, two := ended(t, ""), ended(t, "atlas")
	going := newScan(t, "p")
	going.Project = "atlas"
	going = s.accept(going)
	l := s.claimAll(going)[0].Lease
	claims := map[host.ScanID]host.DeliveryClaim{}
	for len(claims) < 4 {
		for _, c := range s.takeDeliveries(host.ClaimDeliveries{Limit: 1, WithoutTenants: []host.TenantID{other.TenantID}}) {
			claims[c.Scan.ID] = c
		}
	}
	c := claims[two.ID]
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered})
	_, err := s.DeleteScan(s.ctx(), t, one.ID)
	s.check(err)
	_, err = s.DeleteProject(s.ctx(), t, "atlas")
	s.check(err)
	left := func() (all []host.ScanID) {
		for _, d := range s.messages(w) {
			if d.Scan.ID != "" {
				all = append(all, d.Scan.ID)
			}
		}
		return all
	}
	if diff := cmp.Diff([]host.ScanID{kept.ID}, left()); diff != "" {
		s.Errorf("told of (-want +got):\n%s", diff)
	}
	c = claims[one.ID]
	if _, err := s.FinishDelivery(s.ctx(), host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered}); !errors.Is(err, host.ErrLeaseLost) {
		s.Errorf("an attempt that was under way: %v, want its lease lost", err)
	}
	if _, err := s.Redeliver(s.ctx(), t, w.ID, c.ID); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("once more: %v, want not found", err)
	}
	s.dropDeleted(10)
	s.finish(end(l, host.StateCanceled))
	s.dropDeleted(10)
	if diff := cmp.Diff([]host.ScanID{kept.ID}, left()); diff != "" {
		s.Errorf("told of when the last has ended (-want +got):\n%s", diff)
	}
	if all := s.messages(other); len(all) != 1 || all[0].Scan.ID != theirs.ID {
		s.Errorf("another tenant's: %+v", all)
	}
}

func testDeleteProject(s *suite) {
	t, stranger := s.tenant(), s.tenant()
	in := func(t host.TenantID, project string) host.Scan {
		scan := newScan(t, "p")
		scan.Project = project
		return s.accept(scan)
	}
	var mine []host.Scan
	for range 5 {
		mine = append(mine, in(t, "atlas"))
	}
	others := []host.Scan{in(t, "borealis"), in(t, ""), in(stranger, "atlas")}
	for name, project := range map[string]string{"none": "nobodys", "no project": ""} {
		if _, err := s.DeleteProject(s.ctx(), t, project); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("delete %s: %v", name, err)
		}
	}
	s.ended(mine[0], 2)
	one, err := s.DeleteScan(s.ctx(), t, mine[0].ID)
	s.check(err)
	d, err := s.DeleteProject(s.ctx(), t, "atlas")
	s.check(err)
	if d.Project != "atlas" || d.Scan != "" || d.Scans != 4 || d.Left != 4 {
		s.Errorf("deletion %+v, want the four that were not deleted before", d)
	}
	s.advance(time.Second)
	others = append(others, in(t, "atlas")) // accepted since
	for _, scan := range mine {
		s.unseen(scan)
	}
	if _, err := s.DeleteProject(s.ctx(), stranger, "borealis"); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("another tenant's project: %v", err)
	}
	if got := s.dropDeleted(2); got.Scans != 5 {
		s.Errorf("dropped %+v, want 5 scans", got)
	}
	s.wantLeft(one, 1, 0)
	s.wantLeft(d, 4, 0)
	if u := s.usage(t); u.QueuedScans != 3 {
		s.Errorf("usage %+v, want three scans that wait", u)
	}
	for _, scan := range others {
		if s.gone(scan) {
			s.Errorf("scan %s of project %q is gone", scan.ID, scan.Project)
		}
	}
}

// testDeleteDead: nobody tries again what is deleted.
func testDeleteDead(s *suite) {
	t := s.tenant()
	scan, other := s.dead(t, "web", "p"), s.dead(t, "web", "p")
	project := newScan(t, "p")
	project.Project = "atlas"
	project = s.accept(project)
	o := end(s.claimAll(project)[0].Lease, host.StateFailed)
	o.Dead = true
	s.finish(o)
	_, err := s.DeleteScan(s.ctx(), t, scan.ID)
	s.check(err)
	_, err = s.DeleteProject(s.ctx(), t, "atlas")
	s.check(err)
	if diff := cmp.Diff(jobIDs(other), s.deadOnes(host.DeadQuery{})); diff != "" {
		s.Errorf("dead letters (-want +got):\n%s", diff)
	}
	refused, err := s.Requeue(s.ctx(), slices.Concat(jobIDs(scan), jobIDs(project), jobIDs(other)))
	if err != nil || len(refused) != 2 || refused[0].Reason != host.RefusedNotDead || refused[1].Reason != host.RefusedNotDead {
		s.Errorf("requeued all but %+v, %v; want the deleted ones refused", refused, err)
	}
	if got := s.dropDeleted(10); got.Scans != 2 {
		s.Errorf("dropped %+v, want both", got)
	}
}

// testDeletedTwice: retention, or the removal of the tenant, may be there first.
func testDeletedTwice(s *suite) {
	t := s.tenant()
	scan := s.ended(s.archived(t, "archives/1"), 1)
	d, err := s.DeleteScan(s.ctx(), t, scan.ID)
	s.check(err)
	s.advance(2 * day)
	if got := s.dropScans(10); got.Scans != 1 {
		s.Errorf("retention dropped %+v, want a deleted scan as any other", got)
	}
	if got := s.dropDeleted(10); got.Scans != 0 {
		s.Errorf("dropped %+v once more", got)
	}
	s.wantLeft(d, 1, 0)
	if u := s.usage(t); u.Storage != 0 {
		s.Errorf("usage %+v, want all given back once", u)
	}
	s.archived(t, "archives/2")
	last := s.archived(t, "archives/3")
	_, err = s.DeleteScan(s.ctx(), t, last.ID)
	s.check(err)
	s.check(s.DeleteTenant(s.ctx(), t))
	s.dropTenants(1)
	if left := s.h.Rows(s.T, t); len(left) != 0 {
		s.Errorf("left of the tenant: %v", left)
	}
	if got := s.dropDeleted(10); got.Scans != 0 {
		s.Errorf("dropped %+v of a tenant that is gone", got)
	}
}

// testDeleteSideBySide: several hosts, in small batches, some of which end early.
func testDeleteSideBySide(s *suite) {
	const scans = 30
	t := s.tenant()
	for range scans {
		scan := newScan(t, "p")
		scan.Project = "atlas"
		s.accept(scan)
	}
	var asked sync.WaitGroup
	var mu sync.Mutex
	var all []host.Deletion
	for range 3 {
		asked.Go(func() {
			d, err := s.DeleteProject(s.ctx(), t, "atlas")
			if err != nil && !errors.Is(err, host.ErrNotFound) {
				s.Error(err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, d)
			}
		})
	}
	asked.Wait()
	var wg sync.WaitGroup
	gone := 0
	for _, store := range []host.Store{s.Store, s.h.Another(), s.h.Another()} {
		wg.Go(func() {
			for range 100 {
				out, err := store.DropDeleted(s.ctx(), 4)
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				gone += out.Scans
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, d := range all {
		got, err := s.Deletion(s.ctx(), t, d.ID)
		s.check(err)
		if got.FinishedAt.IsZero() || got.Left != 0 {
			s.Errorf("deletion %+v is not done", got)
		}
		sum += got.Scans
	}
	if sum != scans || gone != scans || s.usage(t).QueuedScans != 0 {
		s.Errorf("deletions are about %d scans and %d were removed, want %d; usage %+v", sum, gone, scans, s.usage(t))
	}
}
