package retention_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

// fakeStore holds old scans, each with an archive or none, and which blobs are
// in use beside theirs.
type fakeStore struct {
	Err error // of every call

	mu      sync.Mutex
	old     []host.Archive // of scans that may go, oldest first
	gone    []host.Archive // of scans of a tenant that is being deleted
	deleted []host.Archive // of scans that their tenants deleted
	looks   int            // for those
	used    map[host.BlobKey]bool
	ages    []time.Duration
	calls   []time.Time
}

// DropScans takes what is old to be of a tenant without a plan.
func (s *fakeStore) DropScans(_ context.Context, keep host.Keep, limit int) (host.Dropped, error) {
	age := keep.Most
	if own, ok := keep.Plans[""]; ok {
		age = own
	}
	return s.drop(age, limit)
}

func (s *fakeStore) drop(age time.Duration, limit int) (host.Dropped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age == 0 {
		return host.Dropped{}, s.Err
	}
	s.ages, s.calls = append(s.ages, age), append(s.calls, time.Now())
	if s.Err != nil {
		return host.Dropped{}, s.Err
	}
	n := min(limit, len(s.old))
	out := host.Dropped{Scans: n, Findings: 2 * n, More: n == limit}
	for _, a := range s.old[:n] {
		if a.Blob != "" {
			out.Archives = append(out.Archives, a)
		}
		delete(s.used, a.Blob)
	}
	s.old = s.old[n:]
	return out, nil
}

func (s *fakeStore) DropArchives(_ context.Context, age time.Duration, limit int) (host.Dropped, error) {
	out, err := s.drop(age, limit)
	out.Findings = 0
	return out, err
}

func (s *fakeStore) UnusedBlobs(_ context.Context, keys []host.BlobKey) ([]host.BlobKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err != nil {
		return nil, s.Err
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k host.BlobKey) bool { return s.used[k] }), nil
}

// DropTenant removes the scans in gone, and then the tenant.
func (s *fakeStore) DropTenant(_ context.Context, limit int) (host.Dropped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err != nil || len(s.gone) == 0 {
		return host.Dropped{}, s.Err
	}
	n := min(limit, len(s.gone))
	out := host.Dropped{Scans: n, Archives: s.gone[:n], More: true}
	for _, a := range out.Archives {
		delete(s.used, a.Blob)
	}
	if s.gone = s.gone[n:]; len(s.gone) == 0 {
		out.Tenants = 1
	}
	return out, nil
}

// DropDeleted removes the scans in deleted.
func (s *fakeStore) DropDeleted(_ context.Context, limit int) (host.Dropped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.Err != nil {
		return host.Dropped{}, s.Err
	}
	n := min(limit, len(s.deleted))
	out := host.Dropped{Scans: n, Findings: 2 * n, Archives: s.deleted[:n], More: n > 0}
	for _, a := range out.Archives {
		delete(s.used, a.Blob)
	}
	s.deleted = s.deleted[n:]
	return out, nil
}

func (s *fakeStore) DropAudit(context.Context, int) (int, error) { return 0, nil }

func (s *fakeStore) DropRequests(context.Context, int) (int, error) { return 0, nil }

func (s *fakeStore) TidyLedger(context.Context, time.Duration) error { return nil }

func (s *fakeStore) Origin(context.Context) (string, error) {
	if s.Err != nil {
		return "", s.Err
	}
	return "this-database", nil
}

// fakeBlobs keeps no content but that of the blob "origin", which it never
// lists. It pages by two.
type fakeBlobs struct {
	mu     sync.Mutex
	blobs  map[host.BlobKey]host.BlobInfo
	refuse map[host.BlobKey]bool // to delete
	lists  int
	origin string
}

func newFakeBlobs() *fakeBlobs {
	return &fakeBlobs{blobs: map[host.BlobKey]host.BlobInfo{}, refuse: map[host.BlobKey]bool{}}
}

func (b *fakeBlobs) put(key host.BlobKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blobs[key] = host.BlobInfo{Key: key, Size: 10, Modified: time.Now()}
}

func (b *fakeBlobs) keys() []host.BlobKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.blobs))
}

func (b *fakeBlobs) Put(_ context.Context, key host.BlobKey, r io.Reader) (int64, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.origin != "" {
		return 0, "", host.ErrConflict
	}
	text, err := io.ReadAll(r)
	b.origin = string(text)
	return 0, string(key), err
}

func (b *fakeBlobs) Open(context.Context, host.BlobKey) (host.Blob, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.origin == "" {
		return nil, host.ErrNotFound
	}
	return text{strings.NewReader(b.origin)}, nil
}

type text struct{ *strings.Reader }

func (text) Close() error { return nil }

var errRefused = errors.New("the disk says no")

func (b *fakeBlobs) Delete(ctx context.Context, key host.BlobKey) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.refuse[key] {
		return errRefused
	}
	delete(b.blobs, key)
	return nil
}

func (b *fakeBlobs) List(_ context.Context, cursor string, _ int) ([]host.BlobInfo, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cursor == "" {
		b.lists++
	}
	var page []host.BlobInfo
	for _, key := range slices.Sorted(maps.Keys(b.blobs)) {
		if string(key) <= cursor {
			continue
		}
		if len(page) == 2 {
			return page, string(page[1].Key), nil
		}
		page = append(page, b.blobs[key])
	}
	return page, "", nil
}

// fakeMeter keeps what it is told.
type fakeMeter struct {
	host.NoMeter
	mu    sync.Mutex
	swept []host.Swept
}

func (m *fakeMeter) Swept(s host.Swept) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swept = append(m.swept, s)
}

// total sums what a task did, and says how many turns failed.
func (m *fakeMeter) total(task host.SweepTask) (sum host.Swept, turns, failed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.swept {
		if s.Task != task {
			continue
		}
		turns++
		if s.Failed {
			failed++
		}
		sum.Scans, sum.Findings, sum.Archives = sum.Scans+s.Scans, sum.Findings+s.Findings, sum.Archives+s.Archives
		sum.Blobs, sum.Bytes = sum.Blobs+s.Blobs, sum.Bytes+s.Bytes
	}
	return sum, turns, failed
}
