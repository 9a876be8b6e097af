//go:build !linux

package executor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// openArtifact opens a regular file below the work directory, through no link
// that leads out of it and without waiting for a pipe, and gives its size.
func openArtifact(workDir, path string) (*os.File, int64, error) {
	root, err := os.OpenRoot(workDir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	at := ""
	for part := range strings.SplitSeq(path, "/") {
		at = filepath.Join(at, part)
		if info, err := root.Lstat(at); err != nil {
			return nil, 0, err
		} else if info.Mode()&os.ModeSymlink != 0 {
			return nil, 0, errors.New("there is a link in its path")
		}
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}
