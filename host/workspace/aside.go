package workspace

import (
	"os"
	"path/filepath"
)

// maxAside is how many trees are taken apart at once with no job waiting for it.
// When so many are, a job does wait: trees must not come faster than they go.
const maxAside = 4

// aside takes a large tree away from path, on the same file system, and apart in a
// goroutine that Close joins: 20,000 files take seconds, and what their job has
// found is known by then. It reports whether it did; if not, the tree is still
// there.
func (m *Manager) aside(path string) bool {
	if !m.startRemoving() {
		return false
	}
	bin := m.name("x")
	if err := m.own.Mkdir(bin, 0o700); err != nil {
		m.endRemoving()
		return false
	}
	// What is in the place of the directory may be a link, which move would follow.
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || move(path, filepath.Join(m.dir, bin, "d0")) != nil {
		_ = m.own.Remove(bin) // if that fails it goes with the manager
		m.endRemoving()
		return false
	}
	go func() {
		defer m.endRemoving()
		if err := emptyBin(m.own, bin); err != nil {
			m.log.Warn("could not remove a tree; the next start tries again", "dir", filepath.Join(m.dir, bin), "error", err)
		}
	}()
	return true
}

// startRemoving counts a tree that goes aside, if it may; Close waits for
// endRemoving.
func (m *Manager) startRemoving() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.removing == maxAside {
		return false
	}
	m.removing++
	m.background.Add(1)
	return true
}

func (m *Manager) endRemoving() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removing--
	m.background.Done()
}
