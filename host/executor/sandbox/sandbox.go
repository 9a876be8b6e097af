package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// Layer is one means of confinement.
type Layer string

const (
	LayerRoot         Layer = "root"       // a root of its own, in a mount namespace
	LayerPIDs         Layer = "pids"       // a pid namespace
	LayerNetwork      Layer = "network"    // a network namespace
	LayerEgress       Layer = "egress"     // a listener on the loopback of that namespace, see Spec.Egress
	LayerProc         Layer = "proc"       // its own /proc; without it there is none
	LayerUID          Layer = "uid"        // a uid that is not the host's
	LayerLandlock     Layer = "landlock"   // files and TCP, from ABI 3
	LayerScopes       Layer = "scopes"     // signals and abstract sockets by Landlock, from ABI 6
	LayerSeccomp      Layer = "seccomp"    // system calls
	LayerRlimits      Layer = "rlimits"    // of each process
	LayerCgroupMemory Layer = "memory"     // of the tree, by cgroup
	LayerCgroupPIDs   Layer = "pids_limit" // of the tree, by cgroup
	LayerCgroupCPU    Layer = "cpu"        // of the tree, by cgroup
)

// Layers lists all of them, in the order in which people read them.
func Layers() []Layer {
	return []Layer{
		LayerRoot, LayerPIDs, LayerNetwork, LayerEgress, LayerProc, LayerUID, LayerLandlock, LayerScopes,
		LayerSeccomp, LayerRlimits, LayerCgroupMemory, LayerCgroupPIDs, LayerCgroupCPU,
	}
}

// Wall is something that must hold, and the layers any one of which holds it.
type Wall struct {
	Name string // for people
	By   []Layer
}

// Walls are what a sandbox is complete with.
func Walls() []Wall {
	return []Wall{
		{"no file of the host's but the system's own", []Layer{LayerRoot, LayerLandlock}},
		{"no network", []Layer{LayerNetwork, LayerSeccomp}},
		{"no other process", []Layer{LayerPIDs, LayerScopes}},
		{"no system call that only breaks out", []Layer{LayerSeccomp}},
		{"a bound on memory", []Layer{LayerCgroupMemory, LayerRlimits}},
	}
}

// Support is what this machine gives.
type Support struct {
	has     map[Layer]bool
	Missing map[Layer]string // why, one line each
}

// Has reports whether a layer is there.
func (s Support) Has(l Layer) bool { return s.has[l] }

// String lists the layers that are there.
func (s Support) String() string {
	var names []string
	for _, l := range Layers() {
		if s.Has(l) {
			names = append(names, string(l))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// Open names the walls that do not hold.
func (s Support) Open() []string {
	var open []string
	for _, w := range Walls() {
		if !slices.ContainsFunc(w.By, s.Has) {
			open = append(open, w.Name)
		}
	}
	return open
}

// Complete is nil when every wall holds, and else says which do not, why, and
// what can be done.
func (s Support) Complete() error {
	var open []string
	for _, w := range Walls() {
		if slices.ContainsFunc(w.By, s.Has) {
			continue
		}
		var why []string
		for _, l := range w.By {
			why = append(why, fmt.Sprintf("%s: %s", l, s.Missing[l]))
		}
		open = append(open, fmt.Sprintf("%q does not hold (%s)", w.Name, strings.Join(why, "; ")))
	}
	if len(open) == 0 {
		return nil
	}
	return &IncompleteError{Open: open}
}

// IncompleteError says what a sandbox on this machine lacks.
type IncompleteError struct {
	Open []string // a wall each
}

func (e *IncompleteError) Error() string {
	return "this machine cannot confine it: " + strings.Join(e.Open, ", ") +
		"; allow user namespaces to this host, or accept it with sandbox = \"best_effort\" (docs/operating.md, Sandbox)"
}

// Limits bound one process and all it starts. 0 is no limit.
type Limits struct {
	Memory    int64 // bytes
	PIDs      int   // processes and threads
	CPUs      int   // whole CPUs
	OpenFiles int
	FileSize  int64 // bytes, of one file that it writes
	TmpSize   int64 // bytes, of everything in /tmp, HOME and /dev/shm; in memory
}

// Spec is one process to be confined. Paths are absolute and mean the same
// inside as outside.
type Spec struct {
	Argv []string // Argv[0] is executed
	Env  []string
	Dir  string // where it starts

	Read  []string // files and directories it may read and execute from
	Write []string // directories it may write to
	// Hide is what it must not see although something in Read lies above, but
	// for what Read and Write name below it.
	Hide []string
	// Tmp is a directory below one in Write that is in memory inside; it is
	// where Dir, HOME and TMPDIR point.
	Tmp    string
	Limits Limits
	// Network shares the host's network.
	Network bool
	// Egress gives the process a loopback of its own, with a listener at
	// EgressAddr that is the host's to serve: see Jail.Listener. It takes
	// LayerEgress, and not Network.
	Egress bool
}

// EgressAddr is where the host's listener is inside; nobody else can be there.
const EgressAddr = "127.0.0.1:3128"

// outOfMemory says so for people.
func outOfMemory(l Limits) string {
	if l.Memory == 0 {
		return "out of memory"
	}
	return fmt.Sprintf("out of memory: limit %d MiB", l.Memory>>20)
}
