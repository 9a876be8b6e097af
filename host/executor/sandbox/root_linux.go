package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const defaultTmpSize = 64 << 20

// System directories that programs need: libraries, interpreters and what these
// come with. Links among them are made again as links.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"} //nolint:gochecknoglobals // a table, never written

// etcFiles is what is shown of /etc: what libraries look for, and nothing that an
// administrator would put a secret into. Where the authorities of TLS are differs
// from one distribution to the next, and without them every certificate looks bad.
var etcFiles = []string{ //nolint:gochecknoglobals // a table, never written
	"/etc/alternatives", "/etc/ca-certificates", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
	"/etc/localtime", "/etc/mime.types", "/etc/os-release", "/etc/protocols", "/etc/services", "/etc/timezone",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted",
}

// networkFiles are shown as well when the process has the host's network.
var networkFiles = []string{"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf"} //nolint:gochecknoglobals // a table, never written

var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"} //nolint:gochecknoglobals // a table, never written

// mount is a subtree of the host's that is to be seen inside, at its own path.
type mount struct {
	path string
	tree int // of open_tree; hidden: nothing is to be seen
	dir  bool
}

const hidden = -1

// makeRoot makes the root of spec and moves into it. Everything the new root has
// is opened before anything is mounted, because it is built on top of Tmp.
func (o *order) makeRoot() error {
	s := o.Spec
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	mounts, links, err := o.open()
	if err != nil {
		return err
	}
	size := s.Limits.TmpSize
	if size == 0 {
		size = defaultTmpSize
	}
	options := fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", size, max(size/(8<<10), 4096))
	if err := unix.Mount("tmpfs", s.Tmp, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a file system in memory: %w", err)
	}
	r := root(s.Tmp)
	for link, to := range links {
		if err := os.Symlink(to, r.at(link)); err != nil {
			return err
		}
	}
	if err := r.etc(o.UID, s.Tmp); err != nil {
		return err
	}
	// What is shown may lie below these two.
	err = errors.Join(r.writable("/tmp", "/tmp"), r.writable("/dev/shm", "/dev/shm"))
	for _, m := range mounts {
		if err := r.attach(m); err != nil {
			return fmt.Errorf("show %s: %w", m.path, err)
		}
	}
	if err := errors.Join(err, r.writable("/tmp", s.Tmp)); err != nil {
		return fmt.Errorf("make a place for temporary files: %w", err)
	}
	if o.Proc {
		err := unix.Mount("proc", r.at("/proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "")
		if err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	return r.enter(mounts)
}

// open opens what is shown, parents before children.
func (o *order) open() ([]mount, map[string]string, error) {
	read := slices.Clone(o.Spec.Read)
	optional := slices.Clone(etcFiles)
	if o.Spec.Network {
		optional = append(optional, networkFiles...)
	}
	links := map[string]string{}
	for _, dir := range systemDirs {
		if to, err := os.Readlink(dir); err == nil {
			links[dir] = to
		} else {
			optional = append(optional, dir)
		}
	}
	// What is behind such a link is shown already, where it leads.
	read = slices.DeleteFunc(read, func(p string) bool {
		for link := range links {
			if p == link || strings.HasPrefix(p, link+"/") {
				return true
			}
		}
		return false
	})
	const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID
	var mounts []mount
	add := func(path string, set uint64, missing bool) error {
		m, err := openMount(path, set)
		if missing && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("open %s for the sandbox: %w", path, err)
		}
		mounts = append(mounts, m)
		return nil
	}
	var err error
	shown := outermost(append(read, optional...), o.Spec.Hide)
	for _, p := range o.Spec.Hide {
		if slices.ContainsFunc(shown, func(above string) bool { return within(p, above) }) {
			mounts = append(mounts, mount{p, hidden, true})
		}
	}
	for _, p := range shown {
		err = errors.Join(err, add(p, readOnly|unix.MOUNT_ATTR_NODEV, slices.Contains(optional, p)))
	}
	for _, p := range o.Spec.Write {
		err = errors.Join(err, add(p, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, false))
	}
	for _, p := range devices {
		err = errors.Join(err, add(p, readOnly|unix.MOUNT_ATTR_NOEXEC, true))
	}
	slices.SortStableFunc(mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	return mounts, links, err
}

// outermost drops what is below another path of the list, unless something
// between the two is hidden.
func outermost(paths, hide []string) []string {
	slices.Sort(paths)
	var kept []string
	for _, p := range slices.Compact(paths) {
		if !slices.ContainsFunc(kept, func(k string) bool {
			return within(p, k) && !slices.ContainsFunc(hide, func(h string) bool { return within(h, k) && (p == h || within(p, h)) })
		}) {
			kept = append(kept, p)
		}
	}
	return kept
}

// within reports whether path is somewhere in dir.
func within(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") && path != dir
}

func openMount(path string, set uint64) (mount, error) {
	info, err := os.Stat(path)
	if err != nil {
		return mount{}, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return mount{}, os.NewSyscallError("open_tree", err)
	}
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: set})
	return mount{path, fd, info.IsDir()}, os.NewSyscallError("mount_setattr", err)
}

// root is the directory that becomes the root.
type root string

func (r root) at(path string) string { return string(r) + path }

func (r root) attach(m mount) error {
	if m.tree == hidden {
		err := unix.Mount("tmpfs", r.at(m.path), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m,nr_inodes=1k")
		if errors.Is(err, fs.ErrNotExist) {
			return nil // then there is nothing to hide
		}
		return os.NewSyscallError("mount", err)
	}
	if err := r.point(m.path, m.dir); err != nil {
		return err
	}
	if err := unix.MoveMount(m.tree, "", unix.AT_FDCWD, r.at(m.path), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return os.NewSyscallError("move_mount", err)
	}
	return unix.Close(m.tree)
}

// point makes what path is mounted on, where it is not there already.
func (r root) point(path string, dir bool) error {
	if _, err := os.Lstat(r.at(path)); err == nil {
		return nil
	}
	if dir {
		return os.MkdirAll(r.at(path), 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(r.at(path)), 0o755); err != nil {
		return err
	}
	// Not by an os.File, which is made ready for polling first.
	fd, err := unix.Open(r.at(path), unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	return unix.Close(fd)
}

// etc writes the little that a program asks of /etc, and the links of /dev.
func (r root) etc(uid int, home string) error {
	if uid == 0 {
		uid = os.Getuid()
	}
	for _, dir := range []string{"/etc", "/dev", "/proc", "/tmp", "/dev/shm"} {
		if err := os.MkdirAll(r.at(dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"/etc/passwd": fmt.Sprintf("root:x:0:0::/nonexistent:/usr/sbin/nologin\nplugin:x:%d:%d::%s:/usr/sbin/nologin\n", uid, uid, home),
		"/etc/group":  fmt.Sprintf("root:x:0:\nplugin:x:%d:\n", uid),
		"/etc/hosts":  "127.0.0.1 localhost\n::1 localhost\n",
	}
	for path, text := range files {
		if err := os.WriteFile(r.at(path), []byte(text), 0o444); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2"} {
		if err := os.Symlink(to, r.at(link)); err != nil {
			return err
		}
	}
	return nil
}

// writable mounts a directory of the root at path, itself or another, so that it
// stays writable there when the root is not.
func (r root) writable(dir, path string) error {
	if err := os.Chmod(r.at(dir), 0o1777); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, r.at(dir), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	return r.attach(mount{path, fd, true})
}

// enter makes it the root, read-only as what is hidden is, and lets go of the
// old one.
func (r root) enter(mounts []mount) error {
	if err := os.Chdir(string(r)); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	// The old root lies on top of the new one now.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	set := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	err := os.NewSyscallError("mount_setattr", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &set))
	for _, m := range mounts {
		if m.tree != hidden {
			continue
		}
		if e := unix.MountSetattr(unix.AT_FDCWD, m.path, 0, &set); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, os.NewSyscallError("mount_setattr", e))
		}
	}
	return err
}
