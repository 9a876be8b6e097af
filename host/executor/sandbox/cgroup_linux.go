package sandbox

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// groupPrefix begins the names of our cgroups; the pid of their host follows.
const groupPrefix = "securetag-"

// controllers are those of cgroups that are used, by their layer.
var controllers = map[Layer]string{LayerCgroupMemory: "memory", LayerCgroupPIDs: "pids", LayerCgroupCPU: "cpu"} //nolint:gochecknoglobals // a table, never written

// groups makes cgroups below that of this process, where it may.
type groups struct {
	log   hclog.Logger
	fs    cgroupFS
	token string            // keeps apart several in one process
	v1    map[string]string // controller: directory in which ours are made
	v2    string            // the same for all controllers of v2, "" for none
	leaf  string            // where this process moved to make room, with v2
	in2   []string          // controllers that v2 has
	tried map[Layer]error
	next  atomic.Uint64
}

// openGroups finds out which controllers can be used, by using them.
func openGroups(log hclog.Logger) *groups { return openGroupsOf(log, kernelFS{}, "/proc/self") }

// openGroupsOf is openGroups for the process that proc tells of, in fs.
func openGroupsOf(log hclog.Logger, fs cgroupFS, proc string) *groups {
	g := &groups{log: log, fs: fs, token: strings.ToLower(rand.Text()[:6]), v1: map[string]string{}, tried: map[Layer]error{}}
	where, err := ownGroups(proc+"/cgroup", proc+"/mountinfo")
	for l, c := range controllers {
		switch {
		case err != nil:
			g.tried[l] = err
		case where[c] != "":
			if g.tried[l] = g.try(where[c], c); g.tried[l] == nil {
				g.v1[c] = where[c]
				g.sweep(where[c])
			}
		default:
			g.tried[l] = fmt.Errorf("there is no cgroup controller %q", c)
		}
	}
	if len(g.v1) < len(controllers) && where[""] != "" {
		g.openV2(where[""])
	}
	return g
}

// ownGroups gives the directory of this process's cgroup for each v1 controller,
// and under "" that of v2.
func ownGroups(cgroup, mountinfo string) (map[string]string, error) {
	text, err := os.ReadFile(cgroup)
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			for c := range strings.SplitSeq(f[1], ",") {
				own[c] = f[2]
			}
		}
	}
	mounts, err := os.Open(mountinfo)
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	dirs := map[string]string{}
	for in := bufio.NewScanner(mounts); in.Scan(); {
		before, after, _ := strings.Cut(in.Text(), " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(kind) < 3 || !strings.HasPrefix(kind[0], "cgroup") {
			continue
		}
		names := strings.Split(kind[2], ",")
		if kind[0] == "cgroup2" {
			names = []string{""}
		}
		for _, c := range names {
			if path, ok := own[c]; ok && dirs[c] == "" {
				dirs[c] = below(f[4], f[3], path)
			}
		}
	}
	return dirs, nil
}

// below is the directory of the cgroup path in a mount that shows root. Where it
// is not visible, which a container's need not be, the mount itself is.
func below(mount, root, path string) string {
	dir := filepath.Join(mount, strings.TrimPrefix(path, strings.TrimSuffix(root, "/")))
	if _, err := os.Stat(dir); err != nil {
		return mount
	}
	return dir
}

// name is that of a group; sweep reads the pid in it.
func (g *groups) name(what string) string {
	return fmt.Sprintf("%s%d-%s-%s", groupPrefix, os.Getpid(), g.token, what)
}

func (g *groups) try(parent, controller string) error {
	dir := filepath.Join(parent, g.name("trial"))
	if err := g.fs.mkdir(dir); err != nil {
		return err
	}
	err := limitGroup(g.fs, dir, controller, Limits{Memory: 1 << 30, PIDs: 1000, CPUs: 1}, false)
	return errors.Join(err, g.fs.remove(dir))
}

// openV2 takes the part of the one hierarchy that this process was given. A group
// with processes in it can give no controllers to groups below, so this process
// moves into one of its own there; it must be the only one.
func (g *groups) openV2(own string) {
	fail := func(err error) {
		for l, c := range controllers {
			if g.v1[c] == "" {
				g.tried[l] = err
			}
		}
	}
	have, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return // what v1 said stands
	}
	for l, c := range controllers {
		if g.v1[c] == "" && slices.Contains(strings.Fields(string(have)), c) {
			g.in2 = append(g.in2, c)
			g.tried[l] = nil
		}
	}
	if len(g.in2) == 0 {
		return
	}
	slices.Sort(g.in2)
	leaf := filepath.Join(own, g.name("host"))
	if err := g.makeRoom(own, leaf); err != nil {
		g.in2 = nil
		fail(fmt.Errorf("cgroup %s is not this host's to divide (systemd: Delegate=yes): %w", own, err))
		return
	}
	g.v2, g.leaf = own, leaf
	g.sweep(own)
}

func (g *groups) makeRoom(own, leaf string) error {
	me := strconv.Itoa(os.Getpid())
	inside, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(inside)) != me {
		return errors.New("other processes are in it")
	}
	if err := g.fs.mkdir(leaf); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	err = g.fs.write(leaf, "cgroup.procs", me)
	if err == nil {
		if err = g.fs.write(own, "cgroup.subtree_control", "+"+strings.Join(g.in2, " +")); err == nil {
			return nil
		}
		_ = g.fs.write(own, "cgroup.procs", me)
	}
	_ = g.fs.remove(leaf)
	return err
}

// sweep removes groups whose host is dead. Those of a living one are left alone.
func (g *groups) sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), groupPrefix)
		text, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(text)
		if !ours || err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		if err := g.fs.remove(filepath.Join(parent, e.Name())); err != nil {
			g.log.Debug("cgroup of a dead host is left behind", "cgroup", e.Name(), "error", err)
		}
	}
}

func (g *groups) close() {
	if g.leaf == "" {
		return
	}
	var off []string
	for _, c := range g.in2 {
		off = append(off, "-"+c)
	}
	// Its controllers first: with them it may have no processes itself.
	_ = g.fs.write(g.v2, "cgroup.subtree_control", strings.Join(off, " "))
	if g.fs.write(g.v2, "cgroup.procs", strconv.Itoa(os.Getpid())) == nil {
		_ = g.fs.remove(g.leaf)
	}
}

// group is the cgroups of one process.
type group struct {
	dirs   map[string]string // controller: directory
	v2     string
	unique []string // each directory once
	log    hclog.Logger
	fs     cgroupFS
}

// add makes the cgroups of one process, empty.
func (g *groups) add(l Limits) (*group, error) {
	name := g.name(strconv.FormatUint(g.next.Add(1), 10))
	made := &group{dirs: map[string]string{}, log: g.log, fs: g.fs}
	for c, parent := range g.v1 {
		made.dirs[c] = filepath.Join(parent, name)
	}
	for _, c := range g.in2 {
		made.v2 = filepath.Join(g.v2, name)
		made.dirs[c] = made.v2
	}
	for c, dir := range made.dirs {
		if !slices.Contains(made.unique, dir) {
			if err := g.fs.mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
				made.remove()
				return nil, err
			}
			made.unique = append(made.unique, dir)
		}
		if err := limitGroup(g.fs, dir, c, l, dir == made.v2); err != nil {
			made.remove()
			return nil, err
		}
	}
	return made, nil
}

// limitGroup sets what l says about one controller.
func limitGroup(fs cgroupFS, dir, controller string, l Limits, v2 bool) error {
	const period = 100_000 // µs
	switch {
	case controller == "memory" && l.Memory > 0 && v2:
		_ = fs.write(dir, "memory.swap.max", "0") // not there without swap
		return errors.Join(fs.write(dir, "memory.max", strconv.FormatInt(l.Memory, 10)), fs.write(dir, "memory.oom.group", "1"))
	case controller == "memory" && l.Memory > 0:
		err := fs.write(dir, "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
		_ = fs.write(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory, 10)) // not there without swap accounting
		return err
	case controller == "pids" && l.PIDs > 0:
		return fs.write(dir, "pids.max", strconv.Itoa(l.PIDs))
	case controller == "cpu" && l.CPUs > 0 && v2:
		return fs.write(dir, "cpu.max", fmt.Sprint(l.CPUs*period, " ", period))
	case controller == "cpu" && l.CPUs > 0:
		return errors.Join(fs.write(dir, "cpu.cfs_period_us", strconv.Itoa(period)), fs.write(dir, "cpu.cfs_quota_us", strconv.Itoa(l.CPUs*period)))
	}
	return nil
}

// doors are open files to which a thread writes "0" to join the groups of v1. In
// v2 there is no such thing: see join.
func (g *group) doors() (open []*os.File, err error) {
	for _, dir := range g.unique {
		if dir == g.v2 {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return open, err
		}
		open = append(open, f)
	}
	return open, nil
}

// join puts a process into the group of v2.
func (g *group) join(pid int) error {
	if g.v2 == "" {
		return nil
	}
	return g.fs.write(g.v2, "cgroup.procs", strconv.Itoa(pid))
}

// exhausted reads what the kernel counted.
func (g *group) exhausted(l Limits) string {
	events := "memory.oom_control"
	if g.v2 != "" && g.dirs["memory"] == g.v2 {
		events = "memory.events"
	}
	if counted(g.dirs["memory"], events, "oom_kill") > 0 {
		return outOfMemory(l)
	}
	if counted(g.dirs["pids"], "pids.events", "max") > 0 {
		return fmt.Sprintf("out of processes: limit %d", l.PIDs)
	}
	return ""
}

// counted reads the line "name N" of a file; 0 when there is none.
func counted(dir, file, name string) int {
	if dir == "" {
		return 0
	}
	text, _ := os.ReadFile(filepath.Join(dir, file))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// remove removes the groups. What was killed in them may still be ending.
func (g *group) remove() {
	for _, dir := range g.unique {
		err := g.fs.remove(dir)
		for range 100 {
			if err == nil || errors.Is(err, os.ErrNotExist) {
				err = nil
				break
			}
			time.Sleep(5 * time.Millisecond)
			err = g.fs.remove(dir)
		}
		if err != nil {
			g.log.Warn("cgroup of a plugin process is left behind", "cgroup", dir, "error", err)
		}
	}
}

// cgroupFS is how the kernel is asked to change groups. It is the kernel's own
// but in tests: few machines have the controllers in both versions.
type cgroupFS interface {
	mkdir(dir string) error
	remove(dir string) error
	write(dir, file, text string) error
}

type kernelFS struct{}

func (kernelFS) mkdir(dir string) error  { return os.Mkdir(dir, 0o755) }
func (kernelFS) remove(dir string) error { return os.Remove(dir) }

func (kernelFS) write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
