package workspace

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dirMode is what a directory is made with; seal sets it for good where that is
// not it.
func (p powers) dirMode() uint32 {
	if p.sealed() {
		return 0o555
	}
	return 0o700
}

// fileMode is what a file is made with.
func (p powers) fileMode() uint32 {
	if p.exact {
		return 0o444
	}
	return 0o600
}

// findPowers tries them out with the directory name in own, which must be new
// and is gone after. What cannot be tried is not there.
func findPowers(own *os.File, name string) (p powers) {
	_ = control(own, func(at int) error {
		if err := unix.Mkdirat(at, name, 0o555); err != nil {
			return err
		}
		fd, err := openBeneath(at, name)
		if err == nil {
			p = tryPowers(fd)
			err = unix.Close(fd)
		}
		return errors.Join(err, unix.Unlinkat(at, name, unix.AT_REMOVEDIR))
	})
	return p
}

// tryPowers makes a file in a directory that was made read-only, and removes it.
func tryPowers(dir int) (p powers) {
	const name = "f"
	made := func() (int, error) {
		return unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	}
	exact := hasMode(dir, 0o555)
	f, err := retry(made)
	p.above = err == nil
	if errors.Is(err, unix.EACCES) && unix.Fchmod(dir, 0o700) == nil {
		f, err = retry(made)
	}
	if err != nil {
		return powers{}
	}
	p.exact = exact && hasMode(f, 0o444)
	if errors.Join(unix.Close(f), unix.Unlinkat(dir, name, 0)) != nil {
		return powers{}
	}
	return p
}

func hasMode(fd int, mode uint32) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&0o7777 == mode
}

// control calls f with a directory's descriptor, which stays open meanwhile.
func control(dir *os.File, f func(fd int) error) error {
	conn, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = conn.Control(func(fd uintptr) { ferr = f(int(fd)) })
	return errors.Join(err, ferr)
}
