package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/rmtree"
	"github.com/securetaghq/securetag/internal/spread"
)

const (
	lockName  = "lock"
	ownPrefix = "h"
)

// Manager hands out directories and removes them. Safe for concurrent use.
type Manager struct {
	base string // shared with other managers
	dir  string // this manager's own, absolute
	own  *os.Root
	at   *os.File // the same directory
	can  powers   // in it
	lock *os.File
	log  hclog.Logger
	next atomic.Int64 // numbers the names below dir

	background sync.WaitGroup // extracts, and removes

	mu       sync.Mutex
	lim      Limits // guarded by mu
	closed   bool
	trees    map[host.ScanID]*shared
	unused   []*shared // nobody has them, and more jobs of their scans may come; the longest unused first
	idle     []workDir // given back as they were handed out
	removing int       // trees, in goroutines of their own
}

// shared is a scan's tree: being extracted, then used by any number of jobs.
// Its fields are guarded by Manager.mu, but for those that are set before done
// is closed and only read after it.
type shared struct {
	scan   host.ScanID
	name   string
	cancel context.CancelFunc
	refs   int
	ended  bool                // extraction is over
	of     int                 // so many jobs the scan has; at least 1
	left   map[host.JobID]bool // those of them that have had it
	timer  *time.Timer         // it is unused, and goes then; nil: it is in use

	files atomic.Int64 // extracted so far
	done  chan struct{}
	sum   Summary
	tree  *tree // open, so that it can be taken apart quickly; the last to leave closes it
	err   error
	lent  bool // it is where Give moved it, and what removes it is there
}

// New makes a manager with a sub-directory of its own in dir, which it creates
// when missing. Close it. The limits apply to every tree it extracts.
func New(dir string, lim Limits, log hclog.Logger) (*Manager, error) {
	lim, err := lim.withDefaults()
	if err != nil {
		return nil, err
	}
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("workspace directory: %w", err)
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("create workspace directory: %w", err)
	}
	m := &Manager{base: base, lim: lim, log: log, trees: make(map[host.ScanID]*shared)}
	if err := m.claim(); err != nil {
		return nil, fmt.Errorf("create workspace in %s: %w", base, err)
	}
	return m, nil
}

// Widen makes every limit at least that of lim, for trees that are extracted
// from now on. None becomes smaller: an archive is held against the limits when
// it is taken in, and the scan that has it keeps to those.
func (m *Manager) Widen(lim Limits) error {
	lim, err := lim.withDefaults()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lim = m.lim.or(lim)
	return nil
}

func (m *Manager) limits() Limits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lim
}

// claim makes and locks the manager's own directory. No other manager sweeps
// while it is made, so a directory without a held lock has no owner.
func (m *Manager) claim() error {
	all, err := openLock(filepath.Join(m.base, lockName), true)
	if err != nil {
		return err
	}
	defer all.Close()
	if m.dir, err = os.MkdirTemp(m.base, ownPrefix); err != nil {
		return err
	}
	if m.lock, err = openLock(filepath.Join(m.dir, lockName), true); err != nil {
		return errors.Join(err, os.RemoveAll(m.dir))
	}
	if m.own, err = os.OpenRoot(m.dir); err == nil {
		m.at, err = m.own.Open(".")
	}
	if err == nil {
		// A confined plugin that serves many jobs has a user of its own, and is
		// shown this directory. The one above is for the host alone.
		err = os.Chmod(m.dir, 0o711)
	}
	if err != nil {
		m.lock.Close()
		return errors.Join(err, os.RemoveAll(m.dir))
	}
	spread.Out(m.dir)
	m.can = findPowers(m.at, m.name("p"))
	return nil
}

// Dir is the manager's own directory, which is removed with everything in it when
// the manager is closed, or, if its process dies, when another one sweeps.
func (m *Manager) Dir() string { return m.dir }

// Close ends running extractions, waits for them, and removes the manager's
// directory with all that is in it: call it when no job runs any more. Closing
// twice is no error.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	for _, s := range m.trees {
		s.cancel()
	}
	unused := m.unused
	m.unused = nil
	m.mu.Unlock()
	for _, s := range unused {
		s.timer.Stop()
		s.tree.close()
	}
	m.background.Wait()

	err := m.clear()
	// The lock goes last, and together with the directory: a sweep that found
	// the one without the other would think its owner dead.
	all, lerr := openLock(filepath.Join(m.base, lockName), true)
	if lerr == nil {
		defer all.Close()
	}
	err = errors.Join(err, lerr, rmtree.IgnoreMissing(m.own.Remove(lockName)), m.own.Close(), m.at.Close(), rmtree.IgnoreMissing(os.Remove(m.dir)), m.lock.Close())
	if err != nil {
		return fmt.Errorf("remove workspace: %w", err)
	}
	return nil
}

// clear removes everything in the manager's directory but the lock.
func (m *Manager) clear() error {
	for {
		entries, err := rmtree.ReadSome(m.own, ".")
		if err != nil {
			return err
		}
		if len(entries) <= 1 {
			return nil
		}
		for _, e := range entries {
			name := e.Name()
			switch {
			case name == lockName:
			case strings.HasPrefix(name, "x"):
				err = emptyBin(m.own, name)
			default:
				err = discard(m.own, name, m.name("x"))
			}
			if err != nil {
				return err
			}
		}
	}
}

// Sweep removes what managers that are gone left in the directory. It leaves
// alone what belongs to a live one, in this process or another.
func (m *Manager) Sweep(ctx context.Context) error {
	bins, err := m.collect()
	for _, bin := range bins {
		if ctx.Err() != nil {
			return fmt.Errorf("sweep workspace: %w", context.Cause(ctx))
		}
		m.log.Info("removing what a dead host left", "dir", filepath.Join(m.dir, bin))
		err = errors.Join(err, emptyBin(m.own, bin))
	}
	if err != nil {
		return fmt.Errorf("sweep workspace: %w", err)
	}
	return nil
}

// collect moves the directories of dead managers into bins of our own. It
// holds the lock that keeps new ones from being made meanwhile, so it only
// moves; removing comes after.
func (m *Manager) collect() (bins []string, err error) {
	all, err := openLock(filepath.Join(m.base, lockName), true)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	root, err := os.OpenRoot(m.base)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	entries, err := os.ReadDir(m.base)
	for _, e := range entries {
		dir := e.Name()
		if !e.IsDir() || !strings.HasPrefix(dir, ownPrefix) || dir == filepath.Base(m.dir) {
			continue
		}
		bin := m.name("x")
		moved, merr := adopt(root, dir, filepath.Base(m.dir)+"/"+bin)
		if moved {
			bins = append(bins, bin)
		}
		err = errors.Join(err, merr)
	}
	return bins, err
}

// adopt moves dir into a new bin when no living manager holds its lock.
func adopt(base *os.Root, dir, bin string) (bool, error) {
	lock, err := openLock(filepath.Join(base.Name(), dir, lockName), false)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && lock == nil) {
		return false, nil // gone, or alive
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := intoBin(base, dir, bin); err != nil {
		return false, err
	}
	return true, nil
}

// name makes a name below dir that was not used before. Short, because it is
// the front of many paths, some of which may name sockets.
func (m *Manager) name(prefix string) string {
	return prefix + strconv.FormatInt(m.next.Add(1), 36)
}

// remove removes a directory for good. When that fails it stays until the next
// start; the job it belonged to is none the worse.
func (m *Manager) remove(name string, who ...any) {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return // Close removes everything
	}
	if err := discard(m.own, name, m.name("x")); err != nil {
		m.log.Warn("could not remove a directory; the next start tries again", append(who, "dir", filepath.Join(m.dir, name), "error", err)...)
	}
}

// Tree is a scan's unpacked archive. Release it.
type Tree struct {
	root    string
	sum     Summary
	release func()
	give    func(dst string) (func(), error)
}

// Root is the absolute path of the read-only tree.
func (t *Tree) Root() string { return t.root }

// Summary is what was unpacked.
func (t *Tree) Summary() Summary { return t.sum }

// Release gives the tree back; the last one to do so removes it. Releasing
// twice is releasing once.
func (t *Tree) Release() { t.release() }

// Use is for what a tree is wanted: a job, of so many of the scan's. The zero
// value is the only job.
type Use struct {
	Job host.JobID
	Of  int
	// Told hears how many files are unpacked, while that takes some time; nil:
	// nobody does.
	Told func(files int)
}

// Acquire is AcquireFor the only job of a scan.
func (m *Manager) Acquire(ctx context.Context, scan host.ScanID, open func(context.Context) (host.Blob, error)) (*Tree, error) {
	return m.AcquireFor(ctx, scan, Use{}, open)
}

// AcquireFor returns the scan's tree. The first caller has it extracted from the
// blob that open opens; the others wait for that and share it. A caller whose
// ctx ends leaves at once and disturbs nobody; when all have left the
// extraction is canceled. An archive that is refused is an *ArchiveError, and
// whoever comes after it tries again.
//
// A tree that nobody has any more is removed, unless there are jobs of the scan
// that have not had it: they may be about to start here, where there are fewer
// slots than jobs, so it waits for them a little while.
func (m *Manager) AcquireFor(ctx context.Context, scan host.ScanID, u Use, open func(context.Context) (host.Blob, error)) (*Tree, error) {
	s, err := m.join(ctx, scan, u, open)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, u.Told); err != nil {
		m.leave(s, "")
		return nil, fmt.Errorf("wait for the tree of scan %s: %w", scan, err)
	}
	if s.err != nil {
		m.leave(s, "")
		return nil, fmt.Errorf("unpack scan %s: %w", scan, s.err)
	}
	return &Tree{
		root:    filepath.Join(m.dir, s.name),
		sum:     s.sum,
		release: sync.OnceFunc(func() { m.leave(s, u.Job) }),
		give:    func(dst string) (func(), error) { return m.give(s, u.Job, dst) },
	}, nil
}

// tellEvery is how often it is told how far an extraction is.
const tellEvery = 250 * time.Millisecond

// wait returns when the tree is extracted, or with the cause of ctx.
func (s *shared) wait(ctx context.Context, told func(int)) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if told != nil {
			told(int(s.files.Load()))
		}
	}
}

// join counts the caller in, and starts the extraction for the first.
func (m *Manager) join(ctx context.Context, scan host.ScanID, u Use, open func(context.Context) (host.Blob, error)) (*shared, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("unpack scan %s: the workspace is closed: %w", scan, host.ErrUnavailable)
	}
	if s := m.trees[scan]; s != nil {
		m.wanted(s)
		s.refs++
		return s, nil
	}
	// The extraction belongs to all who wait for it, so it does not end with
	// the first one's context.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &shared{scan: scan, name: m.name("t"), cancel: cancel, refs: 1, of: max(u.Of, 1), left: map[host.JobID]bool{}, done: make(chan struct{})}
	m.trees[scan] = s
	m.background.Go(func() { m.extract(ctx, s, open) })
	return s, nil
}

// leave counts a caller out, with the job that had the tree, "" for none; the
// last one has the tree removed, or kept for a while.
func (m *Manager) leave(s *shared, job host.JobID) {
	m.mu.Lock()
	s.refs--
	last := s.refs == 0
	if job != "" {
		s.left[job] = true
	}
	if last && s.ended && s.err == nil && !s.lent && s.of > 1 && len(s.left) < s.of && !m.closed {
		over := m.keep(s)
		m.mu.Unlock()
		m.dropUnused(over)
		return
	}
	if last && m.trees[s.scan] == s {
		delete(m.trees, s.scan)
	}
	lent := last && s.lent
	remove := last && s.ended && s.err == nil && !s.lent
	m.mu.Unlock()
	if lent {
		s.tree.close()
	}
	if last {
		s.cancel() // while it still runs, extract removes what it made
	}
	if remove {
		m.removeTree(s)
	}
}

// removeTree takes a tree apart as it was made, which is quick, and searches
// what is left when it has changed or is large.
func (m *Manager) removeTree(s *shared) {
	defer s.tree.close()
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	switch {
	case closed: // Close removes everything
	case s.tree.large() && m.aside(filepath.Join(m.dir, s.name)):
	case s.tree.remove(m.at, s.name) != nil:
		m.remove(s.name, "scan", s.scan)
	}
}

// extract runs in a goroutine of its own, which Close joins.
func (m *Manager) extract(ctx context.Context, s *shared, open func(context.Context) (host.Blob, error)) {
	sum, tree, err := m.extractTo(ctx, s.name, &s.files, open)
	if err != nil {
		m.remove(s.name, "scan", s.scan) // before anyone hears of the error and tries again
	}
	m.mu.Lock()
	s.sum, s.tree, s.err, s.ended = sum, tree, err, true
	abandoned := s.refs == 0
	if err != nil && m.trees[s.scan] == s {
		delete(m.trees, s.scan)
	}
	m.mu.Unlock()
	close(s.done)
	if abandoned && err == nil {
		m.removeTree(s)
	}
}

// extractTo recovers, because it runs decoders over hostile bytes: a fault in
// one of them fails that scan and nothing else.
func (m *Manager) extractTo(ctx context.Context, name string, files *atomic.Int64, open func(context.Context) (host.Blob, error)) (sum Summary, t *tree, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("panic while unpacking", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic while unpacking: %v", p)
		}
		if err != nil && t != nil {
			t.close()
		}
	}()
	if t, err = makeTree(m.at, name, m.can); err != nil {
		return Summary{}, nil, err
	}
	t.list.count = files
	blob, err := open(ctx)
	if err != nil {
		return Summary{}, t, fmt.Errorf("open archive: %w", err)
	}
	defer blob.Close()
	sum, err = t.extract(ctx, blob, blob.Size(), m.limits())
	return sum, t, err
}
