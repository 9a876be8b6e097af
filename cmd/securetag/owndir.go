package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ownDir makes this user's directory below a shared one such as /tmp. Anybody
// may have made something of that name before; then it is an error.
func ownDir(shared string) (string, error) {
	dir := filepath.Join(shared, "securetag-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		return "", fmt.Errorf("%s is not a directory of this user alone (mode 0700): remove it", dir)
	}
	return dir, nil
}
