package workspace

import (
	"slices"
	"time"
)

const (
	// unusedTime is how long a tree waits for more jobs of its scan. On a host that
	// has a slot for them they come within milliseconds.
	unusedTime = 10 * time.Second
	// maxUnused bounds the trees that wait.
	maxUnused = 8
)

// keep lets a tree wait for more jobs; m.mu is held. It gives the tree that has to
// go for it, nil for none.
func (m *Manager) keep(s *shared) (over *shared) {
	m.unused = append(m.unused, s)
	s.timer = time.AfterFunc(unusedTime, func() { m.expire(s) })
	if len(m.unused) > maxUnused {
		over = m.unused[0]
		m.forget(over)
	}
	return over
}

// wanted takes a tree back that waits; m.mu is held.
func (m *Manager) wanted(s *shared) {
	if s.timer == nil {
		return
	}
	s.timer.Stop()
	s.timer = nil
	m.unused = slices.DeleteFunc(m.unused, func(o *shared) bool { return o == s })
}

// forget takes a tree that waits out of all lists; m.mu is held.
func (m *Manager) forget(s *shared) {
	m.wanted(s)
	if m.trees[s.scan] == s {
		delete(m.trees, s.scan)
	}
}

// expire ends a tree's waiting, in a goroutine of its own that Close joins.
func (m *Manager) expire(s *shared) {
	m.mu.Lock()
	if m.closed || s.timer == nil { // wanted again, or gone
		m.mu.Unlock()
		return
	}
	m.forget(s)
	m.background.Add(1)
	defer m.background.Done()
	m.mu.Unlock()
	m.dropUnused(s)
}

func (m *Manager) dropUnused(s *shared) {
	if s != nil {
		s.cancel()
		m.removeTree(s)
	}
}
