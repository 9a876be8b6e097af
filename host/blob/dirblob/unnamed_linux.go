package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host"
)

// putUnnamed writes a file that has no name before it is on disk: the kernel
// removes it when the process dies, nobody need be kept from sweeping it, and it
// takes a third of the system calls. The error is errNoUnnamed when the file
// system or the kernel does not have that.
func (s *Store) putUnnamed(ctx context.Context, name string, r io.Reader) (size int64, sum string, err error) {
	shard, base := path.Split(name)
	dir, err := s.openShard(path.Clean(shard))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL):
		return 0, "", errNoUnnamed
	case err != nil:
		return 0, "", &os.PathError{Op: "create a file without a name in", Path: shard, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // after Sync, so nothing is lost

	if size, sum, err = copyHashed(ctx, f, r); err != nil {
		return 0, "", err
	}
	if err := f.Sync(); err != nil {
		return 0, "", err
	}
	// The way that needs no privilege.
	err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), dir, base, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, fs.ErrExist) {
		return 0, "", fmt.Errorf("key is taken: %w", host.ErrConflict)
	}
	if err != nil { // no /proc, for one
		s.named.Store(true)
		return s.putNamed(ctx, name, io.NewSectionReader(f, 0, size))
	}
	if err := fsync(dir); err != nil {
		return 0, "", errors.Join(err, s.root.Remove(name))
	}
	return size, sum, nil
}

// openShard opens the shard's directory, which is there.
func (s *Store) openShard(shard string) (fd int, err error) {
	conn, err := s.dir.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := conn.Control(func(at uintptr) {
		fd, err = retry(func() (int, error) {
			return unix.Openat(int(at), shard, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
	})
	if cerr != nil {
		return -1, cerr
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: shard, Err: err}
	}
	return fd, nil
}

func fsync(fd int) error {
	_, err := retry(func() (int, error) { return 0, unix.Fsync(fd) })
	return os.NewSyscallError("fsync", err)
}

// retry makes a system call again that a signal interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
