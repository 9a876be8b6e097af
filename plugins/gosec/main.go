// Command gosec is the scanner plugin that looks at Go code. It is gosec, as a
// library, with its default rules: README.md says what is the same, what is
// not, and why.
package main

import (
	"os"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

// version of the plugin; the rules are those of the gosec in go.mod.
const version = "0.1.0"

// Config is the operator's settings.
type Config struct {
	Go          string        `json:"go" default:"go" doc:"The go command, by an absolute path or by a name in PATH. Its standard library is what code is checked with, and no other toolchain is fetched."`
	ModuleCache string        `json:"module_cache" doc:"A directory of modules that targets may use, as GOMODCACHE: only read. Empty: none, so that what a target requires and does not vendor is missing."`
	Tests       bool          `json:"tests" default:"false" doc:"Looks at test files too."`
	Timeout     time.Duration `json:"timeout" default:"0s" min:"0s" max:"24h" doc:"After that the engine is killed, and the scan has failed. 0s: as long as the scan type allows."`
	Workers     int           `json:"workers" default:"0" min:"0" max:"64" doc:"Packages at once. 0: one for each CPU the process may use."`
}

// defaultPath is where go is looked for when the operator gives no PATH.
const defaultPath = "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin"

func main() {
	if len(os.Args) > 1 && os.Args[1] == engineArg {
		os.Exit(engine(os.Args[2:], os.Stdout, os.Stderr))
	}
	if os.Getenv("PATH") == "" {
		_ = os.Setenv("PATH", defaultPath) // fails for odd names only
	}
	sdk.Main(newScanner("/proc/self/exe"))
}

// newScanner makes the scanner; self is the program that is its engine, too.
func newScanner(self string) sdk.Scanner[Config] {
	p := &plugin{self: self}
	return sdk.Scanner[Config]{
		Name:               "gosec",
		Version:            version,
		Description:        "Finds security problems in Go code with the rules of gosec.",
		Vendor:             "SecureTag",
		License:            "Apache-2.0",
		Consumes:           []sdk.Input{sdk.Tree},
		Needs:              sdk.Needs{SpawnsProcesses: true},
		Rules:              declared(),
		MaxConcurrentScans: 1, // the engine uses all CPUs
		Scan:               p.scan,
		Health:             p.health,
	}
}
