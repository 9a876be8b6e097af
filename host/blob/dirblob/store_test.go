package dirblob_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/blobtest"
	"github.com/securetaghq/securetag/host/blob/dirblob"
)

func TestStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) host.BlobStore { return open(t, t.TempDir()) })
}

// TestStoreNamed is for file systems that have no files without a name.
func TestStoreNamed(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) host.BlobStore {
		s := open(t, t.TempDir())
		s.UseNames()
		return s
	})
}

func open(t *testing.T, dir string) *dirblob.Store {
	t.Helper()
	s, err := dirblob.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// files lists the regular files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNothingLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, _, err := s.Put(t.Context(), "k", iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Fatal("Put of a failing reader succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Put(ctx, "k", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Fatalf("Put with an ended context = %v", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	s := open(t, dir)
	if _, _, err := s.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may look in", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSweep leaves what a crash leaves, and has one Put in progress that
// another process (here: another Store) must not take for a leftover.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	s.UseNames() // a file without a name is in no sweep's way
	if _, _, err := s.Put(t.Context(), "kept", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	kept := files(t, dir)
	for _, shard := range []string{filepath.Dir(kept[0]), "fff"} {
		if err := os.MkdirAll(filepath.Join(dir, shard), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, shard, ".tmp-DEAD"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, _, err := s.Put(t.Context(), "live", pr)
		done <- err
	}()
	if _, err := io.WriteString(pw, "first half, "); err != nil { // returns once Put reads
		t.Fatal(err)
	}
	if n, err := other.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("Sweep = %d, %v; want the 2 leftovers", n, err)
	}
	if _, err := io.WriteString(pw, "second half"); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Errorf("a Put that lived through a sweep: %v", err)
	}
	b, err := other.Open(t.Context(), "live")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, _ := io.ReadAll(b); string(got) != "first half, second half" {
		t.Errorf("read %q", got)
	}
	if n, err := other.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("second Sweep = %d, %v; want nothing to do", n, err)
	}
	if diff := cmp.Diff(2, len(files(t, dir))); diff != "" {
		t.Errorf("files in the store: %v", files(t, dir))
	}
}

// TestMemory is not parallel: it counts what the process allocates.
func TestMemory(t *testing.T) {
	s := open(t, t.TempDir())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := s.Put(t.Context(), "big", io.LimitReader(zeros{}, 256<<20)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("storing 256 MiB allocated %d bytes", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
