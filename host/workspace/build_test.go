package workspace_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// item is an entry to pack, in terms that zip and tar share.
type item struct {
	name string
	body string
	link string      // target of a link
	mode fs.FileMode // type and permission bits
	hard bool
}

func file(name, body string) item   { return item{name: name, body: body, mode: 0o644} }
func dir(name string) item          { return item{name: name, mode: fs.ModeDir | 0o755} }
func symlink(name, to string) item  { return item{name: name, link: to, mode: fs.ModeSymlink | 0o777} }
func hardlink(name, to string) item { return item{name: name, link: to, hard: true, mode: 0o644} }

func packZip(t testing.TB, items []item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, it := range items {
		if it.hard {
			it.mode |= fs.ModeSymlink // zip has no hard links
		}
		h := &zip.FileHeader{Name: it.name, Method: zip.Deflate}
		h.SetMode(it.mode)
		if it.mode.IsDir() {
			h.Method = zip.Store
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		body := it.body
		if it.link != "" {
			body = it.link
		}
		if !it.mode.IsDir() {
			if _, err := io.WriteString(f, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tarHeader(it item) *tar.Header {
	h := &tar.Header{Name: it.name, Linkname: it.link, Mode: int64(it.mode.Perm()), Typeflag: tar.TypeReg}
	switch {
	case it.hard:
		h.Typeflag = tar.TypeLink
	case it.mode.IsDir():
		h.Typeflag = tar.TypeDir
	case it.mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
	case it.mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case it.mode&fs.ModeCharDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	case it.mode&fs.ModeDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, 8, 0
	default:
		h.Size = int64(len(it.body))
	}
	if it.mode&fs.ModeSetuid != 0 {
		h.Mode |= 0o4000
	}
	return h
}

func packTar(t testing.TB, items []item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, it := range items {
		h := tarHeader(it)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, it.body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// packers are the four formats.
func packers() map[string]func(testing.TB, []item) []byte {
	p := map[string]func(testing.TB, []item) []byte{"zip": packZip}
	for name, wrap := range wrappers() {
		p[name] = func(t testing.TB, items []item) []byte { return wrap(t, packTar(t, items)) }
	}
	return p
}

// wrappers turn a tar into the three formats that hold one.
func wrappers() map[string]func(testing.TB, []byte) []byte {
	return map[string]func(testing.TB, []byte) []byte{
		"tar":     func(_ testing.TB, data []byte) []byte { return data },
		"tar.gz":  gzipped,
		"tar.zst": zstded,
	}
}
