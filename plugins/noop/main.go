// Command noop is a scanner that finds what it is told to: nothing at once, or
// a number of findings after a while. Benchmarks and tests run it; it is also
// the smallest example of a plugin.
package main

import (
	"context"
	"strconv"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

type config struct {
	Findings int           `default:"0" min:"0" max:"1000000" doc:"How many findings to report."`
	Delay    time.Duration `default:"0s" min:"0s" max:"1h" doc:"How long to take."`
	Token    string        `sensitive:"true" doc:"Nothing is done with it."`
}

type options struct {
	Findings int    `default:"-1" min:"-1" max:"1000000" doc:"How many findings to report; -1: as many as the setting says."`
	Token    string `sensitive:"true" doc:"Nothing is done with it."`
}

func main() {
	sdk.Main(sdk.Scanner[config]{
		Name:               "noop",
		Version:            "0.1.0",
		Description:        "Scans nothing and reports as many findings as it is told to.",
		License:            "Apache-2.0",
		Consumes:           []sdk.Input{sdk.Tree, sdk.URL},
		Rules:              []sdk.Rule{{ID: "noop", Title: "Nothing", Severity: sdk.Info}},
		MaxConcurrentScans: 64,
		Options:            options{},
		Scan: func(ctx context.Context, c *config, t *sdk.Target, out *sdk.Out) error {
			at := sdk.Location{URL: t.URL()}
			findings := c.Findings
			if asked, ok := t.Options().(*options); ok && asked.Findings >= 0 {
				findings = asked.Findings
			}
			for i := range findings {
				if at.URL == "" {
					at.Path, at.StartLine = "noop", i+1
				}
				out.Finding("noop", sdk.Finding{Message: "nothing", At: at, Identity: []string{strconv.Itoa(i)}})
			}
			select {
			case <-time.After(c.Delay):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	})
}
