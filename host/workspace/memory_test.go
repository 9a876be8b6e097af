package workspace_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/securetaghq/securetag/host/workspace"
)

const memoryBound = 24 << 20 // of live heap, beyond what was there before

// heapWatch is an archive that looks at the live heap again and again
// while it is read.
type heapWatch struct {
	r     io.ReaderAt
	every int
	reads int
	start uint64
	peak  uint64
}

func watchHeap(r io.ReaderAt, every int) *heapWatch {
	return &heapWatch{r: r, every: every, start: liveHeap()}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (h *heapWatch) ReadAt(p []byte, off int64) (int, error) {
	if h.reads++; h.reads%h.every == 0 {
		h.peak = max(h.peak, liveHeap())
	}
	return h.r.ReadAt(p, off)
}

// grown is how much the live heap grew at its peak.
func (h *heapWatch) grown() uint64 { return max(h.peak, h.start) - h.start }

// millionZip writes bare directory records for n files, all with the local
// header of the first, and an end record that gives the count modulo 65536.
func millionZip(t *testing.T, n int, count uint16) (*os.File, int64) {
	t.Helper()
	var buf bytes.Buffer
	first := rawEntry{name: "0000000"}
	buf.Write(first.local())
	at := buf.Len()
	for i := range n {
		e := rawEntry{name: fmt.Sprintf("%07d", i)}
		buf.Write(e.central(0))
	}
	end := rawZip{count: &count}.bytes()
	le.PutUint32(end[12:], uint32(buf.Len()-at))
	le.PutUint32(end[16:], uint32(at))
	buf.Write(end)
	return onDisk(t, buf.Bytes())
}

// onDisk takes an archive out of memory.
func onDisk(t *testing.T, data []byte) (*os.File, int64) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f, int64(len(data))
}

// TestMemoryMillionZip is not parallel: it measures the heap of the process.
// The same archive costs archive/zip ten times the bound, so the measure does
// see what it is there to see.
func TestMemoryMillionZip(t *testing.T) {
	f, size := millionZip(t, 1_000_000, 1_000_000%65536)
	h := watchHeap(f, 1)
	_, err := workspace.Check(t.Context(), h, size, workspace.Limits{})
	wantCode(t, refusalOf(t, err), workspace.CodeHeaderTooLarge)
	if h.grown() > memoryBound {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}

	std := watchHeap(f, 1000)
	r, err := zip.NewReader(std, size)
	if err != nil {
		t.Fatal(err)
	}
	std.peak = liveHeap()
	if len(r.File) != 1_000_000 || std.grown() < 4*memoryBound {
		t.Errorf("archive/zip read %d entries and grew the heap by %d: the measure is blind", len(r.File), std.grown())
	}
	runtime.KeepAlive(r)
}

// TestMemoryLargestZip is the most that the default limits let through to the
// second pass: 100 000 entries with long names.
func TestMemoryLargestZip(t *testing.T) {
	z := rawZip{zip64: true}
	for i := range 100_000 {
		z.entries = append(z.entries, rawEntry{name: fmt.Sprintf("%0100d", i)})
	}
	count := uint64(len(z.entries))
	z.count64 = &count
	f, size := onDisk(t, z.bytes())
	z.entries = nil
	h := watchHeap(f, 5000)
	sum, err := workspace.Check(t.Context(), h, size, workspace.Limits{})
	if err != nil || sum.Files != 100_000 {
		t.Errorf("Check = %+v, %v", sum, err)
	}
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}
}

// blocks is a tar of n empty files that is made as it is read. Every block is a
// header.
type blocks struct {
	n    int64
	name func(i int64) string
}

func (b blocks) size() int64 { return (b.n + 2) * tarBlock }

func (b blocks) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		i, skip := (off+int64(n))/tarBlock, (off+int64(n))%tarBlock
		block := make([]byte, tarBlock)
		if i < b.n {
			block = rawHeader('0', b.name(i), 0)
		}
		n += copy(p[n:], block[skip:])
	}
	return len(p), nil
}

func TestMemoryMillionTar(t *testing.T) {
	tar := blocks{1_000_000, func(i int64) string { return fmt.Sprintf("%090d", i) }}
	h := watchHeap(tar, 20)
	_, err := workspace.Check(t.Context(), h, tar.size(), workspace.Limits{})
	wantCode(t, refusalOf(t, err), workspace.CodeTooManyEntries)
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}
}

// TestMemoryLongNames accepts as many and as long paths as the default limits
// do: 100 MB of them, which must not be kept.
func TestMemoryLongNames(t *testing.T) {
	var buf bytes.Buffer
	gz, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(gz)
	const n = 99_990
	for i := range n {
		name := fmt.Sprintf("%0250d/%0250d/%0250d/%0250d", 0, 0, 0, i)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	f, size := onDisk(t, buf.Bytes())
	buf = bytes.Buffer{}
	h := watchHeap(f, 30)
	sum, err := workspace.Check(t.Context(), h, size, workspace.Limits{})
	if err != nil || sum.Files != n {
		t.Errorf("Check = %+v, %v", sum, err)
	}
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}
}

// TestMemoryHeaders stacks 50 MB of headers before one entry.
func TestMemoryHeaders(t *testing.T) {
	one := pax('x', paxRecord("comment", string(bytes.Repeat([]byte("c"), 1000<<10))))
	f, size := onDisk(t, bytes.Repeat(one, 50))
	h := watchHeap(f, 1)
	_, err := workspace.Check(t.Context(), h, size, workspace.Limits{})
	wantCode(t, refusalOf(t, err), workspace.CodeHeaderTooLarge)
	if h.grown() > memoryBound {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}
}

// TestMemoryWindow decodes with the largest window that is taken.
func TestMemoryWindow(t *testing.T) {
	noise := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	f, size := onDisk(t, zstdWindow(t, packTar(t, []item{file("a", string(noise))}), 8<<20))
	noise = nil //nolint:ineffassign,wastedassign // not part of what is measured
	h := watchHeap(f, 10)
	if _, err := workspace.Check(t.Context(), h, size, workspace.Limits{}); err != nil {
		t.Error(err)
	}
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes", h.grown())
	}
}
