package main

import (
	"context"

	"github.com/securetaghq/securetag/sdk"
)

// honest is a plugin of the SDK, for benchmarks.
func honest() {
	sdk.Main(sdk.Scanner[struct{}]{
		Name: "hostile", Version: "1.2.3", Consumes: []sdk.Input{sdk.Tree}, MaxConcurrentScans: 4,
		Rules: []sdk.Rule{{ID: declared, Title: "A finding", Severity: sdk.High}},
		Scan: func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			out.Finding(declared, sdk.Finding{Message: "found", At: sdk.Location{Path: "main.go", StartLine: 1}})
			return nil
		},
	})
}
