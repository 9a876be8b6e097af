package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/treecopy"
)

// Give puts the tree at dst, a path that is free and on the same file system, for
// a process that sees nothing but what lies there. The tree of a scan's only job, or
// of its last, is moved, and then belongs to whoever owns dst; one that other jobs of
// the scan use, or may, is linked file by file. gone takes it away from dst again; what a
// plugin has changed there it leaves. On an error the tree is where it was.
func (t *Tree) Give(dst string) (gone func(), err error) { return t.give(dst) }

func (m *Manager) give(s *shared, job host.JobID, dst string) (func(), error) {
	m.mu.Lock()
	others := len(s.left) // that have had it
	if s.left[job] {
		others--
	}
	alone := s.refs == 1 && others >= s.of-1 && !s.lent && !m.closed
	if alone {
		// Who asks for the scan's tree from now on unpacks another.
		s.lent = true
		if m.trees[s.scan] == s {
			delete(m.trees, s.scan)
		}
	}
	m.mu.Unlock()
	gone := func() {
		if !s.tree.large() || !m.aside(dst) {
			s.tree.removeAt(dst)
		}
	}
	if !alone {
		if !oneFileSystem(m.dir, filepath.Dir(dst)) {
			// The caller may have a place where nothing has to be copied.
			return nil, fmt.Errorf("give the tree of scan %s: %w", s.scan, syscall.EXDEV)
		}
		if err := treecopy.Copy(dst, filepath.Join(m.dir, s.name)); err != nil {
			gone()
			return nil, fmt.Errorf("give the tree of scan %s: %w", s.scan, err)
		}
		return gone, nil
	}
	if err := move(filepath.Join(m.dir, s.name), dst); err != nil {
		m.mu.Lock()
		s.lent = false
		m.mu.Unlock()
		return nil, fmt.Errorf("give the tree of scan %s: %w", s.scan, err)
	}
	return gone, nil
}

// oneFileSystem reports whether files of one directory can be linked into another.
func oneFileSystem(a, b string) bool {
	device := func(path string) (any, bool) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil, false
		}
		return st.Dev, true
	}
	x, known := device(a)
	y, too := device(b)
	return !known || !too || x == y
}

// move renames a sealed tree. A directory that gets another parent must be
// writable itself.
func move(src, dst string) error {
	if err := os.Chmod(src, 0o700); err != nil {
		return err
	}
	if err := os.Rename(src, dst); err != nil {
		return errors.Join(err, os.Chmod(src, 0o555))
	}
	return os.Chmod(dst, 0o555)
}

// removeAt takes apart what is at dst and was made as t was.
func (t *tree) removeAt(dst string) {
	there, err := openTree(dst)
	if err != nil {
		return
	}
	defer there.close()
	dir, err := os.Open(filepath.Dir(dst))
	if err != nil {
		return
	}
	defer dir.Close()
	_ = there.like(t).remove(dir, filepath.Base(dst))
}
