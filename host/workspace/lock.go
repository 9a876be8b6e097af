package workspace

import (
	"errors"
	"os"
	"syscall"
)

// openLock opens the lock file name and takes its lock: wait says whether to
// wait for whoever holds it, otherwise nil means that it is held. The lock goes
// with the last descriptor, so with the process at the latest; the descriptor
// is close-on-exec, so no plugin inherits it.
func openLock(name string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, &os.PathError{Op: "flock", Path: name, Err: err}
	}
}
