package sdk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/securetaghq/securetag/sdk"
)

type config struct {
	MaxFileSize sdk.Bytes `json:"max_file_size" default:"1MiB" doc:"Larger files are left out."`
}

// A useful scanner. Its main would be sdk.Main(todos()).
func todos() sdk.Scanner[config] {
	word := regexp.MustCompile(`\b(TODO|FIXME)\b`)
	return sdk.Scanner[config]{
		Name:        "todos",
		Version:     "0.1.0",
		Description: "Finds what was left to do.",
		Consumes:    []sdk.Input{sdk.Tree},
		Rules:       []sdk.Rule{{ID: "todo", Title: "Left to do", Severity: sdk.Info}},
		Scan: func(ctx context.Context, c *config, t *sdk.Target, out *sdk.Out) error {
			return t.EachLine(ctx, sdk.LineOptions{MaxFileSize: c.MaxFileSize}, func(l sdk.Line) {
				for _, m := range word.FindAllStringIndex(l.Text, -1) {
					out.Finding("todo", sdk.Finding{Message: "left to do", At: l.At(m[0], m[1]), Snippet: l.Text})
				}
			})
		},
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text := "package main\n\nfunc main() {} // TODO: everything\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644); err != nil {
		panic(err)
	}

	// What `todos scan DIR` does.
	code := sdk.Execute(context.Background(), todos(), []string{"scan", dir}, os.Stdout, os.Stdout)
	fmt.Println("exit code", code)
	// Output:
	// main.go:3:19: info todo: left to do
	// succeeded: 1 findings in 1 files, 49 bytes
	// exit code 1
}
