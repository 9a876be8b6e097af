package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// day is the age in these tests that is old enough.
const day = 24 * time.Hour

// archived accepts a scan of an archive that is kept under key; "" is one that
// needs no blob.
func (s *suite) archived(t host.TenantID, key host.BlobKey) host.Scan {
	s.Helper()
	scan := newScan(t, "p", "a")
	scan.Input = host.Input{Archive: &host.Archive{Blob: key, Filename: "x.zip", Format: "zip", Size: 10, SHA256: "00"}}
	return s.accept(scan)
}

// ended ends every job of a scan, with n findings each.
func (s *suite) ended(scan host.Scan, n int) host.Scan {
	s.Helper()
	for _, c := range s.claimAll(scan) {
		o := end(c.Lease, host.StateSucceeded)
		o.Findings = newFindings(n, host.SeverityHigh)
		s.finish(o)
	}
	return scan
}

func (s *suite) dropScans(limit int) host.Dropped {
	s.Helper()
	out, err := s.DropScans(s.ctx(), host.Keep{Most: day}, limit)
	s.check(err)
	return out
}

func (s *suite) dropArchives(limit int) host.Dropped {
	s.Helper()
	out, err := s.DropArchives(s.ctx(), day, limit)
	s.check(err)
	return out
}

// gone reports whether nothing of a scan is left.
func (s *suite) gone(scan host.Scan) bool {
	s.Helper()
	_, err := s.Scan(s.ctx(), scan.TenantID, scan.ID)
	_, ferr := s.Findings(s.ctx(), scan.TenantID, scan.ID, host.FindingQuery{})
	if (err == nil) != (ferr == nil) {
		s.Errorf("scan %s: %v, its findings: %v", scan.ID, err, ferr)
	}
	if err == nil {
		s.consistent(scan)
	}
	claims, cerr := s.Claim(s.ctx(), "host-z", jobIDs(scan), ttl)
	s.check(cerr)
	if err != nil && len(claims) > 0 {
		s.Errorf("jobs of a scan that is gone were claimed: %v", claims)
	}
	return err != nil
}

// blob is an archive as Dropped names it.
func blob(key host.BlobKey) host.Archive { return host.Archive{Blob: key, Size: 10} }

func testDropScans(s *suite) {
	t := s.tenant()
	first := s.ended(s.archived(t, "archives/1"), 3)
	s.advance(time.Hour)
	second := s.ended(s.archived(t, ""), 0)
	third := s.ended(s.accept(newScan(t, "p", "b")), 2)
	queued, running := s.archived(t, "archives/2"), s.archived(t, "archives/3")
	canceled := s.archived(t, "archives/4")
	_, err := s.Cancel(s.ctx(), t, canceled.ID)
	s.check(err)
	s.advance(day - time.Hour) // the first is just old enough
	s.advance(time.Second)
	s.claimAll(running)
	young := s.ended(s.archived(t, "archives/5"), 1)

	want := host.Dropped{Scans: 1, Findings: 6, Archives: []host.Archive{blob("archives/1")}}
	if diff := cmp.Diff(want, s.dropScans(10)); diff != "" {
		s.Errorf("dropped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(host.Dropped{}, s.dropScans(10)); diff != "" {
		s.Errorf("dropped again (-want +got):\n%s", diff)
	}
	s.advance(time.Hour)
	if got := s.dropScans(2); got.Scans != 2 || !got.More {
		s.Errorf("dropped %+v, want 2 of them and that there may be more", got)
	}
	if got := s.dropScans(2); got.Scans != 1 || got.More {
		s.Errorf("dropped %+v, want the one that is left", got)
	}
	for _, scan := range []host.Scan{first, second, third, canceled} {
		if !s.gone(scan) {
			s.Errorf("an old scan is still there: %+v", scan)
		}
	}
	if s.get(running).State != host.StateRunning || s.get(queued).State != host.StateQueued || s.get(young).State != host.StateSucceeded {
		s.Error("a scan that has not ended, or is young, was touched")
	}
	s.consistent(young)
}

// testDropLargeScans has scans whose findings are too many for one transaction,
// and for one statement.
func testDropLargeScans(s *suite) {
	t := s.tenant()
	const each = 3_000
	for range 2 {
		scan := s.accept(newScan(t, "p"))
		l := s.claimAll(scan)[0].Lease
		for range each / 1000 {
			s.check(s.AddFindings(s.ctx(), l, newFindings(1000, host.SeverityLow)))
		}
		s.finish(end(l, host.StatePartial))
	}
	small := s.ended(s.accept(newScan(t, "p")), 1)
	s.advance(day + time.Hour)
	if got := s.dropScans(10); got.Scans != 1 || got.Findings != each || !got.More {
		s.Errorf("dropped %+v, want the first with its %d findings", got, each)
	}
	if s.gone(small) {
		s.Error("the youngest scan went first")
	}
	if got := s.dropScans(10); got.Scans != 2 || got.Findings != each+1 || got.More {
		s.Errorf("dropped %+v, want the other two", got)
	}
}

func testDropArchives(s *suite) {
	t := s.tenant()
	scan := s.ended(s.archived(t, "archives/1"), 2)
	inRow := s.ended(s.archived(t, ""), 0) // kept without a blob
	url := s.ended(s.accept(newScan(t, "p")), 0)
	open := s.archived(t, "archives/2")
	s.advance(day + time.Hour)
	young := s.ended(s.archived(t, "archives/3"), 0)

	before := s.get(scan)
	want := host.Dropped{Scans: 2, Archives: []host.Archive{blob("archives/1")}}
	if diff := cmp.Diff(want, s.dropArchives(10)); diff != "" {
		s.Errorf("dropped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(host.Dropped{}, s.dropArchives(10)); diff != "" {
		s.Errorf("dropped again (-want +got):\n%s", diff)
	}
	after := s.get(scan)
	if at := after.Input.Archive.RemovedAt; at.IsZero() || at.Location() != time.UTC {
		s.Errorf("its archive was removed at %v", at)
	}
	after.Input.Archive.RemovedAt = time.Time{}
	if diff := cmp.Diff(before, after); diff != "" {
		s.Errorf("the scan changed in another way (-before +after):\n%s", diff)
	}
	if n := len(s.findings(scan, host.FindingQuery{})); n != 4 {
		s.Errorf("%d findings stayed, want all 4", n)
	}
	if s.get(inRow).Input.Archive.RemovedAt.IsZero() {
		s.Error("an archive without a blob was left")
	}
	for _, scan := range []host.Scan{open, young} {
		if !s.get(scan).Input.Archive.RemovedAt.IsZero() {
			s.Errorf("the archive of a scan that is %s or young was taken", s.get(scan).State)
		}
	}
	listed, err := s.Scans(s.ctx(), t, host.ScanQuery{})
	s.check(err)
	if len(listed) != 5 {
		s.Errorf("%d scans are listed, want 5", len(listed))
	}
	// Its blob was named once; the scan goes later without it.
	if got := s.dropScans(10); got.Scans != 3 || len(got.Archives) != 0 || !s.gone(scan) || !s.gone(url) {
		s.Errorf("dropped %+v, want 3 scans whose archives went before", got)
	}
}

func testDropArchivesLimit(s *suite) {
	t := s.tenant()
	for i := range 5 {
		s.ended(s.archived(t, host.BlobKey(fmt.Sprintf("archives/%d", i))), 0)
	}
	s.advance(day + time.Hour)
	for _, want := range []host.Dropped{
		{Scans: 2, Archives: []host.Archive{blob("archives/0"), blob("archives/1")}, More: true},
		{Scans: 2, Archives: []host.Archive{blob("archives/2"), blob("archives/3")}, More: true},
		{Scans: 1, Archives: []host.Archive{blob("archives/4")}},
		{},
	} {
		if diff := cmp.Diff(want, s.dropArchives(2)); diff != "" {
			s.Errorf("dropped (-want +got):\n%s", diff)
		}
	}
}

func testUnusedBlobs(s *suite) {
	t := s.tenant()
	s.archived(t, "archives/queued")
	s.archived(t, "")
	s.ended(s.archived(t, "archives/young"), 0)
	old := s.ended(s.archived(t, "archives/old"), 0)
	keys := []host.BlobKey{"archives/z", "archives/queued", "archives/old", "a", "archives/young", "", "\xff", "' or 1=1"}
	unused := func() []host.BlobKey {
		s.Helper()
		out, err := s.UnusedBlobs(s.ctx(), keys)
		s.check(err)
		return out
	}
	if got := unused(); !slices.Equal(got[:2], []host.BlobKey{"archives/z", "a"}) || slices.Contains(got, old.Input.Archive.Blob) || len(got) != 5 {
		s.Errorf("unused: %q", got)
	}
	s.advance(day + time.Hour)
	s.ended(s.archived(t, "archives/z"), 0)
	s.dropArchives(10)
	if got := unused(); !slices.Contains(got, "archives/old") || slices.Contains(got, "archives/z") {
		s.Errorf("after the archives went, unused: %q", got)
	}
	if got, err := s.UnusedBlobs(s.ctx(), nil); len(got) != 0 || err != nil {
		s.Errorf("of none: %v, %v", got, err)
	}
}

// testDeadLetterKeepsArchive: as long as an operator may requeue a job its scan
// keeps the archive, but not longer than the scan itself is kept.
func testDeadLetterKeepsArchive(s *suite) {
	scan := s.archived(s.tenant(), "archives/1")
	for _, c := range s.claimAll(scan) {
		s.finish(host.Outcome{Lease: c.Lease, State: host.StateFailed, Dead: true,
			Error: &host.JobError{Code: host.CodePluginCrashed, Message: "it crashed", Attempt: 1}})
	}
	s.advance(day + time.Hour)
	if out := s.dropArchives(10); out.Scans != 0 {
		s.Errorf("the archive of a scan with dead letters went: %+v", out)
	}
	if _, err := s.Drop(s.ctx(), jobIDs(scan)); err != nil {
		s.Fatal(err)
	}
	if out := s.dropArchives(10); out.Scans != 1 {
		s.Errorf("the archive stayed when the dead letters were dropped: %+v", out)
	}
}

// testSharedBlob: a blob of several archives is needed until the last of their
// scans is gone, or its archive.
func testSharedBlob(s *suite) {
	t := s.tenant()
	const pack = host.BlobKey("packs/1")
	unused := func() bool {
		s.Helper()
		keys, err := s.UnusedBlobs(s.ctx(), []host.BlobKey{pack})
		s.check(err)
		return len(keys) == 1
	}
	s.ended(s.archived(t, pack), 0)
	s.advance(day + time.Hour)
	s.ended(s.archived(t, pack), 0)
	last := s.archived(t, pack)
	if out := s.dropScans(10); out.Scans != 1 || len(out.Archives) != 1 || unused() {
		s.Errorf("one of three scans is gone: %+v, the blob is unused: %v", out, unused())
	}
	s.advance(day + time.Hour)
	if out := s.dropArchives(10); out.Scans != 1 || len(out.Archives) != 1 || unused() {
		s.Errorf("one scan is left that needs the blob: %+v, it is unused: %v", out, unused())
	}
	s.ended(last, 0)
	s.advance(day + time.Hour)
	if out := s.dropArchives(10); out.Scans != 1 || len(out.Archives) != 1 || !unused() {
		s.Errorf("no scan needs the blob: %+v, it is unused: %v", out, unused())
	}
}

func testOrigin(s *suite) {
	first, err := s.Origin(s.ctx())
	s.check(err)
	again, err := s.Origin(s.ctx())
	s.check(err)
	if first == "" || len(first) > 64 || again != first {
		s.Errorf("origins %q and %q: want one name of at most 64 bytes", first, again)
	}
}

// testSweepersSideBySide has hosts remove old scans and archives side by side
// while others go on working: each scan goes once, and nothing else is touched.
func testSweepersSideBySide(s *suite) {
	const old = 30
	t := s.tenant()
	for i := range old {
		s.ended(s.archived(t, host.BlobKey(fmt.Sprintf("archives/%d", i))), 5)
	}
	s.advance(day + time.Hour)
	var live []host.Scan
	for range 10 {
		live = append(live, s.accept(newScan(t, plugins(2)...)))
	}
	var mu sync.Mutex
	var dropped host.Dropped
	blobs := map[host.BlobKey]int{}
	sweep := func(drop func(limit int) host.Dropped) {
		for idle := 0; idle < 3; {
			out := drop(4)
			if out.Scans == 0 {
				idle++ // all that is left may be another's
			}
			mu.Lock()
			dropped.Scans += out.Scans
			dropped.Findings += out.Findings
			for _, a := range out.Archives {
				blobs[a.Blob]++
			}
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	archives := 0
	for range 2 {
		wg.Go(func() { sweep(s.dropScans) })
		wg.Go(func() {
			sweep(func(limit int) host.Dropped {
				out := s.dropArchives(limit)
				mu.Lock()
				archives += out.Scans
				mu.Unlock()
				out.Scans = 0 // counted apart
				return out
			})
		})
	}
	for i, scan := range live {
		wg.Go(func() {
			if i%2 == 0 {
				if _, err := s.Cancel(s.ctx(), t, scan.ID); err != nil {
					s.Error(err)
				}
				return
			}
			claims, err := s.Claim(s.ctx(), "host-a", jobIDs(scan), ttl)
			if err != nil || len(claims) != len(scan.Jobs) {
				s.Errorf("claimed %d jobs of %d: %v", len(claims), len(scan.Jobs), err)
			}
			for _, c := range claims {
				s.finish(end(c.Lease, host.StateSucceeded))
			}
		})
	}
	wg.Wait()
	for last := s.dropScans(old); last.Scans > 0; last = s.dropScans(old) {
		dropped.Scans += last.Scans // nobody waits for what another one holds
		dropped.Findings += last.Findings
		for _, a := range last.Archives {
			blobs[a.Blob]++
		}
	}
	if dropped.Scans != old || dropped.Findings != 10*old || archives > old {
		s.Errorf("dropped %d scans with %d findings, and %d archives before; want %d and %d", dropped.Scans, dropped.Findings, archives, old, 10*old)
	}
	for i := range old {
		if n := blobs[host.BlobKey(fmt.Sprintf("archives/%d", i))]; n != 1 {
			s.Errorf("blob %d was named %d times, want once", i, n)
		}
	}
	for _, scan := range live {
		s.consistent(scan)
		if !s.get(scan).State.Final() {
			s.Errorf("scan %s is %s", scan.ID, s.get(scan).State)
		}
	}
}
