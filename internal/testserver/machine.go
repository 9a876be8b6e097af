package testserver

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const install = "install it with: apt-get install postgresql redis-server"

// binary finds an executable in PATH, then where Debian and its kin keep the
// PostgreSQL server programs, newest version first.
func binary(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s is neither in PATH nor under /usr/lib/postgresql: %s", name, install)
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// dropTo gives the user to run servers as: nil for the current one, and an
// unprivileged one for root, as whom PostgreSQL refuses to run.
func dropTo() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if uerr == nil && gerr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")
}

// tempDir makes a directory that cred owns, in parent or, for "", where temporary
// files are. It is not under t.TempDir, which
// only the test's own user may enter.
func tempDir(parent, pattern string, cred *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("make a data directory: %w", err)
	}
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return "", errors.Join(fmt.Errorf("give the data directory away: %w", err), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// inMemory is where data may be that need not last: a file system in memory that
// has room for far more than the tests' databases, or else "", for the one of
// temporary files. A database is three hundred files, and a file system on a
// disk spends more CPU on making and removing them than the server.
func inMemory() string {
	const dir, room = "/dev/shm", 4 << 30
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || uint64(st.Bavail)*uint64(st.Bsize) < room { //nolint:gosec,unconvert // no size is negative, and they are of other types elsewhere
		return ""
	}
	return dir
}

// freePort finds a port below the range from which the kernel takes ports for
// outgoing connections, so that a server that was killed can have it back.
func freePort() (int, error) {
	for range 200 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port between 20000 and 32000 on 127.0.0.1")
}

// logTail is the end of a server's log, for the error that says it did not start.
func logTail(path string) string {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return string(b[max(0, len(b)-2000):])
}
