// Package dirblob keeps blobs as files in a local directory.
//
// A blob that Put accepted has been answered with 202, so it must survive the
// power going off the next moment. That takes an fsync of the file, a name that
// appears only afterwards, and an fsync of the directory that holds the name.
// The blob libraries for Go skip at least the last step, which is why this
// small adapter is our own.
//
// Layout below the directory, all private to the host's user (0700, 0600):
//
//	3fa/scans.0190...   the blob "scans/0190..."; 3fa is from a hash of its key
//	3fa/.tmp-XXXX       a Put in progress, where the file system has no files
//	                    without a name; its writer holds an flock on it
//
// The 4096 shards keep every directory small and spread the files over the
// disk: ext4 creates files up to twenty times slower where thousands were deleted in
// the last minutes. A crash leaves at most .tmp files, which [Store.Sweep] removes; the
// lock tells them from those that another process is writing right now. The
// directory must be on a file system with hard links and flock.
package dirblob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/spread"
)

const (
	tempPrefix = ".tmp-" // no key can make it: names never start with a dot
	maxKey     = 200     // bytes; a key becomes one file name
	copyBuffer = 128 << 10
	shardLen   = 3 // hex digits: 4096 shards
)

// Store is a host.BlobStore on a directory. Safe for concurrent use, also by
// several processes on the same directory.
type Store struct {
	root *os.Root
	dir  *os.File // the same directory

	// named: every Put gives its file a temporary name, because files without one
	// do not work here.
	named atomic.Bool

	mu      sync.Mutex
	durable map[string]bool // shards whose own name is known to be on disk
}

var _ host.BlobStore = (*Store)(nil)

// New opens the store in dir, which it creates when missing. Close it.
func New(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create blob directory: %w", err)
	}
	if err := syncPath(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, fmt.Errorf("sync the parent of blob directory %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	spread.Out(dir)
	s := &Store{root: root, durable: make(map[string]bool)}
	if s.dir, err = root.Open("."); err == nil {
		err = s.findShards()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read blob directory: %w", err), s.Close())
	}
	return s, nil
}

// findShards notes the shards that are there, and sees to it that their names
// are on disk, so that none has to be synced again one by one.
func (s *Store) findShards() error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1) // at most 4096 and a few
	if err != nil {
		return err
	}
	for _, name := range names {
		s.durable[name] = true
	}
	return d.Sync()
}

// Close lets go of the directory. Blobs that are open stay readable.
func (s *Store) Close() error {
	err := s.root.Close()
	if s.dir != nil {
		if derr := s.dir.Close(); !errors.Is(derr, fs.ErrClosed) {
			err = errors.Join(err, derr)
		}
	}
	return err
}

// Put implements host.BlobStore.
func (s *Store) Put(ctx context.Context, key host.BlobKey, r io.Reader) (size int64, sum string, err error) {
	name, err := fileName(key)
	if err != nil {
		return 0, "", err
	}
	size, sum, err = s.put(ctx, name, r)
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", host.ErrUnavailable, err)
		}
		return 0, "", fmt.Errorf("put blob %s: %w", key, err)
	}
	return size, sum, nil
}

func (s *Store) put(ctx context.Context, name string, r io.Reader) (size int64, sum string, err error) {
	shard := path.Dir(name)
	if err := s.makeShard(shard); err != nil {
		return 0, "", err
	}
	if !s.named.Load() {
		size, sum, err = s.putUnnamed(ctx, name, r)
		if !errors.Is(err, errNoUnnamed) {
			return size, sum, err
		}
		s.named.Store(true)
	}
	return s.putNamed(ctx, name, r)
}

// errNoUnnamed is of a place where a file cannot be without a name. Nothing was
// read then.
var errNoUnnamed = errors.New("no files without a name here")

// putNamed is put where every file has a name.
func (s *Store) putNamed(ctx context.Context, name string, r io.Reader) (size int64, sum string, err error) {
	shard := path.Dir(name)
	if _, err := s.root.Lstat(name); err == nil {
		return 0, "", fmt.Errorf("key is taken: %w", host.ErrConflict)
	}
	f, temp, err := s.createTemp(shard)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		err = errors.Join(err, ignoreMissing(s.root.Remove(temp)))
		f.Close() // after Sync, so nothing is lost; gives the lock back
	}()

	if size, sum, err = copyHashed(ctx, f, r); err != nil {
		return 0, "", err
	}
	if err := f.Sync(); err != nil {
		return 0, "", err
	}
	err = s.root.Link(temp, name)
	if errors.Is(err, fs.ErrExist) {
		return 0, "", fmt.Errorf("key is taken: %w", host.ErrConflict)
	}
	if err != nil {
		return 0, "", err
	}
	if err := s.syncDir(shard); err != nil {
		return 0, "", errors.Join(err, s.root.Remove(name))
	}
	return size, sum, nil
}

// makeShard makes the shard and sees to it that the shard's own name is on
// disk before anything in it is promised. Another process may have made it
// and not have synced it yet, so being there is not enough.
func (s *Store) makeShard(shard string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable[shard] {
		return nil
	}
	if err := s.root.Mkdir(shard, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.dir.Sync(); err != nil {
		return err
	}
	s.durable[shard] = true
	return nil
}

// createTemp makes a temporary file and locks it. A sweep that finds the file
// between the two steps takes it for a leftover and removes it; then the lock
// is on a file without a name, and another is made.
func (s *Store) createTemp(shard string) (*os.File, string, error) {
	for {
		name := shard + "/" + tempPrefix + rand.Text()
		f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, "", err
		}
		locked, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, "", errors.Join(fmt.Errorf("lock %s: %w", name, err), s.root.Remove(name))
		}
		if _, err := s.root.Lstat(name); locked && err == nil {
			return f, name, nil
		}
		f.Close()
	}
}

// buffers are for copying.
var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }} //nolint:gochecknoglobals // a pool has no state to depend on

// copyHashed copies r to w and looks at ctx between reads. It writes full
// buffers: what r is made of may be small.
func copyHashed(ctx context.Context, w io.Writer, r io.Reader) (int64, string, error) {
	h := sha256.New()
	pooled := buffers.Get().(*[copyBuffer]byte) //nolint:forcetypeassert // the pool has no others
	defer buffers.Put(pooled)
	buf := pooled[:]
	var size int64
	n := 0 // bytes in buf
	for {
		if ctx.Err() != nil {
			return 0, "", context.Cause(ctx)
		}
		m, rerr := r.Read(buf[n:])
		if n += m; n < len(buf) && rerr == nil {
			continue
		}
		h.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return 0, "", err
		}
		size += int64(n)
		n = 0
		if errors.Is(rerr, io.EOF) {
			return size, hex.EncodeToString(h.Sum(nil)), nil
		}
		if rerr != nil {
			return 0, "", fmt.Errorf("read what to store: %w", rerr)
		}
	}
}

// Open implements host.BlobStore.
func (s *Store) Open(ctx context.Context, key host.BlobKey) (host.Blob, error) {
	name, err := fileName(key)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, context.Cause(ctx))
	}
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open blob %s: %w", key, host.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	return &blob{f: f, size: info.Size()}, nil
}

// Delete implements host.BlobStore. The deletion, too, survives a crash: what
// a tenant was told is gone must not come back.
func (s *Store) Delete(ctx context.Context, key host.BlobKey) error {
	name, err := fileName(key)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("delete blob %s: %w", key, context.Cause(ctx))
	}
	err = s.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.syncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

// blob is an open file without the methods that would change it.
type blob struct {
	f    *os.File
	size int64
}

func (b *blob) Read(p []byte) (int, error)              { return b.f.Read(p) }
func (b *blob) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }
func (b *blob) Close() error                            { return b.f.Close() }
func (b *blob) Size() int64                             { return b.size }

// fileName is where a key's blob is kept. A slash becomes a dot, which no key
// contains, so two keys never share a file and "a" and "a/b" can both exist.
func fileName(key host.BlobKey) (string, error) {
	bad := len(key) == 0 || len(key) > maxKey
	for seg := range strings.SplitSeq(string(key), "/") {
		bad = bad || seg == "" || strings.ContainsFunc(seg, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
		})
	}
	if bad {
		return "", fmt.Errorf("blob key %.64q is not segments of a-z, 0-9 and '-' joined by '/', at most %d bytes: %w", string(key), maxKey, host.ErrInvalid)
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:2])[:shardLen] + "/" + strings.ReplaceAll(string(key), "/", "."), nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func syncPath(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
