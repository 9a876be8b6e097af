package workspace_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
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
	// Made once, with another number each time: to make it costs more than to read.
	record := first.central(0)
	digits := record[bytes.Index(record, []byte(first.name)):][:len(first.name)]
	buf.Grow(n*len(record) + 1<<10)
	for i := range n {
		number(digits, i)
		buf.Write(record)
	}
	end := rawZip{count: &count}.bytes()
	le.PutUint32(end[12:], uint32(buf.Len()-at))
	le.PutUint32(end[16:], uint32(at))
	buf.Write(end)
	return onDisk(t, buf.Bytes())
}

// number writes i over all of digits.
func number(digits []byte, i int) {
	for at := len(digits) - 1; at >= 0; at-- {
		digits[at] = byte('0' + i%10)
		i /= 10
	}
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

// endless is a tar of n entries of equally many bytes that are made as they are
// read: nobody holds them, and nothing is spent on packing them.
type endless struct {
	n     int64
	entry func(i int64) []byte
}

func (e endless) each() int64 { return int64(len(e.entry(0))) }
func (e endless) size() int64 { return e.n*e.each() + 2*tarBlock }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	for n, each := 0, e.each(); n < len(p); {
		i, skip := (off+int64(n))/each, (off+int64(n))%each
		if i >= e.n {
			clear(p[n:])
			break
		}
		n += copy(p[n:], e.entry(i)[skip:])
	}
	return len(p), nil
}

func TestMemoryMillionTar(t *testing.T) {
	// Made once, with another number each time; its complement beside it keeps
	// the checksum.
	const name = "000000/999999"
	entry := rawHeader('0', strings.Repeat("0", 77)+name, 0)
	digits := bytes.Index(entry, []byte(name))
	tar := endless{1_000_000, func(i int64) []byte {
		number(entry[digits:][:6], int(i))
		number(entry[digits+7:][:6], 999_999-int(i))
		return entry
	}}
	h := watchHeap(tar, 40)
	_, err := workspace.Check(t.Context(), h, tar.size(), workspace.Limits{})
	wantCode(t, refusalOf(t, err), workspace.CodeTooManyEntries)
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes, at %d reads", h.grown(), h.reads)
	}
}

// TestMemoryLongNames accepts as many and as long paths as the default limits
// do: 100 MB of them, which must not be kept. The tar is a bare one: to gzip its
// 250 MB took most of this package's time.
func TestMemoryLongNames(t *testing.T) {
	const n = 99_990
	// Made once, with another number each time: to make it costs more than to read.
	name := fmt.Sprintf("%0250d/%0250d/%0250d/%0250d", 0, 0, 0, 0)
	entry := append(pax('x', paxRecord("path", name)), rawHeader('0', "short", 0)...)
	digits := bytes.LastIndex(entry, []byte("00000\n"))
	tar := endless{n, func(i int64) []byte {
		number(entry[digits:][:5], int(i))
		return entry
	}}
	h := watchHeap(tar, 100)
	sum, err := workspace.Check(t.Context(), h, tar.size(), workspace.Limits{})
	if err != nil || sum.Files != n {
		t.Errorf("Check = %+v, %v", sum, err)
	}
	if h.grown() > memoryBound || h.peak == 0 {
		t.Errorf("the heap grew by %d bytes, at %d reads", h.grown(), h.reads)
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
