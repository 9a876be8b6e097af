// Package treecopy gives a directory tree a second place, read-only, without
// copying what it can share.
package treecopy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Copy makes dst, which must not exist, a copy of the tree src. Files that may
// be linked are linked: whoever gets the copy must not be able to write to them.
// Links are made again and not followed; sockets and the like are left out. On
// an error part of dst may be there.
func Copy(dst, src string) error {
	if err := copyDir(dst, src); err != nil {
		return fmt.Errorf("copy the tree %s: %w", src, err)
	}
	return nil
}

func copyDir(dst, src string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dst, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		switch e.Type() {
		case fs.ModeDir:
			err = copyDir(to, from)
		case 0:
			err = copyFile(to, from)
		case fs.ModeSymlink:
			var target string
			if target, err = os.Readlink(from); err == nil {
				err = os.Symlink(target, to)
			}
		}
		if err != nil {
			return err
		}
	}
	return os.Chmod(dst, 0o555)
}

func copyFile(dst, src string) (err error) {
	if os.Link(src, dst) == nil {
		return nil
	}
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(info.Mode().Perm()&0o111 | 0o444)
}
