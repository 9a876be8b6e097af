package workspace

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/rmtree"
)

// maxIdle is how many unused work directories are kept for the next attempt.
// Making and removing one for each job costs more than everything else around
// a short scan: ext4 searches long for an inode where many were freed lately.
const maxIdle = 64

// workDir is an empty directory that nobody uses.
type workDir struct {
	name  string
	made  fs.FileInfo
	since time.Time // known to be empty then
}

// WorkDir gives a private, writable, empty directory for one attempt of a job
// and returns its absolute path. release takes it back, and removes whatever is
// in it then; calling it again does nothing.
func (m *Manager) WorkDir(job host.JobID, attempt int) (path string, release func(), err error) {
	dir, ok := m.takeIdle()
	if ok && !m.untouched(dir) {
		m.remove(dir.name, "job", job) // somebody who survived the attempt before wrote into it
		ok = false
	}
	if !ok {
		if dir, err = m.makeWorkDir(); err != nil {
			return "", nil, fmt.Errorf("make work directory of job %s: %w", job, err)
		}
	}
	// What was true of it before it is handed out is true since now.
	dir.since = time.Now()
	path = filepath.Join(m.dir, dir.name)
	m.log.Debug("work directory", "job", job, "attempt", attempt, "dir", path)
	return path, sync.OnceFunc(func() {
		if !m.keepIdle(dir) {
			m.remove(dir.name, "job", job, "attempt", attempt)
		}
	}), nil
}

func (m *Manager) makeWorkDir() (workDir, error) {
	dir := workDir{name: m.name("w")}
	if err := m.own.Mkdir(dir.name, 0o700); err != nil {
		return dir, err
	}
	var err error
	dir.made, err = m.own.Lstat(dir.name)
	return dir, err
}

func (m *Manager) takeIdle() (dir workDir, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.idle) == 0 {
		return dir, false
	}
	last := len(m.idle) - 1
	dir = m.idle[last]
	m.idle = m.idle[:last]
	return dir, true
}

// keepIdle keeps a work directory that is just as it was made.
func (m *Manager) keepIdle(dir workDir) bool {
	if !m.untouched(dir) {
		return false
	}
	dir.since = time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.idle) >= maxIdle {
		return false
	}
	m.idle = append(m.idle, dir)
	return true
}

// tick is longer than the steps in which any kernel's file times go on.
const tick = 20 * time.Millisecond

// untouched reports whether a directory that was empty at dir.since is the one
// that was made, with its permissions, and empty. Whatever is put into a
// directory or taken out changes its time of change, which nobody can set; where
// that is so fresh that it may say nothing, the directory is read.
func (m *Manager) untouched(dir workDir) bool {
	now, err := m.own.Lstat(dir.name)
	if err != nil || !os.SameFile(dir.made, now) || now.Mode() != dir.made.Mode() {
		return false
	}
	before, ok := changed(dir.made)
	if after, _ := changed(now); ok && after.Equal(before) && before.Add(tick).Before(dir.since) {
		return true
	}
	left, err := rmtree.ReadSome(m.own, dir.name)
	return err == nil && len(left) == 0
}
