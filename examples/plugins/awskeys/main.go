// Command awskeys is a useful scanner in 30 lines: it finds AWS access key ids.
package main

import (
	"context"
	"regexp"

	"github.com/securetaghq/securetag/sdk"
)

// Config is what the operator may set.
type Config struct {
	MaxFileSize sdk.Bytes `json:"max_file_size" default:"1MiB" min:"1" doc:"Larger files are left out."`
}

func main() {
	key := regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)
	sdk.Main(sdk.Scanner[Config]{
		Name:        "awskeys",
		Version:     "0.1.0",
		Description: "Finds AWS access key ids.",
		Consumes:    []sdk.Input{sdk.Tree},
		Rules:       []sdk.Rule{{ID: "aws-key-id", Title: "AWS access key id", Severity: sdk.High, CWE: []int{798}}},
		Scan: func(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
			return t.EachLine(ctx, sdk.LineOptions{MaxFileSize: c.MaxFileSize}, func(l sdk.Line) {
				for _, m := range key.FindAllStringIndex(l.Text, -1) {
					id := sdk.Redact(l.Text[m[0]:m[1]])
					out.Finding("aws-key-id", sdk.Finding{Message: "AWS access key id " + id, At: l.At(m[0], m[1])})
				}
			})
		},
	})
}
