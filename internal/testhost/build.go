package testhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Untraced are flags of a build with -race that leave out the race detector in
// SQLite and the C library beneath it, which are C translated to Go: they keep
// their data outside of Go's heap, where the detector looks at nothing, and
// took three quarters of the CPU of host/sqlite's tests. The driver above them is traced, as
// is everything of ours. The Makefile says the same to go test, so that the
// two share what they compile.
var Untraced = []string{ //nolint:gochecknoglobals // a table, never written
	"-gcflags=modernc.org/sqlite/lib=-race=false",
	"-gcflags=modernc.org/libc=-race=false",
	"-gcflags=modernc.org/memory=-race=false",
}

// Build builds a command of the module in dir: as `make build` does, which has
// then compiled most of it, or with the race detector when args say -race. What
// packages build alike is linked once: go build leaves a file alone that is
// what it would write, and out becomes a copy of that.
func Build(dir, out string, args ...string) error {
	flags := []string{"-ldflags=-s -w", "-trimpath"}
	env := os.Environ()
	if slices.Contains(args, "-race") {
		flags = append(flags, Untraced...)
	} else {
		env = append(env, "CGO_ENABLED=0")
	}
	flags = append(flags, args...)
	if slices.Contains(args, "-overlay") { // of one test alone
		return goBuild(dir, env, out, flags)
	}
	shared, err := sharedFile(dir, flags)
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(shared+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock a shared build: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock a shared build: %w", err)
	}
	if err := goBuild(dir, env, shared, flags); err != nil {
		return err
	}
	return copyFile(out, shared)
}

func goBuild(dir string, env []string, out string, flags []string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", out}, flags...)...)
	cmd.Dir, cmd.Env = dir, env
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", flags, err, b)
	}
	return nil
}

// sharedFile names the file below bin/test of the repository for one way to
// build one command.
func sharedFile(dir string, flags []string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the module to build: %w", err)
	}
	root := dir
	for {
		if _, err := os.Stat(filepath.Join(root, "internal", "testhost")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", fmt.Errorf("build a command in %s: it is not in the repository", dir)
		}
		root = filepath.Dir(root)
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return "", fmt.Errorf("find the module to build: %w", err)
	}
	below := filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(below, 0o750); err != nil {
		return "", fmt.Errorf("make a directory for shared builds: %w", err)
	}
	sum := sha256.Sum256([]byte(rel + "\x00" + strings.Join(flags, "\x00")))
	return filepath.Join(below, hex.EncodeToString(sum[:8])), nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy a shared build: %w", err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // confined plugins have a user of their own
		return fmt.Errorf("copy a shared build: %w", err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // as go build writes it
	if err != nil {
		return fmt.Errorf("copy a shared build: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy a shared build: %w", err)
	}
	return nil
}
