package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The trees, by name, in the order in which they are scanned.
const (
	sampleTree     = "sample"
	ownTree        = "given sample"
	emptyTree      = "empty"
	hugeTree       = "huge file"
	longTree       = "long line"
	binaryTree     = "binary"
	manyTree       = "many files"
	oddTree        = "odd names"
	deepTree       = "deep"
	linksTree      = "links"
	unreadableTree = "unreadable"
	specialTree    = "special files"
)

func (k *kit) treeNames() []string {
	if k.opts.trees != nil {
		return k.opts.trees
	}
	names := []string{
		sampleTree, emptyTree, hugeTree, longTree, binaryTree, manyTree,
		oddTree, deepTree, linksTree, unreadableTree, specialTree,
	}
	if k.opts.Sample != "" {
		names = append(names, ownTree)
	}
	return names
}

// builder writes a tree. It keeps its first error.
type builder struct {
	root string
	err  error
}

func (b *builder) path(rel string) string { return b.root + string(filepath.Separator) + rel }

func (b *builder) dir(rel string) {
	if b.err == nil {
		b.err = os.MkdirAll(b.path(rel), 0o755)
	}
}

func (b *builder) file(rel string, content []byte) {
	if i := strings.LastIndexByte(rel, '/'); i > 0 {
		b.dir(rel[:i])
	}
	if b.err == nil {
		b.err = os.WriteFile(b.path(rel), content, 0o644)
	}
}

func (b *builder) link(to, rel string) {
	if b.err == nil {
		b.err = os.Symlink(to, b.path(rel))
	}
}

func (b *builder) chmod(rel string, mode os.FileMode) {
	if b.err == nil {
		b.err = os.Chmod(b.path(rel), mode)
	}
}

// tree makes a tree, once.
func (k *kit) tree(name string) (*tree, error) {
	if t := k.trees[name]; t != nil {
		return t, nil
	}
	b := &builder{root: filepath.Join(k.base, "trees", strings.ReplaceAll(name, " ", "-"))}
	if name == ownTree {
		b.root = k.opts.Sample
	} else {
		b.dir(".")
		k.fill(name, b)
	}
	if b.err != nil {
		return nil, fmt.Errorf("make the %s tree: %w", name, b.err)
	}
	t, err := newTree(name, b.root)
	if err != nil {
		return nil, err
	}
	k.trees[name] = t
	switch name {
	case sampleTree:
		t.secrets = secrets()
	case linksTree:
		t.canary = canary
	}
	return t, nil
}

func (k *kit) fill(name string, b *builder) {
	switch name {
	case sampleTree:
		fillSample(b, "")
	case hugeTree:
		b.file("huge.log", nil)
		b.big("huge.log", k.opts.HugeFile, "2026-11-25T10:00:00Z INFO request served path=/index.html status=200 bytes=5120\n")
	case longTree:
		b.file("long.min.js", nil)
		b.big("long.min.js", k.opts.LongLine, "var a=function(b){return b+1};")
	case binaryTree:
		fillBinary(b)
	case manyTree:
		for i := range k.opts.Files {
			b.file(fmt.Sprintf("d%03d/f%05d.py", i/100, i), fmt.Appendf(nil, "def f%d(x):\n    return x * %d\n", i, i))
		}
	case oddTree:
		for _, name := range oddNames() {
			if b.file(name, []byte("name = value\n")); errors.Is(b.err, unix.EILSEQ) {
				b.err = nil // this file system wants UTF-8
			}
		}
	case deepTree:
		dir := strings.Repeat("a-long-directory-name/", 100)
		b.file(dir+"deep.py", []byte("x = 1\n"))
	case linksTree:
		k.fillLinks(b)
	case unreadableTree:
		b.file("readable.txt", []byte("x = 1\n"))
		b.file("closed.txt", []byte("x = 1\n"))
		b.file("closed/inside.txt", []byte("x = 1\n"))
		b.chmod("closed.txt", 0)
		b.chmod("closed", 0)
	case specialTree:
		b.file("regular.txt", []byte("x = 1\n"))
		b.special()
	}
}

// big appends a line until the file has a size.
func (b *builder) big(rel string, size int64, text string) {
	if b.err != nil {
		return
	}
	f, err := os.OpenFile(b.path(rel), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.err = err
		return
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for n := int64(0); n < size && b.err == nil; n += int64(len(text)) {
		_, b.err = io.WriteString(w, text)
	}
	if b.err == nil {
		b.err = w.Flush()
	}
	if err := f.Close(); b.err == nil {
		b.err = err
	}
}

// special makes what is no file: opening the fifo without O_NONBLOCK waits for
// ever.
func (b *builder) special() {
	if b.err != nil {
		return
	}
	if b.err = unix.Mkfifo(b.path("pipe.txt"), 0o644); b.err != nil {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		b.err = err
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if len(b.path("socket.txt")) < 100 { // else the name is too long for a socket, and the fifo must do
		b.err = unix.Bind(fd, &unix.SockaddrUnix{Name: b.path("socket.txt")})
	}
}

// oddNames are names that a file system takes and programs trip over.
func oddNames() []string {
	return []string{
		"new\nline.txt", "quo\"te'.txt", "back\\slash.txt", "-rf", "--help", " leading space", "trailing space ",
		"tab\there.txt", "caf\u00e9-nfc.txt", "cafe\u0301-nfd.txt", "\u202egnp.exe.txt", "\x1b[31mred.txt", "emoji-\U0001f600.txt",
		"percent%20.txt", "question?.txt", "star*.txt", "$(touch owned)", "`touch owned`", "a;b|c&d.txt", "con.txt", "...", "..hidden",
		"not-utf8-\xff\xfe.txt", "half-\xe2\x82.txt", "dir\nwith newline/file.txt", "\xff-dir/file.txt",
		strings.Repeat("x", 250) + ".txt",
	}
}

func fillBinary(b *builder) {
	random := make([]byte, 256<<10)
	r := rand.NewChaCha8([32]byte{}) // the same bytes every time
	_, _ = r.Read(random)            // never fails
	b.file("random.bin", random)
	b.file("zeros.bin", make([]byte, 256<<10))
	b.file("program", append([]byte("\x7fELF\x02\x01\x01\x00"), random[:64<<10]...))
	b.file("broken.zip", append([]byte("PK\x03\x04"), random[:4<<10]...))
	b.file("broken.tar.gz", append([]byte("\x1f\x8b\x08\x00"), random[:4<<10]...))
	b.file("broken.png", append([]byte("\x89PNG\r\n\x1a\n"), random[:4<<10]...))
	b.file("broken.json", []byte(strings.Repeat("[", 100_000)))
	b.file("broken.xml", []byte("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;"))
	b.file("broken.py", []byte("def f(:\n\x00\xff\xfe"))
	b.file("utf16.txt", []byte("\xff\xfex\x00=\x001\x00\n\x00"))
	b.file("latin1.txt", []byte("caf\xe9 = 1\n"))
	b.file("bom.txt", []byte("\xef\xbb\xbfx = 1\n"))
	b.file("crlf.txt", []byte("a\r\nb\r\n"))
	b.file("cr.txt", []byte("a\rb\r"))
	b.file("no-end.txt", []byte("x = 1"))
	b.file("empty.txt", nil)
}

// canary is what stands only outside of the target, next to secrets that any
// scanner of secrets finds.
const canary = "canary-c4f1e7-outside-of-the-target"

// fillLinks puts links to a directory beside the tree, with the sample in it.
func (k *kit) fillLinks(b *builder) {
	outside := filepath.Join(k.base, "outside")
	out := &builder{root: outside}
	fillSample(out, canary)
	if b.err == nil {
		b.err = out.err
	}
	b.file("inside.txt", []byte("x = 1\n"))
	b.file("sub/file.txt", []byte("x = 1\n"))
	b.link(filepath.Join(outside, "deploy", "prod.env"), "absolute.env")
	b.link("../../outside/deploy/prod.env", "relative.env")
	b.link(outside, "directory")
	b.link("../../../outside/src", "sub/src")
	b.link("/etc/passwd", "passwd.txt")
	b.link("/proc/self/environ", "environ.txt")
	b.link(".", "loop")
	b.link("nowhere", "dangling")
	b.link("itself", "itself")
}

// treeTranscript scans a tree once.
func (k *kit) treeTranscript(ctx context.Context, name string) (*transcript, error) {
	t, err := k.tree(name)
	if err != nil {
		return nil, err
	}
	return k.transcript(ctx, name, request{tree: t})
}
