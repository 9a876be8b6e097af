package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process and its children took while somebody watched.
type usage struct {
	known    bool  // this machine tells
	memory   int64 // bytes resident at most, children and all
	children int   // at most
}

// sampleEvery is how often a process is looked at: a child that lives shorter
// may be missed.
const sampleEvery = 50 * time.Millisecond

// watch looks at a process while f runs.
func watch(pid int, f func()) usage {
	stop, done := make(chan struct{}), make(chan usage)
	go func() {
		u := usage{known: true}
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			family := descendants(pid)
			u.children = max(u.children, len(family))
			total := statusBytes(pid, "VmHWM:") // its peak: no sample can miss it
			for _, child := range family {
				total += statusBytes(child, "VmRSS:")
			}
			u.memory = max(u.memory, total)
			select {
			case <-tick.C:
			case <-stop:
				done <- u
				return
			}
		}
	}()
	f()
	close(stop)
	return <-done
}

// descendants are the processes below one, but not those that made themselves
// another parent.
func descendants(pid int) []int {
	var all []int
	queue := []int{pid}
	for len(queue) > 0 && len(all) < 10_000 {
		dir := fmt.Sprintf("/proc/%d/task", queue[0])
		queue = queue[1:]
		threads, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, thread := range threads {
			text, err := os.ReadFile(filepath.Join(dir, thread.Name(), "children"))
			if err != nil {
				continue
			}
			for _, field := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(field); err == nil {
					all = append(all, child)
					queue = append(queue, child)
				}
			}
		}
	}
	return all
}

// statusBytes reads a size from /proc/PID/status; 0 when it is not there.
func statusBytes(pid int, name string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// openFiles counts a process's descriptors; ok is false where that is not told.
func openFiles(pid int) (n int, ok bool) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err == nil
}

// marked finds the living processes that were started with a variable in their
// environment, whoever their parent is now; ok is false where that is not told.
func marked(variable string) (pids []int, ok bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil {
			continue
		}
		for v := range bytes.SplitSeq(env, []byte{0}) {
			if string(v) == variable {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids, true
}
