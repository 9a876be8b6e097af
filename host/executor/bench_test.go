package executor_test

import (
	"context"
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// BenchmarkRun is what a job costs beside its scan: with a process started for
// it, with one that waited, and on a shared one.
func BenchmarkRun(b *testing.B) {
	for name, p := range map[string]executor.Plugin{
		"fresh":   {Dev: true},
		"pinned":  {},
		"standby": {Dev: true, Standby: 2},
		"shared":  {Dev: true, Isolation: executor.Shared},
	} {
		b.Run(name, func(b *testing.B) {
			dir, err := os.MkdirTemp("", "st")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			p.Name, p.Command, p.Args = "hostile", hostile(), []string{"ok", "bench"}
			if !p.Dev {
				if p.SHA256, err = catalog.Sum(catalog.Source{Command: p.Command}); err != nil {
					b.Fatal(err)
				}
			}
			e, err := executor.New(executor.Config{RunDir: dir, Plugins: []executor.Plugin{p}}, hclog.NewNullLogger())
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			served := make(chan error, 1)
			go func() { served <- e.Serve(ctx) }()
			defer func() {
				stop()
				if err := <-served; err != nil {
					b.Error(err)
				}
			}()
			task := host.Task{Plugin: "hostile", Root: dir, WorkDir: dir}
			for b.Loop() {
				if _, err := e.Run(ctx, task, &sink{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
