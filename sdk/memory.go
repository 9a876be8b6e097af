package sdk

import (
	"os"
	"runtime/debug"
	"strconv"
)

// garbage is how many percent of what is in use may be garbage where the host says
// how much memory there is. That is there to be used: scanners make much garbage of
// little that lives, and at Go's 100 a quarter of gosec's and a sixth of iac's time
// went into collecting it.
const garbage = 400

// useMemory has the process, and the commands it runs, collect less garbage, if the
// host has set GOMEMLIMIT, near which Go collects more again. GOGC has the last word.
func useMemory() {
	if os.Getenv("GOMEMLIMIT") == "" || os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(garbage)
	_ = os.Setenv("GOGC", strconv.Itoa(garbage)) // fails for odd names only
}
