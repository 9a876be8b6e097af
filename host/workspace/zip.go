package workspace

import (
	"archive/zip"
	"bufio"
	"cmp"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// span is where an entry lies in the archive, its local header included.
type span struct{ from, to uint64 }

// zip walks a zip archive. The first pass over the directory looks at the
// layout only, so that a bomb of overlapping entries is refused before any of
// it is unpacked; the second unpacks.
func (w *walker) zip() error {
	end, err := w.zipEnd()
	if err != nil {
		return err
	}
	data := make([]uint64, 0, end.entries) // offsets of what is packed
	spans := make([]span, 0, end.entries)
	var kept, largest uint64
	err = w.zipDirectory(end, func(_ int, e zipEntry) error {
		off, err := w.zipLocal(e, end)
		if err != nil {
			return err
		}
		data = append(data, off)
		spans = append(spans, span{e.header, off + e.packed})
		if w.zipKept(e) {
			kept = saturatingAdd(kept, e.unpacked)
			largest = max(largest, e.unpacked)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := disjoint(spans); err != nil {
		return err
	}
	if largest > uint64(w.lim.FileBytes) {
		return refuse(CodeFileTooLarge, "it holds a file of %d bytes, more than %d", largest, w.lim.FileBytes)
	}
	if err := w.afford(int64(min(kept, 1<<62))); err != nil {
		return err
	}
	dec := inflaters.Get().(*inflater) //nolint:forcetypeassert // the pool has no others
	defer dec.release()
	return w.zipDirectory(end, func(i int, e zipEntry) error {
		return w.zipFile(e, int64(data[i]), dec)
	})
}

// zipLocal checks the entry's local header and returns where its data begins.
// A reader that streams goes by the local header, so the two must agree.
func (w *walker) zipLocal(e zipEntry, end zipEnd) (uint64, error) {
	outside := func() error { return refuseEntry(CodeCorrupt, e.name, "it lies outside the archive's entries") }
	if e.header > end.offset || end.offset-e.header < zipLocalLen {
		return 0, outside()
	}
	var fixed [zipLocalLen]byte
	if err := w.readAt(fixed[:], int64(e.header)); err != nil {
		return 0, err
	}
	if le32(fixed[:]) != zipLocalSig {
		return 0, refuseEntry(CodeCorrupt, e.name, "its local header is missing")
	}
	name := uint64(le16(fixed[26:]))
	off := e.header + zipLocalLen + name + uint64(le16(fixed[28:]))
	if off > end.offset || end.offset-off < e.packed {
		return 0, outside()
	}
	if le16(fixed[6:])&zipFlagEncrypted != 0 {
		return 0, refuseEntry(CodeEncrypted, e.name, "it is encrypted")
	}
	local := w.buf[:name] // at most 64 KiB - 1
	if err := w.readAt(local, int64(e.header+zipLocalLen)); err != nil {
		return 0, err
	}
	if string(local) != e.name {
		return 0, refuseEntry(CodeCorrupt, e.name, "its local header has another name, %s", quoted(string(local)))
	}
	if le16(fixed[8:]) != e.method {
		return 0, refuseEntry(CodeCorrupt, e.name, "its local header has another compression method")
	}
	return off, nil
}

// disjoint refuses entries that share bytes: 117 KB of them can unpack to 32
// GB. It sorts spans.
func disjoint(spans []span) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return refuse(CodeOverlappingEntries, "two entries of the zip archive overlap at byte %d", spans[i].from)
		}
	}
	return nil
}

func zipKind(e zipEntry) kind {
	switch {
	case e.mode&fs.ModeSymlink != 0:
		return kindLink
	case e.mode&(fs.ModeDevice|fs.ModeCharDevice|fs.ModeNamedPipe|fs.ModeSocket|fs.ModeIrregular) != 0:
		return kindDevice
	case e.mode.IsDir():
		return kindDir
	}
	return kindFile
}

// zipKept reports whether the entry's content will be unpacked.
func (w *walker) zipKept(e zipEntry) bool {
	return zipKind(e) == kindFile && !w.underGit(strings.Split(e.name, "/"))
}

func (w *walker) zipFile(e zipEntry, off int64, dec *inflater) error {
	k := zipKind(e)
	path, err := w.admit(e.name, k)
	if err != nil || path == "" {
		return err
	}
	if k == kindDir {
		if e.unpacked != 0 {
			return refuseEntry(CodeCorrupt, e.name, "it is a directory with content")
		}
		return nil
	}
	packed := io.NewSectionReader(w.src, off, int64(e.packed))
	var r io.Reader = packed
	if e.method == zip.Deflate {
		if r, err = dec.reset(packed); err != nil {
			return fmt.Errorf("start inflating: %w", err)
		}
	}
	sum := crc32.NewIEEE()
	in := &counted{r: r, w: w, most: int64(e.unpacked), name: e.name}
	n, err := w.file(path, io.TeeReader(in, sum), func(err error) error { return w.explainEntry(e.name, err) })
	if err != nil {
		return err
	}
	if uint64(n) != e.unpacked {
		return refuseEntry(CodeCorrupt, e.name, "it has %d bytes, not the %d its header says", n, e.unpacked)
	}
	if sum.Sum32() != e.crc {
		return refuseEntry(CodeCorrupt, e.name, "its checksum is wrong")
	}
	return nil
}

// explainEntry is source.explain for one entry. Its packed data lies within the
// archive, so ending early is damage there.
func (w *walker) explainEntry(name string, err error) error {
	var refused *ArchiveError
	switch {
	case w.src.err != nil:
		return w.src.err
	case errors.As(err, &refused):
		return refused
	}
	return refuseEntry(CodeCorrupt, name, "its packed data is damaged: %v", err)
}

// counted takes what is unpacked from the budget, and stops at the size that
// the header declared.
type counted struct {
	r    io.Reader
	w    *walker
	most int64
	name string
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.most -= int64(n)
	if c.most < 0 {
		return 0, refuseEntry(CodeCorrupt, c.name, "it is larger than its header says")
	}
	if err := c.w.spend(int64(n)); err != nil {
		return 0, err
	}
	return n, err
}

// inflater is one flate reader for all entries, and for the archives after this
// one: each costs 50 KiB to make.
type inflater struct {
	in  *bufio.Reader
	out io.ReadCloser
}

const inflateBuffer = 16 << 10

var inflaters = sync.Pool{New: func() any { return new(inflater) }} //nolint:gochecknoglobals // a pool has no state to depend on

// release gives it back, without the archive it has read from.
func (d *inflater) release() {
	if d.in != nil {
		d.in.Reset(nil)
	}
	inflaters.Put(d)
}

func (d *inflater) reset(packed io.Reader) (io.Reader, error) {
	if d.out == nil {
		d.in = bufio.NewReaderSize(packed, inflateBuffer)
		d.out = flate.NewReader(d.in)
		return d.out, nil
	}
	d.in.Reset(packed)
	return d.out, d.out.(flate.Resetter).Reset(d.in, nil)
}

func saturatingAdd(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}
