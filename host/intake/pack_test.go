package intake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// slowStore takes scans when it is told to.
type slowStore struct {
	intake.Store
	turn   chan struct{}
	refuse func(host.Scan) error

	mu      sync.Mutex
	batches [][]host.Scan
}

func (s *slowStore) Accept(_ context.Context, scans []host.Scan, _ map[host.TenantID]host.Quota) ([]host.Scan, error) {
	<-s.turn
	for _, scan := range scans {
		if s.refuse != nil {
			if err := s.refuse(scan); err != nil {
				return nil, err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, scans)
	return scans, nil
}

func (s *slowStore) Scan(context.Context, host.TenantID, host.ScanID) (host.Scan, error) {
	return host.Scan{}, host.ErrUnavailable // nobody knows
}

// memoryBlobs keeps blobs in memory, or fails.
type memoryBlobs struct {
	host.BlobStore
	err error

	mu    sync.Mutex
	blobs map[host.BlobKey][]byte
}

func (m *memoryBlobs) Put(_ context.Context, key host.BlobKey, r io.Reader) (int64, string, error) {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.err
	}
	if err == nil {
		m.blobs[key] = b
	}
	return int64(len(b)), "", err
}

func (m *memoryBlobs) Open(context.Context, host.BlobKey) (host.Blob, error) {
	return nil, errors.New("this store cannot")
}

func (m *memoryBlobs) Delete(_ context.Context, key host.BlobKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, key)
	return nil
}

type packing struct {
	store *slowStore
	blobs *memoryBlobs
	in    *intake.Intake
}

func newPacking(t *testing.T) *packing {
	t.Helper()
	p := &packing{store: &slowStore{turn: make(chan struct{})}, blobs: &memoryBlobs{blobs: map[host.BlobKey][]byte{}}}
	check := func(context.Context, io.ReaderAt, int64, int64) (intake.Summary, error) {
		return intake.Summary{Format: "zip"}, nil
	}
	types := []intake.ScanType{{Name: "codeaudit", Input: host.InputArchive, Plugins: []string{"secrets"}, Timeout: time.Hour, Attempts: 3}}
	var err error
	p.in, err = intake.New(p.store, p.blobs, check, types, func() {}, intake.Config{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// accept sends archives, which their names tell apart, one after the other. As
// in a server, a panic ends its request alone.
func (p *packing) accept(t *testing.T, tenant host.TenantID, names ...string) <-chan error {
	done := make(chan error, len(names))
	for _, name := range names {
		go func() {
			var staged *intake.Staged
			var err error
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
				done <- err
			}()
			staged, err = p.in.Stage(t.Context(), name, strings.NewReader("PK-"+name))
			if err == nil {
				_, err = p.in.AcceptArchive(t.Context(), intake.Request{Tenant: tenant, Type: "codeaudit"}, staged)
			}
		}()
		synctest.Wait()
	}
	return done
}

// content is what the archive of an accepted scan consists of, and how it is kept.
func (p *packing) content(s host.Scan) (text, kept string) {
	a := s.Input.Archive
	if a.Data != nil {
		return string(a.Data), "inline"
	}
	return string(p.blobs.blobs[a.Blob][a.Offset : a.Offset+a.Size]), "packed"
}

// TestSmallArchivesSharePacks: the first is stored alone and at once; what comes
// meanwhile is stored together, in a blob for each tenant that sent several.
func TestSmallArchivesSharePacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacking(t)
		one, two := host.NewTenantID(), host.NewTenantID()
		results := []<-chan error{p.accept(t, one, "first")}
		results = append(results, p.accept(t, one, "a", "b", "c", "d"), p.accept(t, two, "x", "y"))
		for range 2 {
			p.store.turn <- struct{}{}
			synctest.Wait()
		}
		for i, n := range []int{1, 4, 2} {
			for range n {
				if err := <-results[i]; err != nil {
					t.Error(err)
				}
			}
		}
		if len(p.store.batches) != 2 || len(p.store.batches[0]) != 1 || len(p.store.batches[1]) != 6 {
			t.Fatalf("stored in batches %v, want one scan and then six", sizes(p.store.batches))
		}
		for _, batch := range p.store.batches {
			for _, s := range batch {
				name := s.Input.Archive.Filename
				want := "inline"
				if s.TenantID == one && name != "first" {
					want = "packed"
				}
				if text, kept := p.content(s); text != "PK-"+name || kept != want {
					t.Errorf("archive %s holds %q, %s; want it %s", name, text, kept, want)
				}
			}
		}
		if len(p.blobs.blobs) != 1 {
			t.Errorf("%d blobs, want one", len(p.blobs.blobs))
		}
	})
}

func sizes(batches [][]host.Scan) (n []int) {
	for _, b := range batches {
		n = append(n, len(b))
	}
	return n
}

// TestPackFails: what the blob store does not take the store takes.
func TestPackFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacking(t)
		p.blobs.err = errors.New("disk full")
		tenant := host.NewTenantID()
		first, rest := p.accept(t, tenant, "first"), p.accept(t, tenant, "a", "b", "c")
		p.store.turn <- struct{}{}
		p.store.turn <- struct{}{}
		for range 3 {
			if err := <-rest; err != nil {
				t.Error(err)
			}
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		for _, s := range p.store.batches[1] {
			if text, kept := p.content(s); kept != "inline" || text != "PK-"+s.Input.Archive.Filename {
				t.Errorf("archive %s is kept %s with %q", s.Input.Archive.Filename, kept, text)
			}
		}
	})
}

// TestBadScanFailsAlone: one that the store refuses takes none of its batch with
// it, and their pack goes.
func TestBadScanFailsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacking(t)
		tenant := host.NewTenantID()
		p.store.refuse = func(s host.Scan) error {
			if s.Input.Archive.Filename == "bad" {
				return fmt.Errorf("a plugin is gone: %w", host.ErrInvalid)
			}
			return nil
		}
		first, good, bad := p.accept(t, tenant, "first"), p.accept(t, tenant, "a", "b"), p.accept(t, tenant, "bad")
		close(p.store.turn)
		for range 2 {
			if err := <-good; err != nil {
				t.Errorf("a good one: %v", err)
			}
		}
		if err := <-bad; !errors.Is(err, host.ErrInvalid) {
			t.Errorf("the bad one: %v", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if n := sizes(p.store.batches); len(n) != 3 || len(p.blobs.blobs) != 0 {
			t.Errorf("batches %v and %d blobs, want three of one scan and no blob", n, len(p.blobs.blobs))
		}
	})
}

// TestPanicLeavesNobodyWaiting: a store that panics fails the request that it
// does so in. Those that shared the transaction get an answer, and those behind
// it their turn.
func TestPanicLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacking(t)
		tenant, calls := host.NewTenantID(), 0
		p.store.refuse = func(host.Scan) error {
			if calls++; calls == 2 {
				panic("out of cheese")
			}
			return nil
		}
		first, leader, sharer := p.accept(t, tenant, "first"), p.accept(t, tenant, "a"), p.accept(t, tenant, "b")
		p.store.turn <- struct{}{}
		synctest.Wait()
		behind := p.accept(t, tenant, "c")
		close(p.store.turn)
		if err := <-leader; err == nil || !strings.Contains(err.Error(), "out of cheese") {
			t.Errorf("the request in which the store panicked: %v", err)
		}
		if err := <-sharer; !errors.Is(err, host.ErrUnavailable) {
			t.Errorf("one that shared the transaction: %v, want that nobody knows", err)
		}
		for name, c := range map[string]<-chan error{"before": first, "behind": behind} {
			if err := <-c; err != nil {
				t.Errorf("one %s: %v", name, err)
			}
		}
	})
}

// TestPackStaysWhenUnsure: when nobody knows whether the batch was stored, its
// archives must not be lost.
func TestPackStaysWhenUnsure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacking(t)
		tenant := host.NewTenantID()
		p.store.refuse = func(s host.Scan) error {
			if s.Input.Archive.Filename != "first" {
				return host.ErrUnavailable
			}
			return nil
		}
		first, rest := p.accept(t, tenant, "first"), p.accept(t, tenant, "a", "b", "c")
		close(p.store.turn)
		for range 3 {
			if err := <-rest; !errors.Is(err, host.ErrUnavailable) {
				t.Errorf("one of a batch whose answer was lost: %v", err)
			}
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if len(p.blobs.blobs) != 1 {
			t.Errorf("%d blobs are left, want the pack", len(p.blobs.blobs))
		}
	})
}

// TestInlineLimit: the largest archive that needs no blob of its own, and one
// byte more.
func TestInlineLimit(t *testing.T) {
	t.Parallel()
	for size, inline := range map[int]bool{1: true, host.InlineArchive: true, host.InlineArchive + 1: false, 3 * host.InlineArchive: false} {
		p := newPacking(t)
		body := bytes.Repeat([]byte{'x'}, size)
		check := func(name string, r io.Reader) {
			staged, err := p.in.Stage(t.Context(), name, r)
			if err != nil {
				t.Errorf("%d bytes: %v", size, err)
				return
			}
			if a := staged.Archive(); (a.Data != nil) != inline || (a.Blob == "") != inline || a.Size != int64(size) || (inline && !bytes.Equal(a.Data, body)) {
				t.Errorf("%d bytes: kept %d bytes inline, blob %q", size, len(a.Data), a.Blob)
			}
		}
		if inline {
			check("whole", bytes.NewReader(body))
			check("a byte at a time", oneByte{bytes.NewReader(body)})
			continue
		}
		// What was put is looked at while it is there: it goes when the check
		// cannot open it.
		p.blobs.err = errors.New("stop here")
		if _, err := p.in.Stage(t.Context(), "", bytes.NewReader(body)); !errors.Is(err, p.blobs.err) {
			t.Errorf("%d bytes did not go to the blob store: %v", size, err)
		}
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }
