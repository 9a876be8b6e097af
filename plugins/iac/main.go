// Command iac is the scanner plugin that looks at how software is deployed:
// Dockerfiles and Kubernetes manifests. Its checks are those of Trivy, evaluated
// by Open Policy Agent, both as libraries: README.md says what is the same, what
// is not, and why.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

// version of the plugin; the checks are those of the trivy-checks in go.mod.
const version = "0.1.0"

// Config is the operator's settings.
type Config struct {
	MinSeverity string        `json:"min_severity" default:"low" one_of:"low,medium,high,critical" doc:"Findings below it are left out."`
	Exclude     []string      `json:"exclude" doc:"Checks that are not made, by their ids or aliases: \"DS-0026\", \"AVD-DS-0026\"."`
	MaxFileSize sdk.Bytes     `json:"max_file_size" default:"4MiB" min:"1KiB" max:"64MiB" doc:"A larger Dockerfile or manifest is not read, and the result is partial."`
	FileTimeout time.Duration `json:"file_timeout" default:"5m" min:"1ms" max:"1h" doc:"A file that takes longer is given up, and the result is partial."`
	Workers     int           `json:"workers" default:"0" min:"0" max:"64" doc:"How many files one scan reads at once. 0: one for each CPU the process may use."`
}

// Validate refuses to leave out a check that there is not: a mistake in its name
// would otherwise show in every report.
func (c *Config) Validate() error {
	var errs []error
	for _, name := range c.Exclude {
		if !slices.ContainsFunc(allChecks(), func(k *check) bool { return k.is(name) }) {
			errs = append(errs, fmt.Errorf("exclude: there is no check %q; a scan's rules list those that there are", name))
		}
	}
	return errors.Join(errs...)
}

// wants reports whether the operator wants what a check finds.
func (c *Config) wants(k *check) bool {
	return k.severity >= severities[c.MinSeverity] && !slices.ContainsFunc(c.Exclude, k.is)
}

var severities = map[string]sdk.Severity{"low": sdk.Low, "medium": sdk.Medium, "high": sdk.High, "critical": sdk.Critical} //nolint:gochecknoglobals // a table

func main() { sdk.Main(newScanner()) }

func newScanner() sdk.Scanner[Config] {
	p := newPlugin()
	count := map[language]int{}
	for _, k := range allChecks() {
		count[k.language]++
	}
	return sdk.Scanner[Config]{
		Name:    "iac",
		Version: version,
		Description: fmt.Sprintf("Finds insecure settings in Dockerfiles and Kubernetes manifests with the checks of Trivy: %d and %d of trivy-checks %s, with Open Policy Agent %s.",
			count[dockerfile], count[kubernetes], strings.TrimPrefix(moduleVersion(checksModule), "v"), strings.TrimPrefix(moduleVersion(opaModule), "v")),
		Vendor:             "SecureTag",
		License:            "Apache-2.0 AND MIT",
		Consumes:           []sdk.Input{sdk.Tree},
		Rules:              rules(),
		MaxConcurrentScans: 4,
		Scan:               p.scan,
		Health:             func(*Config) sdk.Health { return health() },
	}
}
