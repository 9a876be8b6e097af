package testhost

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory reads a process's resident memory in bytes: now, and its peak.
func Memory(pid int) (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	field := func(name string) int64 {
		_, rest, ok := strings.Cut(string(b), "\n"+name+":")
		if !ok {
			err = fmt.Errorf("process %d says nothing of %s", pid, name)
			return 0
		}
		n, perr := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if perr != nil {
			err = perr
		}
		return n << 10
	}
	now, peak = field("VmRSS"), field("VmHWM")
	return now, peak, err
}
