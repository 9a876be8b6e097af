package workspace

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	tarBlock   = 512
	readBuffer = 64 << 10
)

func (w *walker) packed() *bufio.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(w.src, 0, w.src.size), bufferFor(w.src.size))
}

func (w *walker) tarGzip() error {
	gz, err := gzip.NewReader(w.packed())
	if err != nil {
		return w.src.explain(err, "the gzip stream")
	}
	return w.compressedTar(gz, "gzip")
}

func (w *walker) tarZstd() error {
	// One goroutine: the caller's. The decoder keeps at most a window and a
	// few blocks.
	dec, err := zstd.NewReader(w.packed(),
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(max(w.lim.ZstdWindow, zstd.MinWindowSize))),
		zstd.WithDecoderMaxMemory(uint64(max(w.lim.ZstdWindow, zstd.MinWindowSize))),
	)
	if err != nil {
		return w.src.explain(err, "the zstd stream")
	}
	defer dec.Close()
	return w.compressedTar(dec, "zstd")
}

// compressedTar looks into a compressed stream before it walks it as a tar, to
// tell a compressed something from a damaged tar.
func (w *walker) compressedTar(r io.Reader, name string) error {
	br := bufio.NewReaderSize(r, readBuffer)
	head, err := br.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return w.explainStream(err)
	}
	if !isTar(head) {
		return refuse(CodeNotAnArchive, "what the %s stream holds is not a tar", name)
	}
	return w.tar(br)
}

// explainStream is source.explain with a hint for the one refusal that people
// who pack with zstd may run into.
func (w *walker) explainStream(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return refuse(CodeUnsupported, "the zstd window is larger than %d bytes; pack it without --ultra and --long", w.lim.ZstdWindow)
	}
	return w.src.explain(err, "the archive")
}

// isTar reports whether a first block can be a tar's: a header whose checksum
// holds, or the zeros of a tar without entries.
func isTar(block []byte) bool {
	if len(block) < tarBlock {
		return false
	}
	block = block[:tarBlock]
	if isZero(block) {
		return true
	}
	const from, to = 148, 156 // the checksum itself, which counts as spaces
	field := strings.Trim(string(block[from:to]), " \x00")
	want, err := strconv.ParseInt(field, 8, 32)
	if err != nil {
		return false
	}
	var unsigned, signed int64 // old writers summed signed bytes
	for i, c := range block {
		if i >= from && i < to {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

func isZero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }

// tar walks a tar stream.
func (w *walker) tar(r io.Reader) error {
	m := &meter{r: r, w: w}
	tr := tar.NewReader(m)
	for {
		// Next reads what is left of the last entry's padding and then headers.
		m.header = w.lim.HeaderBytes + tarBlock
		before := m.read
		hdr, err := tr.Next()
		m.header = noHeader
		if err == io.EOF {
			return w.tarEnd(m, m.read-before)
		}
		if err != nil && (hdr == nil || !errors.Is(err, tar.ErrInsecurePath)) { // segments says more about a path
			return w.explainStream(m.explain(err))
		}
		if err := w.tarEntry(hdr, tr, m); err != nil {
			return err
		}
	}
}

func (w *walker) tarEntry(hdr *tar.Header, tr *tar.Reader, m *meter) error {
	if isSparse(hdr) {
		return refuseEntry(CodeSparse, hdr.Name, "sparse files are not taken; pack without --sparse")
	}
	var k kind
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader: // git archive writes one, with the commit in a comment
		return w.count(hdr.Name)
	case tar.TypeReg:
		k = kindFile
	case tar.TypeDir:
		k = kindDir
	case tar.TypeSymlink, tar.TypeLink:
		k = kindLink
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		k = kindDevice
	default:
		return refuseEntry(CodeUnsupported, hdr.Name, "it is of the unknown type %q", hdr.Typeflag)
	}
	if k == kindFile {
		if err := w.afford(hdr.Size); err != nil {
			return err
		}
	}
	path, err := w.admit(hdr.Name, k)
	if err != nil {
		return err
	}
	explain := func(err error) error { return w.explainStream(m.explain(err)) }
	switch {
	case path != "" && k == kindFile && hdr.Size > w.lim.FileBytes:
		return refuseEntry(CodeFileTooLarge, hdr.Name, "the file is larger than %d bytes", w.lim.FileBytes)
	case path != "" && k == kindFile:
		_, err = w.file(path, tr, explain)
		return err
	}
	for { // skip what was dropped
		_, err := tr.Read(w.buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return explain(err)
		}
	}
}

// tarEnd checks the end of a tar. The tar reader takes a stream that just
// stops between two entries for whole, and never looks at what follows the
// end marker; reading on also makes gzip and zstd check their checksums.
// last is how much the final Next read.
func (w *walker) tarEnd(m *meter, last int64) error {
	if last < tarBlock || m.zeros < tarBlock {
		return refuse(CodeTruncated, "the tar has no end marker")
	}
	for {
		n, err := m.Read(w.buf)
		if !isZero(w.buf[:n]) {
			return refuse(CodeCorrupt, "there is something after the end of the tar")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return w.explainStream(m.explain(err))
		}
	}
}

// isSparse tells sparse files in all forms: 2.5 KB of them expand to 1 TiB of
// zeros that no count of packed bytes would notice.
func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

const noHeader = -1

// meter sits below the tar reader. It bounds how much header is read for one
// entry, takes every byte from the budget, and watches the context.
type meter struct {
	r      io.Reader
	w      *walker
	read   int64
	header int64 // what Next may still read, or noHeader
	zeros  int64 // how many of the last bytes were zero
	err    error // why a read was refused; the tar reader may hide it
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err == nil {
		m.err = m.w.src.check()
	}
	if m.err == nil && m.header == 0 {
		m.err = refuse(CodeHeaderTooLarge, "the headers before one entry are larger than %d bytes", m.w.lim.HeaderBytes)
	}
	if m.err != nil {
		return 0, m.err
	}
	if m.header != noHeader {
		p = p[:min(int64(len(p)), m.header)]
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	if m.header != noHeader {
		m.header -= int64(n)
	}
	if tail := len(p[:n]) - len(bytes.TrimRight(p[:n], "\x00")); tail < n {
		m.zeros = int64(tail)
	} else {
		m.zeros += int64(n)
	}
	if m.err = m.w.spend(int64(n)); m.err != nil {
		return 0, m.err
	}
	return n, err
}

func (m *meter) explain(err error) error {
	if m.err != nil {
		return m.err
	}
	return err
}
