// Command dependencies is the scanner plugin that lists the packages of source
// trees, as lockfiles and manifests name them, and looks them up in a database
// of known vulnerabilities. It is osv-scalibr's extractors and version
// comparison, as a library: README.md says what is the same and what is not.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/osv-scalibr/log"

	"github.com/securetaghq/securetag/sdk"
)

// version of the plugin; the extractors are those of the osv-scalibr in go.mod.
const version = "0.1.0"

// Config is the operator's settings.
type Config struct {
	Database    string        `json:"database" default:"" doc:"Directory that \"dependencies update\" has filled with advisories. Empty: packages are listed, and nobody looks for vulnerabilities."`
	MaxAge      time.Duration `json:"max_age" default:"168h" min:"1h" doc:"When the newest advisory of the database is older, every scan and the plugin's health say so. That of one ecosystem may be older by its longest pause in a year."`
	MaxFileSize sdk.Bytes     `json:"max_file_size" default:"16MiB" min:"1KiB" max:"256MiB" doc:"A lockfile that is larger is not read, and the result is partial. Reading takes some ten times its size of memory."`
	FileTimeout time.Duration `json:"file_timeout" default:"1m" min:"1s" max:"1h" doc:"A lockfile that takes longer is given up, and the result is partial."`
	MaxPackages int           `json:"max_packages" default:"100000" min:"1" max:"1000000" doc:"With more packages than this the result is partial."`
	Workers     int           `json:"workers" default:"2" min:"1" max:"64" doc:"How many lockfiles one scan reads at once."`
}

func main() {
	log.SetLogger(quiet{}) // it quotes the target, to standard error
	if len(os.Args) > 1 && os.Args[1] == "update" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := updateCommand(ctx, os.Args[2:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	sdk.Main(scanner(time.Now))
}

func scanner(now func() time.Time) sdk.Scanner[Config] {
	return sdk.Scanner[Config]{
		Name:               "dependencies",
		Version:            version,
		Description:        "Lists the packages that lockfiles name, as a CycloneDX SBOM, and finds those with known vulnerabilities in an OSV database.",
		Vendor:             "SecureTag",
		License:            "Apache-2.0 AND MIT AND BSD-3-Clause",
		Consumes:           []sdk.Input{sdk.Tree},
		Rules:              rules(),
		MaxConcurrentScans: 4,
		Scan: func(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
			return newScan(c, t, out, now).run(ctx)
		},
		Health: func(c *Config) sdk.Health { return health(c, now()) },
	}
}

// quiet takes the engine's log. What of it concerns the result is said in notes.
type quiet struct{}

func (quiet) Errorf(string, ...any) {}
func (quiet) Error(...any)          {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Warn(...any)           {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Info(...any)           {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Debug(...any)          {}
