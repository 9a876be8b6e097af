// Command gate is a scanner for tests: it reports that it waits, waits until a
// file exists, then reports three findings.
package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

type config struct {
	Open string `required:"true" doc:"The file to wait for."`
}

func main() {
	sdk.Main(sdk.Scanner[config]{
		Name: "gate", Version: "0.1.0", Description: "Waits until it is let through.",
		Consumes: []sdk.Input{sdk.Tree},
		Rules:    []sdk.Rule{{ID: "gate", Title: "Let through", Severity: sdk.Medium}},
		Scan: func(ctx context.Context, c *config, _ *sdk.Target, out *sdk.Out) error {
			out.Progress(sdk.Progress{Phase: "waiting", Done: 1, Total: 2})
			for {
				if _, err := os.Stat(c.Open); err == nil {
					break
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(20 * time.Millisecond):
				}
			}
			for i := range 3 {
				out.Finding("gate", sdk.Finding{Message: "let through", Identity: []string{strconv.Itoa(i)}})
			}
			return nil
		},
	})
}
