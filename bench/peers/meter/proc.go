// Package meter reads what processes and the disk cost from /proc, and says
// whether somebody else disturbed a measurement.
package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	ticks      = 100 // of CPU time in a second, to user space
	kernelFlag = 0x00200000
)

type proc struct {
	pid, parent int
	own, kids   float64 // CPU seconds: its own, and of children that it waited for
	kernel      bool
	name        string
}

// parseStat reads a line of /proc/PID/stat.
func parseStat(pid int, s string) (proc, bool) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open || len(s) < end+2 {
		return proc{}, false
	}
	f := strings.Fields(s[end+2:])
	if len(f) < 15 {
		return proc{}, false
	}
	n := func(k int) float64 { v, _ := strconv.ParseFloat(f[k], 64); return v }
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	return proc{pid: pid, parent: int(n(1)), own: (n(11) + n(12)) / ticks, kids: (n(13) + n(14)) / ticks,
		kernel: flags&kernelFlag != 0, name: s[open+1 : end]}, true
}

// Snapshot is what was used up to a moment.
type Snapshot struct {
	at          time.Time
	busy, steal float64
	procs       map[int]proc
	diskBusy    float64 // seconds with I/O in flight, of the busiest disk
	diskBytes   float64 // written to it
}

// Take reads /proc.
func Take() Snapshot {
	s := Snapshot{at: time.Now(), procs: map[int]proc{}}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		if p, ok := parseStat(pid, string(b)); ok {
			s.procs[pid] = p
		}
	}
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		s.busy, s.steal = parseCPU(string(b))
	}
	if b, err := os.ReadFile("/proc/diskstats"); err == nil {
		s.diskBusy, s.diskBytes = parseDisks(string(b))
	}
	return s
}

// parseCPU reads the first line of /proc/stat: user, nice, system, irq and
// softirq are busy.
func parseCPU(s string) (busy, steal float64) {
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	if len(f) < 9 {
		return 0, 0
	}
	n := func(k int) float64 { v, _ := strconv.ParseFloat(f[k], 64); return v / ticks }
	return n(1) + n(2) + n(3) + n(6) + n(7), n(8)
}

func parseDisks(s string) (busy, written float64) {
	for line := range strings.SplitSeq(s, "\n") {
		f := strings.Fields(line)
		if len(f) < 14 || strings.HasPrefix(f[2], "loop") || strings.HasPrefix(f[2], "ram") {
			continue
		}
		sectors, _ := strconv.ParseFloat(f[9], 64)
		ms, _ := strconv.ParseFloat(f[12], 64)
		if ms/1000 >= busy {
			busy, written = ms/1000, sectors*512
		}
	}
	return busy, written
}

// Group is processes that are counted together: one process and, under Below,
// or under Name without it, all that descend from it.
type Group struct {
	Name  string
	PID   int
	Below string
}

// groupOf finds the group of the nearest ancestor that has one.
func groupOf(p proc, procs map[int]proc, groups []Group) string {
	self := true
	for range 32 {
		for _, g := range groups {
			if g.PID == p.pid && (self || g.Below == "") {
				return g.Name
			}
			if g.PID == p.pid {
				return g.Below
			}
		}
		parent, ok := procs[p.parent]
		if !ok || p.parent <= 1 {
			return ""
		}
		p, self = parent, false
	}
	return ""
}

// Usage is what a time span cost, in CPU seconds.
type Usage struct {
	Wall     float64            `json:"wall"`
	Groups   map[string]float64 `json:"groups"`
	Foreign  float64            `json:"foreign"` // user processes of nobody here
	Kernel   float64            `json:"kernel"`  // busy and of no process
	Steal    float64            `json:"steal"`
	DiskBusy float64            `json:"disk_busy"` // share of the time with I/O in flight
	DiskMB   float64            `json:"disk_mb"`
	Top      string             `json:"top,omitempty"` // the foreign process that used most
}

// Between is what was used from a to b.
func Between(a, b Snapshot, groups []Group) Usage {
	u := Usage{Wall: b.at.Sub(a.at).Seconds(), Groups: map[string]float64{}, Steal: b.steal - a.steal}
	u.DiskBusy, u.DiskMB = (b.diskBusy-a.diskBusy)/u.Wall, (b.diskBytes-a.diskBytes)/1e6
	var sum, most float64
	for pid, p := range b.procs {
		if p.kernel {
			continue
		}
		before := a.procs[pid]
		if before.pid != 0 && before.name != p.name && before.parent != p.parent {
			before = proc{} // another process that got the same id
		}
		used := p.own - before.own + p.kids - before.kids
		if used <= 0 {
			continue
		}
		sum += used
		if name := groupOf(p, b.procs, groups); name != "" {
			u.Groups[name] += used
			continue
		}
		u.Foreign += used
		if used > most {
			most, u.Top = used, fmt.Sprintf("%s/%d", p.name, pid)
		}
	}
	// Whoever waits for a process inherits all it used in its life, so what is
	// foreign is at most what is left.
	rest := max(0, b.busy-a.busy-(sum-u.Foreign))
	u.Foreign = min(u.Foreign, rest)
	u.Kernel = rest - u.Foreign
	return u
}

// Disturbed reports whether others used more than 5% of the machine.
func (u Usage) Disturbed() bool {
	limit := 0.05 * float64(runtime.NumCPU()) * u.Wall
	return u.Foreign > limit || u.Steal > limit
}

// Settle waits, at most for longest, until others and the disk are quiet for
// half a second.
func Settle(groups []Group, longest time.Duration) {
	for end := time.Now().Add(longest); time.Now().Before(end); {
		a := Take()
		time.Sleep(500 * time.Millisecond)
		u := Between(a, Take(), groups)
		if (u.Foreign+u.Kernel)/u.Wall < 0.06 && u.DiskBusy < 0.10 {
			return
		}
	}
}

// Memory is a process's resident memory in MiB: now, and its peak.
func Memory(pid int) (now, peak float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		name, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		if len(f) == 0 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[0], 64)
		switch name {
		case "VmRSS":
			now = kb / 1024
		case "VmHWM":
			peak = kb / 1024
		}
	}
	return now, peak
}
