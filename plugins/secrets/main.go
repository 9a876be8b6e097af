// Command secrets is the scanner plugin that finds credentials in source trees.
// It is gitleaks, as a library, with its default rules: README.md says what is
// the same, what is not, and why.
package main

import (
	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/logging"

	"github.com/securetaghq/securetag/sdk"
)

// version of the plugin; the rules are those of the gitleaks in go.mod.
const version = "0.1.0"

// Config is the operator's settings.
type Config struct {
	MaxFileSize sdk.Bytes `json:"max_file_size" default:"0" min:"0" doc:"Larger files are left out and named in a warning. 0, as in gitleaks: no limit."`
	Workers     int       `json:"workers" default:"0" min:"0" max:"64" doc:"How many files one scan reads at once. 0: one for each CPU the process may use."`
}

func main() {
	// gitleaks logs matches in clear at its lower levels.
	logging.Logger = zerolog.Nop()
	e, err := newEngine()
	if err != nil {
		panic(err) // the rules are compiled in
	}
	sdk.Main(e.scanner())
}

func (e *engine) scanner() sdk.Scanner[Config] {
	return sdk.Scanner[Config]{
		Name:               "secrets",
		Version:            version,
		Description:        "Finds credentials, tokens and private keys in source code with the rules of gitleaks.",
		Vendor:             "SecureTag",
		License:            "Apache-2.0 AND MIT",
		Consumes:           []sdk.Input{sdk.Tree},
		Rules:              e.rules(),
		MaxConcurrentScans: 4,
		Scan:               e.scan,
	}
}
