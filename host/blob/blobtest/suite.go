// Package blobtest holds what every host.BlobStore must do. An adapter's test
// calls [Run].
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/securetaghq/securetag/host"
)

// Run checks the store that open gives; each subtest asks for a new, empty one.
func Run(t *testing.T, open func(t *testing.T) host.BlobStore) {
	for name, test := range map[string]func(*testing.T, host.BlobStore){
		"RoundTrip":        testRoundTrip,
		"Empty":            testEmpty,
		"KeysApart":        testKeysApart,
		"Conflict":         testConflict,
		"OneWinner":        testOneWinner,
		"ReaderFails":      testReaderFails,
		"ContextEnds":      testContextEnds,
		"Missing":          testMissing,
		"DeletedWhileOpen": testDeletedWhileOpen,
		"BadKeys":          testBadKeys,
		"List":             testList,
		"ListEmpty":        testListEmpty,
		"ListWhileChanged": testListWhileChanged,
		"ListRefuses":      testListRefuses,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func testRoundTrip(t *testing.T, s host.BlobStore) {
	want := make([]byte, 3<<20+17)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(want) // never fails
	size, sum, err := s.Put(t.Context(), "scans/0190-a", io.MultiReader(iotest.OneByteReader(bytes.NewReader(want[:1000])), iotest.HalfReader(bytes.NewReader(want[1000:]))))
	if err != nil {
		t.Fatal(err)
	}
	wantSum := sha256.Sum256(want)
	if size != int64(len(want)) || sum != hex.EncodeToString(wantSum[:]) {
		t.Errorf("Put = %d bytes, sha256 %s; want %d, %x", size, sum, len(want), wantSum)
	}
	b, err := s.Open(t.Context(), "scans/0190-a")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Size() != size {
		t.Errorf("Size = %d, want %d", b.Size(), size)
	}
	part := make([]byte, 1000)
	if n, err := b.ReadAt(part, 2<<20); n != len(part) || err != nil || !bytes.Equal(part, want[2<<20:2<<20+1000]) {
		t.Errorf("ReadAt in the middle = %d, %v, or other bytes", n, err)
	}
	if n, err := b.ReadAt(part, size-10); n != 10 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end = %d, %v; want 10, EOF", n, err)
	}
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v; want the %d that were put", len(got), err, len(want))
	}
}

func testEmpty(t *testing.T, s host.BlobStore) {
	if size, _, err := s.Put(t.Context(), "nothing", strings.NewReader("")); size != 0 || err != nil {
		t.Fatalf("Put of nothing = %d, %v", size, err)
	}
	if got := read(t, s, "nothing"); got != "" {
		t.Errorf("read %q, want nothing", got)
	}
}

func testKeysApart(t *testing.T, s host.BlobStore) {
	keys := []host.BlobKey{"a", "a/b", "a-b", "a/b/c", "ab", "tmp-1"}
	for _, k := range keys {
		put(t, s, k, "content of "+string(k))
	}
	for _, k := range keys {
		if got := read(t, s, k); got != "content of "+string(k) {
			t.Errorf("blob %s holds %q", k, got)
		}
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "a/b"); got != "content of a/b" {
		t.Errorf("after deleting a, a/b holds %q", got)
	}
}

func testConflict(t *testing.T, s host.BlobStore) {
	put(t, s, "k", "first")
	if _, _, err := s.Put(t.Context(), "k", strings.NewReader("second")); !errors.Is(err, host.ErrConflict) {
		t.Errorf("second Put = %v, want ErrConflict", err)
	}
	if got := read(t, s, "k"); got != "first" {
		t.Errorf("after a refused Put the blob holds %q", got)
	}
}

func testOneWinner(t *testing.T, s host.BlobStore) {
	const writers = 8
	var (
		wg   sync.WaitGroup
		errs [writers]error
		// gate opens once every writer has been asked for its bytes, so that
		// all of them are past any look at the name.
		gate = make(chan struct{})
		here sync.WaitGroup
	)
	here.Add(writers)
	for i := range writers {
		wg.Go(func() {
			r := &gated{r: strings.NewReader(strings.Repeat(string(rune('a'+i)), 1000)), here: &here, gate: gate}
			_, _, errs[i] = s.Put(t.Context(), "contested", r)
		})
	}
	here.Wait()
	close(gate)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("writers %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, host.ErrConflict):
			t.Errorf("writer %d: %v, want ErrConflict", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("no writer won")
	}
	if got, want := read(t, s, "contested"), strings.Repeat(string(rune('a'+winner)), 1000); got != want {
		t.Errorf("the blob does not hold what the winner wrote: %.20q", got)
	}
}

type gated struct {
	r    io.Reader
	once sync.Once
	here *sync.WaitGroup
	gate chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	g.once.Do(g.here.Done)
	<-g.gate
	return g.r.Read(p)
}

func testReaderFails(t *testing.T, s host.BlobStore) {
	broken := errors.New("connection reset")
	_, _, err := s.Put(t.Context(), "k", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("Put = %v, want the reader's error wrapped", err)
	}
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("after a failed Put, Open = %v, want ErrNotFound", err)
	}
	put(t, s, "k", "whole")
}

func testContextEnds(t *testing.T, s host.BlobStore) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("client went away")
	r := readerFunc(func(p []byte) (int, error) { // endless, and ends the context on the way
		cancel(gone)
		return len(p), nil
	})
	if _, _, err := s.Put(ctx, "k", r); !errors.Is(err, gone) {
		t.Errorf("Put = %v, want the context's cause", err)
	}
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("after a canceled Put, Open = %v, want ErrNotFound", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func testMissing(t *testing.T, s host.BlobStore) {
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("Delete of what is not there = %v, want nil", err)
	}
	put(t, s, "k", "x")
	for range 2 {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Errorf("Delete = %v", err)
		}
	}
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("Open after Delete = %v, want ErrNotFound", err)
	}
	put(t, s, "k", "again")
}

func testDeletedWhileOpen(t *testing.T, s host.BlobStore) {
	put(t, s, "k", "still here")
	b, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "still here" || err != nil {
		t.Errorf("an open blob read %q, %v after its deletion", got, err)
	}
}

func testBadKeys(t *testing.T, s host.BlobStore) {
	for _, k := range []host.BlobKey{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a.b", ".tmp-x", "A", "ä", "a b", "a\x00", "a\\b", "a\n", host.BlobKey(strings.Repeat("a", 1000))} {
		if _, _, err := s.Put(t.Context(), k, strings.NewReader("x")); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("Put %q = %v, want ErrInvalid", k, err)
		}
		if _, err := s.Open(t.Context(), k); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("Open %q = %v, want ErrInvalid", k, err)
		}
		if err := s.Delete(t.Context(), k); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("Delete %q = %v, want ErrInvalid", k, err)
		}
	}
}

func put(t *testing.T, s host.BlobStore, key host.BlobKey, content string) {
	t.Helper()
	if _, _, err := s.Put(t.Context(), key, strings.NewReader(content)); err != nil {
		t.Fatalf("Put %s: %v", key, err)
	}
}

func read(t *testing.T, s host.BlobStore, key host.BlobKey) string {
	t.Helper()
	b, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open %s: %v", key, err)
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return string(got)
}
