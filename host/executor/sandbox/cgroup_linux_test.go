package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// fakeV2 is a tree of cgroups v2 in ordinary directories: it has the rules of the
// kernel that the code depends on. It is inside the package because its kernel is
// nobody else's to give.
type fakeV2 struct {
	undelegated string // a directory in which nothing may be made
}

var filesOf = map[string][]string{"memory": {"memory.max", "memory.oom.group", "memory.swap.max", "memory.events"}, "pids": {"pids.max", "pids.events"}, "cpu": {"cpu.max"}}

func (f fakeV2) mkdir(dir string) error {
	parent := filepath.Dir(dir)
	if parent == f.undelegated {
		return unix.EACCES
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return f.populate(dir, read(parent, "cgroup.subtree_control"))
}

// populate makes the files of a group to which these controllers are given.
func (f fakeV2) populate(dir, controllers string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controllers), 0o600)
	files := []string{"cgroup.procs", "cgroup.subtree_control"}
	for c := range strings.FieldsSeq(controllers) {
		files = append(files, filesOf[c]...)
	}
	for _, name := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	return err
}

// remove refuses a group that has processes or groups below it.
func (f fakeV2) remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if read(dir, "cgroup.procs") != "" || slices.ContainsFunc(entries, os.DirEntry.IsDir) {
		return unix.EBUSY
	}
	return os.RemoveAll(dir)
}

func (f fakeV2) write(dir, file, text string) error {
	if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
		return err
	}
	put := func(text string) error { return os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600) }
	switch file {
	case "cgroup.procs":
		if read(dir, "cgroup.subtree_control") != "" {
			return unix.EBUSY // no processes in a group that gives controllers on
		}
		_ = filepath.WalkDir(filepath.Dir(dir), func(at string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == file && strings.TrimSpace(readFile(at)) == text {
				return os.WriteFile(at, nil, 0o600)
			}
			return nil
		})
		return put(text + "\n")
	case "cgroup.subtree_control":
		if strings.HasPrefix(text, "-") {
			return put("")
		}
		if read(dir, "cgroup.procs") != "" {
			return unix.EBUSY
		}
		return put(strings.ReplaceAll(text, "+", ""))
	}
	return put(text)
}

func read(dir, file string) string { return strings.TrimSpace(readFile(filepath.Join(dir, file))) }

func readFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// machineV2 is one whose only cgroups are v2, with this process in the group own.
func machineV2(t *testing.T, controllers, procs string) (proc, own string) {
	t.Helper()
	dir := t.TempDir()
	proc, own = filepath.Join(dir, "proc"), filepath.Join(dir, "cgroup", "system.slice", "securetag.service")
	err := errors.Join(os.MkdirAll(proc, 0o700), os.MkdirAll(own, 0o700), fakeV2{}.populate(own, controllers))
	err = errors.Join(err, os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte(procs), 0o600),
		os.WriteFile(filepath.Join(proc, "cgroup"), []byte("0::/system.slice/securetag.service\n"), 0o600),
		os.WriteFile(filepath.Join(proc, "mountinfo"), fmt.Appendf(nil, "31 24 0:27 / %s rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", filepath.Join(dir, "cgroup")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return proc, own
}

// TestCgroupV2: the host makes room in the group it was given, each process gets
// one with its limits, what the kernel counts is told, and all is put back.
func TestCgroupV2(t *testing.T) {
	t.Parallel()
	me := strconv.Itoa(os.Getpid())
	proc, own := machineV2(t, "cpu io memory pids", me+"\n")
	dead := filepath.Join(own, groupPrefix+"999999999-abcdef-1")
	if err := (fakeV2{}).mkdir(dead); err != nil {
		t.Fatal(err)
	}
	g := openGroupsOf(hclog.NewNullLogger(), fakeV2{}, proc)
	for l, err := range g.tried {
		if err != nil {
			t.Errorf("%s: %v", l, err)
		}
	}
	if got := read(own, "cgroup.subtree_control"); got != "cpu memory pids" || read(g.leaf, "cgroup.procs") != me {
		t.Errorf("it gives on %q, and this process is %q", got, read(g.leaf, "cgroup.procs"))
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("the group of a dead host is still there")
	}
	made, err := g.add(Limits{Memory: 256 << 20, PIDs: 64, CPUs: 2})
	if err != nil || len(made.unique) != 1 {
		t.Fatalf("add: %+v, %v; want one group", made, err)
	}
	dir := made.unique[0]
	if err := made.join(4711); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, f := range []string{"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cgroup.procs"} {
		got[f] = read(dir, f)
	}
	want := map[string]string{"memory.max": "268435456", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "64", "cpu.max": "200000 100000", "cgroup.procs": "4711"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the group (-want +got):\n%s", diff)
	}
	for _, e := range []struct{ file, text, want string }{
		{"pids.events", "max 0\n", ""},
		{"pids.events", "max 3\n", "out of processes: limit 64"},
		{"memory.events", "low 0\nmax 7\noom 1\noom_kill 1\n", "out of memory: limit 256 MiB"},
	} {
		if err := os.WriteFile(filepath.Join(dir, e.file), []byte(e.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := made.exhausted(Limits{Memory: 256 << 20, PIDs: 64}); got != e.want {
			t.Errorf("%s %q: exhausted %q, want %q", e.file, e.text, got, e.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600); err != nil { // it has ended
		t.Fatal(err)
	}
	made.remove()
	g.close()
	if left, _ := filepath.Glob(filepath.Join(own, groupPrefix+"*")); len(left) > 0 || read(own, "cgroup.procs") != me || read(own, "cgroup.subtree_control") != "" {
		t.Errorf("left behind %v; in the group are %q, given on is %q", left, read(own, "cgroup.procs"), read(own, "cgroup.subtree_control"))
	}
}

// TestCgroupV2Refused: what cannot be had is missing, with the reason, and nothing
// has changed.
func TestCgroupV2Refused(t *testing.T) {
	t.Parallel()
	me := strconv.Itoa(os.Getpid())
	for name, tc := range map[string]struct {
		controllers, procs string
		undelegated        bool
		missing            map[Layer]string
	}{
		"shared with others": {"memory pids cpu", me + "\n1\n", false, map[Layer]string{LayerCgroupMemory: "other processes are in it", LayerCgroupPIDs: "Delegate=yes", LayerCgroupCPU: "other processes"}},
		"not delegated":      {"memory pids cpu", me + "\n", true, map[Layer]string{LayerCgroupMemory: "permission denied", LayerCgroupPIDs: "Delegate=yes", LayerCgroupCPU: "permission denied"}},
		"no controllers":     {"", me + "\n", false, map[Layer]string{LayerCgroupMemory: `no cgroup controller "memory"`, LayerCgroupPIDs: "no cgroup controller", LayerCgroupCPU: "no cgroup controller"}},
		"some of them":       {"memory pids", me + "\n", false, map[Layer]string{LayerCgroupCPU: `no cgroup controller "cpu"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proc, own := machineV2(t, tc.controllers, tc.procs)
			var fs fakeV2
			if tc.undelegated {
				fs.undelegated = own
			}
			g := openGroupsOf(hclog.NewNullLogger(), fs, proc)
			for l := range controllers {
				if want, err := tc.missing[l], g.tried[l]; (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", l, err, want)
				}
			}
			g.close()
			if got := readFile(filepath.Join(own, "cgroup.procs")); got != tc.procs {
				t.Errorf("the processes of the group were %q and are %q", tc.procs, got)
			}
			if left, _ := filepath.Glob(filepath.Join(own, groupPrefix+"*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
