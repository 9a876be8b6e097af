package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Format is what an archive turned out to be.
type Format string

const (
	FormatZip     Format = "zip"
	FormatTar     Format = "tar"
	FormatTarGzip Format = "tar.gz"
	FormatTarZstd Format = "tar.zst"
)

// Summary is what an archive holds for a plugin.
type Summary struct {
	Format        Format
	Files         int   // regular files that a plugin will see
	UnpackedBytes int64 // in those files
	Dropped       Dropped
}

// Dropped counts the entries that were left out.
type Dropped struct {
	Links   int // symbolic and hard
	Devices int // devices, fifos and sockets
	Git     int // anything under a ".git"
}

// Total is how many entries were left out.
func (d Dropped) Total() int { return d.Links + d.Devices + d.Git }

// Check walks the whole archive of size bytes under the limits and writes
// nothing. A refusal is an *ArchiveError; any other error comes from r or ctx
// and says nothing about the archive. Memory does not grow with the archive.
func Check(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Summary, error) {
	return walk(ctx, r, size, lim, nil)
}

// Extract is Check that also writes what it walks below dir, an existing empty
// directory, and in the end makes it all read-only, dir included. On an error
// dir holds a part of the archive and is the caller's to remove.
func Extract(ctx context.Context, r io.ReaderAt, size int64, dir string, lim Limits) (Summary, error) {
	t, err := openTree(dir)
	if err != nil {
		return Summary{}, fmt.Errorf("open the directory to unpack into: %w", err)
	}
	defer t.close()
	return t.extract(ctx, r, size, lim)
}

// extract fills the tree.
func (t *tree) extract(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Summary, error) {
	sum, err := walk(ctx, r, size, lim, t)
	if err != nil {
		return Summary{}, err
	}
	if err := t.seal(); err != nil {
		return Summary{}, fmt.Errorf("make the unpacked tree read-only: %w", err)
	}
	return sum, nil
}

// walk tells the format and walks the archive; to is nil to only check.
func walk(ctx context.Context, r io.ReaderAt, size int64, lim Limits, to *tree) (Summary, error) {
	lim, err := lim.withDefaults()
	if err != nil {
		return Summary{}, err
	}
	slow := refuse(CodeTooSlow, "reading it took longer than %v", lim.Time)
	ctx, cancel := context.WithTimeoutCause(ctx, lim.Time, slow)
	defer cancel()
	alive := func() error {
		if ctx.Err() == nil {
			return nil
		}
		cause := context.Cause(ctx)
		if errors.Is(cause, slow) {
			return slow
		}
		return fmt.Errorf("read archive: %w", cause)
	}
	w := newWalker(lim, &source{r: r, size: size, alive: alive}, to)
	defer w.close()
	w.sum.Format, err = detect(w.src)
	if err != nil {
		return Summary{}, err
	}
	switch w.sum.Format {
	case FormatZip:
		w.ratio = lim.DeflateRatio
		err = w.zip()
	case FormatTarGzip:
		w.ratio = lim.DeflateRatio
		err = w.tarGzip()
	case FormatTarZstd:
		w.ratio = lim.ZstdRatio
		err = w.tarZstd()
	default:
		err = w.tar(w.packed())
	}
	if err == nil && w.sum.Files == 0 {
		err = refuse(CodeEmpty, "there is no regular file in it (%d entries were left out: links, devices, .git)", w.sum.Dropped.Total())
	}
	if err != nil {
		return Summary{}, err
	}
	return w.sum, nil
}

// detect tells the format from the first bytes. The name of the upload and its
// media type are the client's claims and are not asked.
func detect(src *source) (Format, error) {
	head := make([]byte, min(src.size, tarBlock))
	if _, err := io.ReadFull(io.NewSectionReader(src, 0, src.size), head); err != nil {
		return "", src.explain(err, "the archive")
	}
	for _, m := range []struct {
		magic string
		f     Format
		other string
	}{
		{magic: "PK\x03\x04", f: FormatZip},
		{magic: "PK\x05\x06", f: FormatZip},
		{magic: "\x1f\x8b", f: FormatTarGzip},
		{magic: "\x28\xb5\x2f\xfd", f: FormatTarZstd},
		{magic: "PK\x07\x08", other: "a part of a zip archive split over several files"},
		{magic: "PK00PK", other: "a part of a zip archive split over several files"},
		{magic: "BZh", other: "a bzip2 file"},
		{magic: "\xfd7zXZ\x00", other: "an xz file"},
		{magic: "7z\xbc\xaf\x27\x1c", other: "a 7z archive"},
		{magic: "Rar!\x1a\x07", other: "a RAR archive"},
	} {
		switch {
		case !bytes.HasPrefix(head, []byte(m.magic)):
		case m.other != "":
			return "", refuse(CodeUnsupported, "this is %s; send zip, tar, tar.gz or tar.zst", m.other)
		default:
			return m.f, nil
		}
	}
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18 {
		return FormatTarZstd, nil // begins with a skippable frame, as pzstd writes them
	}
	if isTar(head) {
		return FormatTar, nil
	}
	return "", refuse(CodeNotAnArchive, "its content is neither zip, tar, tar.gz nor tar.zst (%d bytes)", src.size)
}

// source is the packed archive. It remembers when reading failed for a reason
// that is not the archive's fault, because the decoders on top of it may
// report that as damage.
type source struct {
	r     io.ReaderAt
	size  int64
	alive func() error
	err   error
}

// check returns why the walk cannot go on, if so.
func (s *source) check() error {
	if s.err == nil {
		s.err = s.alive()
	}
	return s.err
}

// ReadAt is only asked for bytes within size, so any short read is one too few.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	n, err := s.r.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	s.err = fmt.Errorf("read archive: %w", err)
	return n, s.err
}

// explain says why reading what failed: the host's own fault first, then an
// error that already says it, then damage to the archive.
func (s *source) explain(err error, what string) error {
	var refused *ArchiveError
	switch {
	case s.err != nil:
		return s.err
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(CodeTruncated, "%s ends too early", what)
	}
	return refuse(CodeCorrupt, "%s cannot be read: %v", what, err)
}
