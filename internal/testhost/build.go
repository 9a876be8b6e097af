package testhost

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// Untraced are flags of a build with -race that leave out the race detector in
// SQLite and the C library beneath it, which are C translated to Go: they keep
// their data outside of Go's heap, where the detector looks at nothing, and
// took three quarters of the CPU of host/sqlite's tests. The driver above them is traced, as
// is everything of ours. The Makefile says the same to go test, so that the
// two share what they compile.
var Untraced = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false",
	"-gcflags=modernc.org/libc=-race=false",
	"-gcflags=modernc.org/memory=-race=false",
}

// Build builds a command of the module in dir: as `make build` does, which has
// then compiled most of it, or with the race detector when args say -race.
func Build(dir, out string, args ...string) error {
	flags := []string{"build", "-o", out, "-ldflags=-s -w"}
	env := os.Environ()
	if slices.Contains(args, "-race") {
		flags = append(flags, Untraced...)
	} else {
		flags, env = append(flags, "-trimpath"), append(env, "CGO_ENABLED=0")
	}
	cmd := exec.Command("go", append(flags, args...)...)
	cmd.Dir, cmd.Env = dir, env
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, b)
	}
	return nil
}
