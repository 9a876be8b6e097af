package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a directory that is being filled. It asks the kernel directly: an
// os.File or an os.Root for each step makes six times as many system calls,
// which was most of what a short scan cost. Every path is resolved beneath the
// directory and through no link (openat2, since Linux 5.6).
type tree struct {
	fd   int
	can  powers
	list listing
	last string // the directory that lastFD is, "" for fd itself
	at   int
}

func openTree(dir string) (*tree, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &tree{fd: fd, at: fd}, nil
}

// like says that t holds what another tree does.
func (t *tree) like(other *tree) *tree {
	t.can, t.list = other.can, other.list
	return t
}

// makeTree makes the directory name in own and opens it.
func makeTree(own *os.File, name string, can powers) (t *tree, err error) {
	err = control(own, func(at int) error {
		if err := unix.Mkdirat(at, name, can.dirMode()); err != nil {
			return &os.PathError{Op: "mkdirat", Path: name, Err: err}
		}
		fd, err := openBeneath(at, name)
		t = &tree{fd: fd, at: fd, can: can}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tree) close() {
	t.leave()
	_ = unix.Close(t.fd)
}

// leave closes the directory that was used last.
func (t *tree) leave() {
	if t.at != t.fd {
		_ = unix.Close(t.at)
	}
	t.last, t.at = "", t.fd
}

// enter gives a descriptor of a directory in the tree, good until the next call.
// Entries of an archive mostly follow each other in one directory.
func (t *tree) enter(dir string) (int, error) {
	if dir == t.last {
		return t.at, nil
	}
	t.leave()
	fd, err := openBeneath(t.fd, dir)
	if err != nil {
		return -1, err
	}
	t.last, t.at = dir, fd
	return fd, nil
}

// openBeneath opens a directory below another. "" is that one itself, in a
// descriptor of its own.
func openBeneath(fd int, dir string) (int, error) {
	if dir == "" {
		dir = "."
	}
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	got, err := retry(func() (int, error) { return unix.Openat2(fd, dir, &how) })
	if err != nil {
		return -1, &os.PathError{Op: "openat2", Path: dir, Err: err}
	}
	return got, nil
}

// retry makes a system call again that a signal interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
	}
}

// mkdir makes a directory that is new; its parent is there already.
func (t *tree) mkdir(path string) error {
	dir, base := split(path)
	fd, err := t.enter(dir)
	if err == nil {
		if err = unix.Mkdirat(fd, base, t.can.dirMode()); err == nil {
			t.list.dir(path)
			return nil
		}
		err = &os.PathError{Op: "mkdirat", Path: path, Err: err}
	}
	return fmt.Errorf("unpack directory: %w", err)
}

// create makes a file that must not exist yet.
func (t *tree) create(path string) (output, error) {
	dir, base := split(path)
	fd, err := t.enter(dir)
	if err != nil {
		return nil, fmt.Errorf("unpack file: %w", err)
	}
	f, err := retry(func() (int, error) {
		return unix.Openat(fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, t.can.fileMode())
	})
	if err != nil {
		return nil, fmt.Errorf("unpack file: %w", &os.PathError{Op: "openat", Path: path, Err: err})
	}
	t.list.file(path)
	return file{f, t.can.exact}, nil
}

type file struct {
	fd    int
	exact bool // it has been read-only since it was made
}

func (f file) write(p []byte) error {
	for len(p) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(f.fd, p) })
		if err != nil {
			return fmt.Errorf("unpack file: %w", os.NewSyscallError("write", err))
		}
		p = p[n:]
	}
	return nil
}

func (f file) finish(whole bool) error {
	var err error
	if whole && !f.exact {
		// Through the descriptor, so that neither a umask nor a name comes between.
		err = os.NewSyscallError("fchmod", unix.Fchmod(f.fd, 0o444))
	}
	// What close says of a file on a disk that fails comes too late for Linux
	// to be of use; it is reported all the same.
	if err = errors.Join(err, os.NewSyscallError("close", unix.Close(f.fd))); err != nil {
		return fmt.Errorf("unpack file: %w", err)
	}
	return nil
}

// seal makes the directories of the tree read-only, which for most can only be
// done when nothing more is to be made in them.
func (t *tree) seal() error {
	defer t.leave()
	if t.can.sealed() {
		return nil
	}
	if t.list.long {
		return sealAll(t.fd)
	}
	for _, dir := range append(t.list.dirs, "") {
		fd, err := t.enter(dir)
		if err == nil {
			err = os.NewSyscallError("fchmod", unix.Fchmod(fd, 0o555))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sealAll finds the directories by looking. The tree has no links, and its depth
// is bounded by Limits.Depth.
func sealAll(fd int) error {
	own, err := openBeneath(fd, "")
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(own), ".")
	defer d.Close()
	for {
		entries, err := d.ReadDir(512)
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			sub, err := openBeneath(own, e.Name())
			if err == nil {
				err = errors.Join(sealAll(sub), unix.Close(sub))
			}
			if err != nil {
				return err
			}
		}
		if endOfDir(err) {
			return os.NewSyscallError("fchmod", unix.Fchmod(own, 0o555))
		}
		if err != nil {
			return err
		}
	}
}

// remove takes a tree apart that is just as it was made; its directory is name
// in the directory own. On an error something of it is left. It works on the
// directory that was made, whatever has that name by now.
func (t *tree) remove(own *os.File, name string) error {
	if t.list.long {
		return errors.New("not remembered")
	}
	if err := t.empty(); err != nil {
		return err
	}
	return control(own, func(fd int) error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
}

func (t *tree) empty() error {
	// From the top: what is in a sealed directory can only be reached and
	// removed once it is open again. For root all of them are.
	for _, dir := range append([]string{""}, t.list.dirs...) {
		if t.can.above {
			break
		}
		fd, err := t.enter(dir)
		if err == nil {
			err = unix.Fchmod(fd, 0o700)
		}
		if err != nil {
			return err
		}
	}
	for _, path := range t.list.files {
		if err := t.unlink(path, 0); err != nil {
			return err
		}
	}
	for i := range t.list.dirs {
		if err := t.unlink(t.list.dirs[len(t.list.dirs)-1-i], unix.AT_REMOVEDIR); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) unlink(path string, flags int) error {
	dir, base := split(path)
	fd, err := t.enter(dir)
	if err != nil {
		return err
	}
	return unix.Unlinkat(fd, base, flags)
}

// changed is when a file's content or attributes last changed.
func changed(info fs.FileInfo) (at time.Time, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return at, false
	}
	return time.Unix(st.Ctim.Unix()), true
}
