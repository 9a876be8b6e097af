package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/host/internal/treecopy"
)

// Confinement says what becomes of a plugin that this machine cannot confine.
type Confinement string

const (
	// Required refuses to start it while a wall of the sandbox does not hold.
	Required Confinement = "required"
	// BestEffort starts it with the layers that there are.
	BestEffort Confinement = "best_effort"
	// Unconfined starts it without a sandbox. See the package comment for what
	// holds its processes together then.
	Unconfined Confinement = "off"
)

// cell is the place of one confined process. It sees no more than what was shown to
// it when it was started. If that was before its job was known, the job's tree has
// to come to it: each slot is a directory of the host's that it sees read-only.
//
//	RunDir/p…/         its socket; it may write here
//	RunDir/p…/tmp      HOME and TMPDIR; in memory, where it has a root of its own
//	RunDir/p…/work     the work directory of its one job, or of each run
//	RunDir/p…/in       a slot, or RunDir/p…-in: see ownSlot
//	SlotDirs[i]/p…     more slots, on other file systems
type cell struct {
	jail   *sandbox.Jail
	exit   *proxy.Exit // nil: it has none
	dir    string
	limits sandbox.Limits
	slots  []slot
	sees   []string // where trees may stay
	hides  []string

	mu    sync.Mutex
	desks []string // Shared: empty directories for runs to write to
	made  int      // so many desks
}

type slot struct {
	path string
	dir  *os.File // the directory itself, whatever the plugin does to the path
}

// confine makes a cell for proc, unless it is not to be confined. tree is shown in it.
func (e *Executor) confine(proc *process, tree string) error {
	p := proc.plugin
	if p.Sandbox == Unconfined {
		return nil
	}
	if err := e.cfg.Sandbox.Support().Complete(); err != nil && p.Sandbox == Required {
		return err
	}
	if err := e.holdsEgress(p); err != nil && p.Sandbox == Required {
		return err
	}
	c := &cell{dir: proc.dir, limits: p.Limits, sees: slices.Clone(p.Read), hides: e.cfg.Hide}
	if p.Isolation == Shared {
		c.sees = append(c.sees, e.cfg.TreeDirs...)
	}
	if tree != "" {
		c.sees = append(c.sees, tree)
	}
	work := filepath.Join(proc.dir, "work")
	err := os.Mkdir(work, 0o700)
	if err == nil {
		err = c.addSlots(append([]string{e.ownSlot(proc.dir)}, e.slotPaths(proc.dir)...))
	}
	if err == nil {
		c.jail, err = e.cfg.Sandbox.New(e.spec(c, proc))
	}
	if err == nil {
		err = c.jail.Own(proc.dir, proc.runner.workDir, work, proc.ownFiles())
	}
	if err == nil && p.Egress != nil && e.holdsEgress(p) == nil {
		err = e.openExit(c, proc)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make its sandbox: %w", err), c.close())
	}
	proc.cell, proc.runner.jail, proc.runner.way, proc.runner.limits = c, c.jail, c.exit, p.Limits
	return nil
}

// ownFiles is the process's copy of the plugin's files or, without one, its own
// directory again.
func (p *process) ownFiles() string {
	if strings.HasPrefix(p.runner.cwd, p.dir+string(filepath.Separator)) {
		return p.runner.cwd
	}
	return p.dir
}

// ownSlot is the process's slot on the file system of its directory. In a root of
// its own it is a read-only mount in that directory; Landlock takes away nothing
// below what may be written to, so it lies beside it there.
func (e *Executor) ownSlot(dir string) string {
	if e.cfg.Sandbox.Support().Has(sandbox.LayerRoot) {
		return filepath.Join(dir, "in")
	}
	return dir + "-in"
}

// slotPaths are the process's places on the other file systems.
func (e *Executor) slotPaths(dir string) []string {
	var paths []string
	for _, d := range e.cfg.SlotDirs {
		paths = append(paths, filepath.Join(d, filepath.Base(dir)))
	}
	return paths
}

func (c *cell) addSlots(paths []string) error {
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		dir, err := os.Open(path)
		if err != nil {
			return err
		}
		c.slots = append(c.slots, slot{path, dir})
	}
	return nil
}

// spec is what the process gets to see.
func (e *Executor) spec(c *cell, proc *process) sandbox.Spec {
	r := proc.runner
	s := sandbox.Spec{
		Argv: append([]string{r.path}, r.args...), Dir: r.cwd,
		Read: slices.Clone(c.sees), Write: []string{proc.dir}, Tmp: r.workDir,
		Limits: proc.plugin.Limits, Network: proc.plugin.Network, Hide: c.hides,
		Egress: proc.plugin.Egress != nil && e.holdsEgress(proc.plugin) == nil,
	}
	s.Network = s.Network || proc.plugin.Egress != nil && !s.Egress
	if s.Limits.Memory > 0 {
		s.Limits.TmpSize = s.Limits.Memory / 2
	}
	for _, slot := range c.slots {
		s.Read = append(s.Read, slot.path)
	}
	if !strings.HasPrefix(r.cwd, proc.dir+string(filepath.Separator)) {
		s.Read = append(s.Read, r.cwd) // a plugin in development, where its author has it
	}
	s.Read = append(s.Read, shown(r.path)...)
	for _, arg := range r.args { // an interpreter's program
		if info, err := os.Stat(arg); err == nil && filepath.IsAbs(arg) && filepath.Clean(arg) == arg && info.Mode().IsRegular() {
			s.Read = append(s.Read, shown(arg)...)
		}
	}
	return s
}

// shown is what belongs to a program: the directory it is in, under the path it
// was given and under the one that links lead to; a virtual environment of Python
// whole. A directory that its owner keeps to himself is not shown, nor is a home.
func shown(path string) []string {
	var show []string
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return []string{path} // the start says what is wrong with it
	}
	for _, p := range slices.Compact([]string{path, real}) {
		dir := filepath.Dir(p)
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "pyvenv.cfg")); err == nil {
			dir = filepath.Dir(dir)
		}
		home, _ := os.UserHomeDir()
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o005 != 0o005 || dir == "/" || dir == "/tmp" || dir == home {
			dir = p
		}
		show = append(show, dir)
	}
	return show
}

// hint tells runtimes what they can have, unless the operator did. It is called
// on a nil cell too.
func (c *cell) hint(env []string) []string {
	if c == nil {
		return env
	}
	tell := func(name, value string) {
		if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			env = append(env, name+"="+value)
		}
	}
	if c.limits.Memory > 0 {
		tell("GOMEMLIMIT", fmt.Sprintf("%dMiB", c.limits.Memory*8/10>>20))
	}
	if c.limits.CPUs > 0 {
		tell("GOMAXPROCS", fmt.Sprint(c.limits.CPUs))
	}
	return env
}

// close gives everything back when the process has ended. It is called on a nil
// cell too, and on one that is half made.
func (c *cell) close() error {
	if c == nil {
		return nil
	}
	if c.exit != nil {
		c.exit.Close()
	}
	if c.jail != nil {
		c.jail.Close()
	}
	var err error
	for _, s := range c.slots {
		s.dir.Close()
		if filepath.Dir(s.path) != c.dir {
			err = errors.Join(err, removeDir(s.path))
		}
	}
	return err
}

// occupy brings a task to where the process sees it, and watches what it writes
// until leave.
func (p *process) occupy(t host.Task, run string) (_ host.Task, leave func(), err error) {
	c := p.cell
	if c == nil {
		return t, func() {}, nil
	}
	var undo []func()
	leave = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	t.WorkDir = filepath.Join(p.dir, "work")
	if p.plugin.Isolation == Shared {
		if t.WorkDir, err = c.desk(t.WorkDir); err == nil {
			desk := t.WorkDir
			undo = append(undo, func() { c.clear(desk) })
		}
	}
	if err == nil && t.Root != "" && !c.visible(t.Root) {
		var gone func()
		t.Root, gone, err = c.bring(t, run)
		undo = append(undo, gone)
	}
	if err != nil {
		leave()
		f := p.fault(host.CodeInternal, true, "could not be given its target; the host's log has the details")
		f.Err = err
		return t, nil, f
	}
	undo = append(undo, p.watchDisk(), p.watchEgress(t))
	return t, leave, nil
}

// visible reports whether the process sees the path already.
func (c *cell) visible(path string) bool {
	return slices.ContainsFunc(c.sees, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

// bring moves the tree into a slot, or copies it into the first.
func (c *cell) bring(t host.Task, run string) (root string, gone func(), err error) {
	name := "t" + run
	for _, s := range c.slots {
		if t.Give == nil {
			break
		}
		if gone, err = t.Give(s.at(name)); err == nil {
			return filepath.Join(s.path, name), gone, nil
		} else if !errors.Is(err, syscall.EXDEV) {
			return "", func() {}, err
		}
	}
	s := c.slots[0]
	root = filepath.Join(s.path, name)
	return root, func() { _ = removeDir(root) }, treecopy.Copy(s.at(name), t.Root)
}

// at is a path of a name in the slot that no link leads elsewhere.
func (s slot) at(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), name) }

const (
	diskLook  = 500 * time.Millisecond
	diskFiles = 50_000 // in a process's directory
)

// watchDisk kills the process when it has more on disk than it may, until stop.
func (p *process) watchDisk() (stop func()) {
	if p.plugin.Disk <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(diskLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.runner.done:
				return
			case <-tick.C:
			}
			if bytes, files := onDisk(p.dir); bytes > p.plugin.Disk {
				p.runner.killFor(fmt.Sprintf("out of disk: limit %d MiB", p.plugin.Disk>>20))
			} else if files > diskFiles {
				p.runner.killFor(fmt.Sprintf("out of files on disk: limit %d", diskFiles))
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// onDisk counts what a process has written, and stops counting where it is too
// much. The trees it was given are not its own.
func onDisk(dir string) (bytes int64, files int) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0
	}
	defer func() { _ = root.Close() }()
	dirs := []string{"."}
	for len(dirs) > 0 && files <= diskFiles {
		at := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		d, err := root.Open(at)
		if err != nil {
			continue
		}
		entries, _ := d.ReadDir(diskFiles + 1)
		d.Close()
		for _, e := range entries {
			files++
			name := filepath.Join(at, e.Name())
			if e.IsDir() && name != "in" {
				dirs = append(dirs, name)
			} else if info, err := e.Info(); err == nil {
				bytes += occupied(info)
			}
		}
	}
	return bytes, files
}

// desk gives a run of a shared process a directory in work, empty and the
// process's own: one that another run has left, if there is one. To make and
// remove one for each was a sixth of what a short job cost the host on ext4.
func (c *cell) desk(work string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.desks); n > 0 {
		path := c.desks[n-1]
		c.desks = c.desks[:n-1]
		return path, nil
	}
	c.made++
	path := filepath.Join(work, fmt.Sprintf("%x", c.made))
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", err
	}
	return path, c.jail.Own(path)
}

// clear takes a desk back when its run has ended. One with anything on it is
// removed: what a run has left is for nobody else.
func (c *cell) clear(path string) {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err == nil {
		_, err = dir.Readdirnames(1)
		_ = dir.Close() // only read
	}
	if !errors.Is(err, io.EOF) {
		_ = removeDir(path)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.desks = append(c.desks, path)
}
