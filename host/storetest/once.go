package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// keyed makes a scan one that is known by a key.
func keyed(scan host.Scan, key, digest byte) host.Scan {
	scan.Once = &host.Once{Key: [32]byte{0: key, 31: 1}, Digest: [32]byte{0: digest, 31: 1}}
	return scan
}

// again accepts scans and gives what there was earlier.
func (s *suite) again(scans ...host.Scan) map[host.ScanID]*host.Earlier {
	s.Helper()
	_, err := s.Accept(s.ctx(), scans, nil)
	if err == nil {
		return nil
	}
	var r *host.Repeated
	if !errors.As(err, &r) || !errors.Is(err, host.ErrConflict) {
		s.Fatalf("%v, want *host.Repeated", err)
	}
	return r.Scans
}

// testOnce: a key is good for one scan, whose answer stays what it was.
func testOnce(s *suite) {
	t, other := s.tenant(), s.tenant()
	first := keyed(newScan(t, "a", "b"), 1, 1)
	first.Type, first.Project, first.Priority, first.Options = "codeaudit", "shop", host.PriorityLow, json.RawMessage(`{"a":{"x":"<ü>"}}`)
	first.Input = host.Input{Archive: &host.Archive{Data: []byte("PK"), Filename: "a.zip", Format: "zip", Size: 2, SHA256: "00ff", Files: 3, UnpackedBytes: 9, Dropped: 1}}
	first.Jobs[0].Findings, first.Jobs[0].Artifacts = 7, 1<<40
	accepted := s.accept(first)
	if accepted.Once != nil {
		s.Error("an accepted scan says by what it was asked for")
	}
	if diff := cmp.Diff(accepted, s.get(accepted)); diff != "" {
		s.Errorf("read back (-accepted +read):\n%s", diff)
	}
	want := &host.Earlier{Digest: first.Once.Digest, Scan: accepted}
	for _, c := range s.claimAll(accepted) {
		s.finish(end(c.Lease, host.StateFailed))
	}

	for _, digest := range []byte{1, 2} { // that it is another is for the caller to see
		scan, beside := keyed(newScan(t, "p"), 1, digest), keyed(newScan(t, "p"), 3, 1)
		found := s.again(beside, scan)
		if diff := cmp.Diff(map[host.ScanID]*host.Earlier{scan.ID: want}, found); diff != "" {
			s.Errorf("asked again (-want +got):\n%s", diff)
		}
		for _, none := range []host.Scan{scan, beside} {
			if _, err := s.Scan(s.ctx(), t, none.ID); !errors.Is(err, host.ErrNotFound) {
				s.Errorf("one of a batch that was not accepted: %v", err)
			}
		}
	}
	got, err := s.Earlier(s.ctx(), t, first.Once.Key)
	s.check(err)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("earlier (-want +got):\n%s", diff)
	}
	// Neither another key nor another tenant has anything to do with it.
	s.accept(keyed(newScan(t, "p"), 2, 1))
	s.accept(keyed(newScan(other, "p"), 1, 1))
	s.accept(newScan(t, "p"))
	for _, none := range []host.TenantID{host.NewTenantID(), "x"} {
		if _, err := s.Earlier(s.ctx(), none, first.Once.Key); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("earlier of tenant %q: %v", none, err)
		}
	}
	if _, err := s.Accept(s.ctx(), []host.Scan{keyed(newScan(t, "p"), 9, 1), keyed(newScan(t, "p"), 9, 1)}, nil); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("one key twice in a batch: %v", err)
	}
	s.verified()
}

// testOnceRoom: what was accepted is answered although there is no room for
// another, and what was refused leaves its key free.
func testOnceRoom(s *suite) {
	t := s.tenant()
	quota := host.Quota{QueuedScans: 1}
	first := keyed(newScan(t, "p"), 1, 1)
	s.check(s.within(quota, first))
	scan, full := keyed(newScan(t, "p"), 1, 1), keyed(newScan(t, "p"), 2, 1)
	var r *host.Repeated
	if err := s.within(quota, scan, full); !errors.As(err, &r) || len(r.Scans) != 1 || r.Scans[scan.ID] == nil || r.Scans[scan.ID].Scan.ID != first.ID {
		s.Errorf("again, without room: %v", err)
	}
	if err := s.within(quota, full); !errors.Is(err, host.ErrOverQuota) {
		s.Errorf("another one without room: %v", err)
	}
	s.wantUsage(t, 0, 1, 1)
	s.check(s.within(host.Quota{}, full))
}

// testOnceDeleted: a scan that is deleted is no answer any more, although it is
// not yet removed: its key is free at once.
func testOnceDeleted(s *suite) {
	t, other := s.tenant(), s.tenant()
	one, shop, kept, foreign := keyed(newScan(t, "p"), 1, 1), keyed(newScan(t, "p"), 2, 1), keyed(newScan(t, "p"), 3, 1), keyed(newScan(other, "p"), 1, 1)
	shop.Project = "shop"
	for _, scan := range []host.Scan{one, shop, kept, foreign} {
		s.accept(scan)
	}
	_, err := s.DeleteScan(s.ctx(), t, one.ID)
	s.check(err)
	_, err = s.DeleteProject(s.ctx(), t, "shop")
	s.check(err)
	for _, scan := range []host.Scan{one, shop} {
		if e, err := s.Earlier(s.ctx(), t, scan.Once.Key); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("the request of a deleted scan: %+v, %v", e, err)
		}
		s.accept(keyed(newScan(t, "p"), scan.Once.Key[0], 2))
	}
	for _, scan := range []host.Scan{kept, foreign} {
		if e, err := s.Earlier(s.ctx(), scan.TenantID, scan.Once.Key); err != nil || e.Scan.ID != scan.ID {
			s.Errorf("the request of another scan: %+v, %v", e, err)
		}
	}
	for range 2 { // what was waiting is canceled, then removed
		_, err := s.DropDeleted(s.ctx(), 10)
		s.check(err)
	}
	if _, err := s.Earlier(s.ctx(), t, one.Once.Key); err != nil {
		s.Errorf("the request that came after: %v", err)
	}
	s.verified()
}

// testOnceEnds: a key is free when its day is over, or its scan is gone.
func testOnceEnds(s *suite) {
	t := s.tenant()
	first, second := keyed(newScan(t, "p"), 1, 1), keyed(newScan(t, "p"), 2, 1)
	s.accept(first)
	s.accept(second)
	s.finish(end(s.claimAll(first)[0].Lease, host.StateSucceeded))
	s.advance(host.OnceKept - time.Minute)
	if n, err := s.DropRequests(s.ctx(), 10); n != 0 || err != nil {
		s.Errorf("%d requests forgotten too soon, %v", n, err)
	}
	if len(s.again(keyed(newScan(t, "p"), 1, 1))) != 1 {
		s.Error("a key was free before its time")
	}
	if _, err := s.DropScans(s.ctx(), host.Keep{Most: time.Hour}, 10); err != nil {
		s.Fatal(err)
	}
	s.accept(keyed(newScan(t, "p"), 1, 1)) // its scan is gone
	s.advance(2 * time.Minute)
	if _, err := s.Earlier(s.ctx(), t, second.Once.Key); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("an old request: %v", err)
	}
	third := s.accept(keyed(newScan(t, "p"), 2, 9)) // nobody has swept yet
	got, err := s.Earlier(s.ctx(), t, second.Once.Key)
	s.check(err)
	if got.Scan.ID != third.ID || got.Digest[0] != 9 {
		s.Errorf("the key is of %s, want the one that came last", got.Scan.ID)
	}
	s.advance(host.OnceKept)
	for _, want := range []int{1, 1, 0} {
		if n, err := s.DropRequests(s.ctx(), 1); n != want || err != nil {
			s.Errorf("%d requests forgotten, want %d; %v", n, want, err)
		}
	}
}

// testOnceHosts: however many hosts are asked at the same time, in whatever
// batches, each key has one scan and everybody hears of the same.
func testOnceHosts(s *suite) {
	const hosts, keys, rounds = 3, 4, 6
	t := s.tenant()
	var mu sync.Mutex
	ids := map[byte]map[host.ScanID]bool{}
	note := func(key byte, id host.ScanID) {
		mu.Lock()
		defer mu.Unlock()
		if ids[key] == nil {
			ids[key] = map[host.ScanID]bool{}
		}
		ids[key][id] = true
	}
	ask := func(store host.Store, batch map[host.ScanID]host.Scan) error {
		for len(batch) > 0 {
			var scans []host.Scan
			for _, scan := range batch {
				scans = append(scans, scan)
			}
			_, err := store.Accept(s.ctx(), scans, nil)
			var r *host.Repeated
			switch {
			case err == nil:
				for _, scan := range scans {
					note(scan.Once.Key[0], scan.ID)
				}
				return nil
			case !errors.As(err, &r):
				return fmt.Errorf("accept %d scans: %w", len(scans), err)
			}
			for id, e := range r.Scans {
				note(batch[id].Once.Key[0], e.Scan.ID)
				delete(batch, id)
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for range hosts {
		store := s.h.Another()
		wg.Go(func() {
			for range rounds {
				batch := map[host.ScanID]host.Scan{}
				for key := range byte(keys) {
					scan := keyed(newScan(t, "p"), key, 1)
					batch[scan.ID] = scan
				}
				if err := ask(store, batch); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := s.Scans(s.ctx(), t, host.ScanQuery{})
	s.check(err)
	if len(all) != keys || len(ids) != keys {
		s.Errorf("%d scans of %d keys, want %d", len(all), len(ids), keys)
	}
	for key, of := range ids {
		if len(of) != 1 {
			s.Errorf("key %d has %d scans", key, len(of))
		}
	}
	s.wantUsage(t, 0, keys, keys)
}
