package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// sized is a scan of an archive of some bytes, not yet accepted.
func sized(t host.TenantID, bytes int64) host.Scan {
	scan := newScan(t, "p")
	scan.Input = host.Input{Archive: &host.Archive{Blob: host.BlobKey("archives/" + scan.ID), Size: bytes}}
	return scan
}

// within accepts scans of one tenant under a quota.
func (s *suite) within(q host.Quota, scans ...host.Scan) error {
	_, err := s.Accept(s.ctx(), scans, map[host.TenantID]host.Quota{scans[0].TenantID: q})
	return err
}

// wantUsage compares what a tenant holds, and the books with the rows.
func (s *suite) wantUsage(t host.TenantID, storage, queued, today int64) {
	s.Helper()
	got, err := s.Usage(s.ctx(), t)
	s.check(err)
	if got.Storage != storage || got.QueuedScans != queued || got.ScansToday != today {
		s.Errorf("holds %d bytes, %d queued and %d scans of today; want %d, %d, %d", got.Storage, got.QueuedScans, got.ScansToday, storage, queued, today)
	}
	s.verified()
}

func (s *suite) verified() {
	s.Helper()
	wrong, err := s.VerifyQuotas(s.ctx(), false)
	s.check(err)
	if len(wrong) > 0 {
		s.Errorf("the books do not add up: %+v", wrong)
	}
}

// testQuotaRefuses: each quota lets in what fits, to the last byte and scan.
func testQuotaRefuses(s *suite) {
	for name, c := range map[string]struct {
		quota  host.Quota
		before []int64 // sizes of what is accepted first
		size   int64
		want   *host.Shortage
	}{
		"none":             {host.Quota{}, []int64{1 << 40, 1 << 40}, 1 << 40, nil},
		"storage":          {host.Quota{Storage: 100}, []int64{60, 30}, 11, &host.Shortage{Quota: host.QuotaStorage, Used: 90, Limit: 100, Needed: 11}},
		"storage to spare": {host.Quota{Storage: 100}, []int64{60, 30}, 10, nil},
		"queued":           {host.Quota{QueuedScans: 2}, []int64{1, 1}, 1, &host.Shortage{Quota: host.QuotaQueuedScans, Used: 2, Limit: 2, Needed: 1}},
		"a day":            {host.Quota{ScansPerDay: 2}, []int64{1, 1}, 1, &host.Shortage{Quota: host.QuotaScansPerDay, Used: 2, Limit: 2, Needed: 1}},
		"all to spare":     {host.Quota{Storage: 3, QueuedScans: 3, ScansPerDay: 3}, []int64{1, 1}, 1, nil},
	} {
		t := s.tenant()
		sum := int64(0)
		for _, n := range c.before {
			s.check(s.within(c.quota, sized(t, n)))
			sum += n
		}
		scan := sized(t, c.size)
		err := s.within(c.quota, scan)
		var over *host.OverQuota
		switch {
		case c.want == nil:
			if err != nil {
				s.Errorf("%s: %v", name, err)
			}
			continue
		case !errors.As(err, &over) || !errors.Is(err, host.ErrOverQuota):
			s.Errorf("%s: %v, want *host.OverQuota", name, err)
			continue
		}
		got := *over.Scans[scan.ID]
		if daily := got.Quota == host.QuotaScansPerDay; daily != !got.ResetsAt.IsZero() {
			s.Errorf("%s: resets at %v", name, got.ResetsAt)
		}
		got.ResetsAt = time.Time{}
		if diff := cmp.Diff(*c.want, got); diff != "" {
			s.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if _, err := s.Scan(s.ctx(), t, scan.ID); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("%s: what was refused is stored: %v", name, err)
		}
		s.wantUsage(t, sum, int64(len(c.before)), int64(len(c.before)))
	}
}

// testQuotaBatch: nothing of a batch is stored when not all fits, and it is said
// which would.
func testQuotaBatch(s *suite) {
	one, two := s.tenant(), s.tenant()
	quotas := map[host.TenantID]host.Quota{one: {Storage: 10}}
	batch := []host.Scan{sized(one, 6), sized(two, 1000), sized(one, 5), newScan(one, "p"), sized(one, 4)}
	_, err := s.Accept(s.ctx(), batch, quotas)
	var over *host.OverQuota
	if !errors.As(err, &over) || len(over.Scans) != 1 || over.Scans[batch[2].ID] == nil {
		s.Fatalf("a batch of which the third does not fit: %v", err)
	}
	s.wantUsage(one, 0, 0, 0)
	s.wantUsage(two, 0, 0, 0)
	rest := []host.Scan{batch[0], batch[1], batch[3], batch[4]}
	if _, err := s.Accept(s.ctx(), rest, quotas); err != nil {
		s.Fatalf("the others: %v", err)
	}
	s.wantUsage(one, 10, 3, 3)
	s.wantUsage(two, 1000, 1, 1)

	// A plan that shrank keeps nobody from what needs nothing of it.
	if err := s.within(host.Quota{Storage: 5}, newScan(one, "p")); err != nil {
		s.Errorf("a URL while the storage is full: %v", err)
	}
	// A batch that fails for another reason takes nothing.
	bad := sized(two, 7)
	bad.ID = rest[1].ID
	if err := s.within(host.Quota{}, sized(two, 3), bad); !errors.Is(err, host.ErrConflict) {
		s.Errorf("an id that is taken: %v", err)
	}
	s.wantUsage(two, 1000, 1, 1)
}

// testQuotaReleases: each end of a scan gives back what it held, once.
func testQuotaReleases(s *suite) {
	t := s.tenant()
	run := sized(t, 10)
	run.Jobs = append(run.Jobs, newScan(t, "a").Jobs...)
	s.check(s.within(host.Quota{}, run))
	s.wantUsage(t, 10, 1, 1)
	lease := s.claimAll(run)[0].Lease // both jobs: it leaves the queue once
	s.wantUsage(t, 10, 0, 1)
	retry := end(lease, host.StateQueued)
	s.finish(retry) // waits again, and is no queued scan any more
	s.wantUsage(t, 10, 0, 1)
	_, err := s.ReleaseOwner(s.ctx(), "host-a")
	s.check(err)
	s.wantUsage(t, 10, 0, 1)
	for range 2 {
		_, err := s.Cancel(s.ctx(), t, run.ID)
		s.check(err)
	}
	s.wantUsage(t, 10, 0, 1)

	waits := sized(t, 20)
	s.check(s.within(host.Quota{}, waits))
	s.wantUsage(t, 30, 1, 2)
	for range 2 {
		_, err := s.Cancel(s.ctx(), t, waits.ID)
		s.check(err)
	}
	s.wantUsage(t, 30, 0, 2) // its archive is still there

	dies := sized(t, 30)
	dies.Jobs[0].MaxAttempts = 1
	s.check(s.within(host.Quota{}, dies))
	lease = s.claimAll(dies)[0].Lease
	s.finish(end(lease, host.StateQueued)) // nothing left to try: a dead letter
	s.wantUsage(t, 60, 0, 3)
	refused, err := s.Requeue(s.ctx(), jobIDs(dies))
	s.check(err)
	if len(refused) > 0 {
		s.Errorf("requeue: %v", refused)
	}
	s.wantUsage(t, 60, 0, 3)
	s.ended(dies, 0)
	s.check(s.within(host.Quota{}, sized(t, 5)))
	s.wantUsage(t, 65, 1, 4)

	s.advance(day + time.Hour)
	s.wantUsage(t, 65, 1, 0) // another day
	for range 2 {
		s.dropArchives(10)
	}
	s.wantUsage(t, 5, 1, 0)
	for range 2 {
		s.dropScans(10)
	}
	s.wantUsage(t, 5, 1, 0)

	// Scans that go with their archives give the storage back as well.
	s.check(s.within(host.Quota{}, sized(t, 7)))
	last := sized(t, 8)
	s.check(s.within(host.Quota{}, last))
	s.ended(last, 1)
	s.wantUsage(t, 20, 2, 2)
	s.advance(day + time.Hour)
	s.dropScans(10)
	s.wantUsage(t, 12, 2, 0)
	if _, err := s.Usage(s.ctx(), host.NewTenantID()); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("usage of nobody: %v", err)
	}
}

// testQuotaRoomAgain: what was given back can be had at once.
func testQuotaRoomAgain(s *suite) {
	t := s.tenant()
	q := host.Quota{QueuedScans: 1, ScansPerDay: 4, Storage: 1000}
	for range 3 {
		scan := sized(t, 1)
		s.check(s.within(q, scan))
		if err := s.within(q, sized(t, 1)); !errors.Is(err, host.ErrOverQuota) {
			s.Errorf("two in the queue: %v", err)
		}
		s.claimAll(scan)
	}
	s.check(s.within(q, sized(t, 1)))
	if err := s.within(host.Quota{ScansPerDay: 4}, sized(t, 1)); !errors.Is(err, host.ErrOverQuota) {
		s.Errorf("the fifth of the day: %v", err)
	}
	s.advance(day)
	s.check(s.within(host.Quota{ScansPerDay: 1}, sized(t, 1)))
	s.wantUsage(t, 5, 2, 1)
}

// testQuotaTidy: the ledger is kept short, and adds up before and after.
func testQuotaTidy(s *suite) {
	t, other := s.tenant(), s.tenant()
	for i := range int64(5) {
		scan := sized(t, i)
		s.check(s.within(host.Quota{}, scan))
		s.claimAll(scan)
	}
	s.check(s.within(host.Quota{}, sized(other, 3)))
	for range 3 {
		s.check(s.TidyLedger(s.ctx(), time.Hour))
		s.wantUsage(t, 10, 0, 5)
		s.wantUsage(other, 3, 1, 1)
	}
	s.advance(2 * day)
	for range 3 {
		s.check(s.TidyLedger(s.ctx(), time.Hour))
		s.wantUsage(t, 10, 0, 0)
	}
	if wrong, err := s.VerifyQuotas(s.ctx(), true); err != nil || len(wrong) > 0 {
		s.Errorf("to fix: %v, %v", wrong, err)
	}
	s.wantUsage(other, 3, 1, 0)
}

// testQuotaHosts: many uploads through many connections at the same time, while
// others start, cancel and remove scans: no tenant ever holds more than its
// quota, not by one byte or scan, and at the end the books add up.
func testQuotaHosts(s *suite) {
	q := host.Quota{Storage: 40, QueuedScans: 6, ScansPerDay: 25}
	tenants := []host.TenantID{s.tenant(), s.tenant()}
	accepted := make([]struct {
		sync.Mutex
		scans []host.Scan
		bytes int64
	}, len(tenants))
	stop := make(chan struct{})
	var watch, wg sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, t := range tenants {
				u, err := s.Usage(s.ctx(), t)
				if err != nil {
					s.Error(err)
					return
				}
				if u.Storage > q.Storage || u.QueuedScans > q.QueuedScans || u.ScansToday > q.ScansPerDay {
					s.Errorf("%+v is over %+v", u, q)
				}
			}
		}
	})
	for w := range 6 {
		wg.Go(func() {
			for i := range 12 {
				n := (w + i) % len(tenants)
				batch := []host.Scan{sized(tenants[n], 1+int64(i%3)), sized(tenants[n], 1)}
				quotas := map[host.TenantID]host.Quota{tenants[n]: q}
				if i%4 == 0 { // both tenants in one transaction
					batch = append(batch, sized(tenants[1-n], 1))
					quotas[tenants[1-n]] = q
				}
				_, err := s.Accept(s.ctx(), batch, quotas)
				switch {
				case errors.Is(err, host.ErrOverQuota):
				case err != nil:
					s.Error(err)
				default:
					for _, scan := range batch {
						a := &accepted[0]
						if scan.TenantID == tenants[1] {
							a = &accepted[1]
						}
						a.Lock()
						a.scans, a.bytes = append(a.scans, scan), a.bytes+scan.Storage()
						a.Unlock()
					}
				}
				if err := s.disturb(fmt.Sprint("host-", w), &accepted[n].Mutex, &accepted[n].scans, i); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	for i, t := range tenants {
		u, err := s.Usage(s.ctx(), t)
		s.check(err)
		if want := accepted[i].bytes; u.Storage != want || want > q.Storage || u.ScansToday != int64(len(accepted[i].scans)) {
			s.Errorf("holds %+v of what was accepted: %d bytes in %d scans", u, want, len(accepted[i].scans))
		}
	}
	s.verified()
}

// disturb lets a scan begin or cancels one.
func (s *suite) disturb(owner string, mu *sync.Mutex, scans *[]host.Scan, i int) error {
	if i%2 == 0 {
		_, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 4, Horizon: time.Hour,
			Claim: host.AtOnce{Owner: owner, TTL: ttl, Most: 2}})
		return err
	}
	mu.Lock()
	var scan host.Scan
	if n := len(*scans); n > 0 {
		scan = (*scans)[(i*7)%n]
	}
	mu.Unlock()
	if scan.ID == "" {
		return nil
	}
	_, err := s.Cancel(s.ctx(), scan.TenantID, scan.ID)
	if errors.Is(err, host.ErrConflict) {
		return nil
	}
	return err
}
