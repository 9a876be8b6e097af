package executor_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// BenchmarkRun is what a job costs beside its scan: with a process started for
// it, with one that waited, and on a shared one; then the same in the sandbox. A
// job waits for "job-ms" of it: the rest is the end of the process.
func BenchmarkRun(b *testing.B) {
	plain := func(*executor.Config) {}
	for name, change := range map[string]func(*executor.Config){
		"fresh": plain, "standby": standby(4), "shared": shared,
	} {
		for where, confine := range map[string]func(*executor.Config){"plain": plain, "sandbox": confinedAsByDefault} {
			b.Run(name+"/"+where, func(b *testing.B) {
				e := serve(b, change, confine)
				ctx := b.Context()
				waits := name == "standby"
				var jobs []time.Duration
				for b.Loop() {
					if waits { // that is the case to be measured: there was time to start it
						b.StopTimer()
						for e.Status()[0].Standby < 4 {
							time.Sleep(time.Millisecond)
						}
						b.StartTimer()
					}
					s := &sink{}
					began := time.Now()
					if _, err := e.Run(ctx, benchTask(b), &last{s, began, &jobs}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(median(jobs), "job-ms")
			})
		}
	}
}

// last notes when the findings came, which is when the scan is as good as over.
type last struct {
	*sink
	began time.Time
	jobs  *[]time.Duration
}

func (l *last) Findings(ctx context.Context, batch []host.Finding) error {
	*l.jobs = append(*l.jobs, time.Since(l.began))
	return l.sink.Findings(ctx, batch)
}

// BenchmarkStart is the time from nothing to the answer of Describe.
func BenchmarkStart(b *testing.B) {
	for name, confine := range map[string]func(*executor.Config){"plain": func(*executor.Config) {}, "sandbox": confinedAsByDefault} {
		b.Run(name, func(b *testing.B) {
			e := serve(b, confine)
			var starts []time.Duration
			for b.Loop() {
				d, err := e.Start(b.Context(), "hostile")
				if err != nil {
					b.Fatal(err)
				}
				starts = append(starts, d)
			}
			b.ReportMetric(median(starts), "median-ms")
		})
	}
}

func confinedAsByDefault(c *executor.Config) {
	c.Sandbox = box()
	c.Plugins[0].Limits = sandbox.Limits{Memory: 512 << 20, PIDs: 128, OpenFiles: 1024, FileSize: 64 << 20}
	c.Plugins[0].Disk = 256 << 20
}

func benchTask(b *testing.B) host.Task {
	root := b.TempDir()
	return host.Task{Plugin: "hostile", Root: root, WorkDir: root, Give: func(dst string) (func(), error) {
		return func() {}, os.Rename(root, dst)
	}}
}

func median(d []time.Duration) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}

// serve serves an executor until the benchmark ends.
func serve(b *testing.B, change ...func(*executor.Config)) *executor.Executor {
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		b.Fatal(err)
	}
	cfg := executor.Config{RunDir: dir, Plugins: []executor.Plugin{{Name: "hostile", Command: hostile(), Args: []string{"honest", "bench"}, Dev: true}}}
	for _, f := range change {
		f(&cfg)
	}
	e, err := executor.New(cfg, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return e
}
