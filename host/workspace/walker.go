package workspace

import (
	"hash/maphash"
	"io"
	"strings"
	"sync"

	"golang.org/x/text/cases"
)

// kind is what an entry is, as far as the rules care.
type kind int

const (
	kindFile kind = iota
	kindDir
	kindLink
	kindDevice
)

// walker holds what is known of an archive while it is walked. The zip and the
// tar side feed it entries; it applies the rules they share, and writes.
type walker struct {
	lim     Limits
	src     *source
	to      *tree // nil: only check
	ratio   int64 // of this format; 0: not compressed
	sum     Summary
	entries int
	spent   int64 // bytes that came out of the decoder

	// seen has a node for every file and directory by the hash of its folded
	// path. Hashes and not paths, because 100 000 paths of 1 KiB would be 100
	// MiB; the seed is secret, so nobody can make two paths meet.
	seen map[uint64]node
	seed maphash.Seed
	fold cases.Caser
	buf  []byte
}

type node struct {
	exact uint64 // hash of the path as it was spelled
	dir   bool
}

func newWalker(lim Limits, src *source, to *tree) *walker {
	return &walker{
		lim: lim, src: src, to: to,
		seen: make(map[uint64]node), seed: maphash.MakeSeed(), fold: cases.Fold(),
		buf: buffers.Get().(*[bufferSize]byte)[:], //nolint:forcetypeassert // the pool has no others
	}
}

// close gives back what the next walk can use. The walker is not used after it.
func (w *walker) close() {
	buffers.Put((*[bufferSize]byte)(w.buf))
	w.buf = nil
}

const bufferSize = 64 << 10

// bufferFor is how large a buffer for reading n bytes should be.
func bufferFor(n int64) int { return int(max(512, min(n, readBuffer))) }

// buffers are shared by all walks: making and clearing one would cost more than
// the rest of the walk through a small archive.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }} //nolint:gochecknoglobals // a pool has no state to depend on

// admit applies the rules to an entry's name and kind, makes the directories
// it needs, and returns its path. An entry that is to be dropped is counted
// and has the path "".
func (w *walker) admit(name string, k kind) (string, error) {
	if err := w.count(name); err != nil {
		return "", err
	}
	segs, err := w.lim.segments(name, k)
	if err != nil {
		return "", err
	}
	switch {
	case k == kindLink:
		w.sum.Dropped.Links++
		return "", nil
	case k == kindDevice:
		w.sum.Dropped.Devices++
		return "", nil
	case w.underGit(segs):
		w.sum.Dropped.Git++
		return "", nil
	}
	return strings.Join(segs, "/"), w.place(name, segs, k)
}

// count takes one from the budget of entries.
func (w *walker) count(name string) error {
	w.entries++
	if w.entries > w.lim.Entries {
		return refuseEntry(CodeTooManyEntries, name, "it has more than %d files and directories", w.lim.Entries)
	}
	return nil
}

// place enters a path and the directories on its way into seen, refuses twins,
// and makes the directories that are new.
func (w *walker) place(name string, segs []string, k kind) error {
	var folded, exact maphash.Hash
	folded.SetSeed(w.seed)
	exact.SetSeed(w.seed)
	for i, seg := range segs {
		folded.WriteString(w.foldSegment(seg))
		exact.WriteString(seg)
		// No segment has a NUL, so "a","b" and "ab" differ.
		folded.WriteByte(0)
		exact.WriteByte(0)
		last := i == len(segs)-1
		n := node{exact: exact.Sum64(), dir: !last || k == kindDir}
		key := folded.Sum64()
		old, known := w.seen[key]
		if known && (old != n || !n.dir) {
			return refuseEntry(CodeDuplicateName, name, "%s is there twice, or differs from another name only in case or Unicode form", quoted(strings.Join(segs[:i+1], "/")))
		}
		if known {
			continue
		}
		if !last {
			if err := w.count(name); err != nil {
				return err
			}
		}
		w.seen[key] = n
		if n.dir && w.to != nil {
			if err := w.to.mkdir(strings.Join(segs[:i+1], "/")); err != nil {
				return err
			}
		}
	}
	return nil
}

// spend takes n bytes that came out of the decoder from the budgets.
func (w *walker) spend(n int64) error {
	w.spent += n
	return w.afford(0)
}

// afford refuses when more bytes than were spent yet would break a budget.
func (w *walker) afford(more int64) error {
	if more > w.lim.UnpackedBytes-w.spent {
		return refuse(CodeTooLargeUnpacked, "it unpacks to more than %d bytes", w.lim.UnpackedBytes)
	}
	// spent+more is at most UnpackedBytes here; divide, as the product may overflow.
	if w.ratio > 0 && (w.spent+more-ratioFree)/w.ratio >= max(w.src.size, 1) {
		return refuse(CodeRatio, "it unpacks to more than %d times its size of %d bytes", w.ratio, w.src.size)
	}
	return nil
}

// file writes one admitted file from src, where reading it may fail because of
// the archive; readErr says why then. It returns how much it copied.
func (w *walker) file(path string, src io.Reader, readErr func(error) error) (n int64, err error) {
	var out output
	if w.to != nil {
		if out, err = w.to.create(path); err != nil {
			return 0, err
		}
		defer func() {
			if cerr := out.finish(err == nil); err == nil {
				err = cerr
			}
		}()
	}
	for {
		if err := w.src.check(); err != nil {
			return n, err
		}
		m, rerr := src.Read(w.buf)
		n += int64(m)
		if n > w.lim.FileBytes {
			return n, refuseEntry(CodeFileTooLarge, path, "the file is larger than %d bytes", w.lim.FileBytes)
		}
		if m > 0 && out != nil {
			if err := out.write(w.buf[:m]); err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			w.sum.Files++
			w.sum.UnpackedBytes += n
			return n, nil
		}
		if rerr != nil {
			return n, readErr(rerr)
		}
	}
}
