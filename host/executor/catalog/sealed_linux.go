package catalog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errNoSealed: this machine has no memory that can be sealed and executed.
var errNoSealed = errors.New("no sealed memory")

// sealed copies f into memory that can be executed and never written again, by
// nobody.
func sealed(f *os.File) (*os.File, string, error) {
	fd, err := unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, which has MFD_EXEC
		fd, err = unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, "", errNoSealed
	}
	mem := os.NewFile(uintptr(fd), "plugin")
	sum, err := copyHashed(mem, f, maxExecutable)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		mem.Close()
		return nil, "", err
	}
	return mem, sum, nil
}
