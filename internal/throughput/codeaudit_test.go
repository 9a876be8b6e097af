package throughput_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/internal/testhost"
)

// auditConfig takes a directory and one for plugins.
const auditConfig = `
data_dir   = %q
plugin_dir = %q
limits { archive_size = "200MiB" }
`

// What a scan by several engines may take, on a machine that does nothing else.
const (
	maxOfSlowest = 1.3 // times the slowest engine alone
	maxHost      = 256 << 20
	maxQuiet     = time.Second
)

// BenchmarkCodeaudit has a host scan 20,000 files with 100 MB with the engines that
// it has by default, each of which it runs alone first, by hand, on the same tree.
// It asks how far the scan is four times a second, and fails where the scan takes
// longer, the host more memory or the progress more time than it may.
func BenchmarkCodeaudit(b *testing.B) {
	dir := b.TempDir()
	engines := config.Default().Scans["codeaudit"].Plugins
	plugins := filepath.Join(dir, "plugins")
	for _, name := range engines {
		if err := testhost.Build("../../plugins/"+name, filepath.Join(plugins, name), "."); err != nil {
			b.Fatal(err)
		}
	}
	tree, archive := filepath.Join(dir, "tree"), filepath.Join(dir, "tree.zip")
	files, bytes := writeTree(b, tree)
	zipTree(b, archive, tree)
	host, c := auditHost(b, dir, plugins)
	slowest, cpu := time.Duration(0), time.Duration(0)
	for _, name := range engines {
		took, used := alone(b, filepath.Join(plugins, name), tree, int64(config.Default().Plugins[name].Limits.Memory))
		slowest, cpu = max(slowest, took), cpu+used
		b.Logf("%s alone: %.1f s, of CPU %.1f s", name, took.Seconds(), used.Seconds())
	}
	b.ResetTimer()
	for b.Loop() {
		took, quiet := audited(b, c, archive)
		b.ReportMetric(took.Seconds(), "whole-s")
		b.ReportMetric(slowest.Seconds(), "slowest-alone-s")
		b.ReportMetric(cpu.Seconds()/float64(runtime.NumCPU()), "all-cpu-s") // in less it cannot be done
		if !testing.Short() && took.Seconds() > maxOfSlowest*slowest.Seconds() {
			b.Errorf("the scan took %v, more than %v times the slowest engine alone", took, maxOfSlowest)
		}
		if quiet > maxQuiet {
			b.Errorf("nothing was heard of the scan for %v, more than %v", quiet, maxQuiet)
		}
		b.ReportMetric(took.Seconds()/slowest.Seconds(), "of-slowest")
		b.ReportMetric(quiet.Seconds(), "longest-quiet-s")
	}
	_, peak, err := testhost.Memory(host.PID())
	if err != nil {
		b.Fatal(err)
	}
	if peak > maxHost {
		b.Errorf("the host took %d MiB, more than %d", peak>>20, maxHost>>20)
	}
	b.ReportMetric(float64(peak)/(1<<20), "host-peak-MiB")
	b.ReportMetric(float64(files), "files")
	b.ReportMetric(float64(bytes)/1e6, "MB")
	b.ReportMetric(0, "ns/op") // whole-s says it
}

// BenchmarkNotApplicable is what the jobs cost that have nothing to look at.
func BenchmarkNotApplicable(b *testing.B) {
	dir := b.TempDir()
	plugins := filepath.Join(dir, "plugins")
	for _, name := range config.Default().Scans["codeaudit"].Plugins {
		if err := testhost.Build("../../plugins/"+name, filepath.Join(plugins, name), "."); err != nil {
			b.Fatal(err)
		}
	}
	tree, archive := filepath.Join(dir, "tree"), filepath.Join(dir, "tree.zip")
	if err := os.Mkdir(tree, 0o750); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "notes.txt"), []byte("nothing\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	zipTree(b, archive, tree)
	_, c := auditHost(b, dir, plugins)
	jobs, took := 0, time.Duration(0)
	b.ResetTimer()
	for b.Loop() {
		for _, j := range scanned(b, c, archive, func(client.Scan) {}).Jobs {
			if j.NotApplicable != "" {
				jobs++
				took += j.FinishedAt.Sub(*j.StartedAt)
			}
		}
	}
	b.ReportMetric(float64(took.Microseconds())/1000/float64(max(jobs, 1)), "ms/idle-job")
}

func auditHost(b *testing.B, dir, plugins string) (*testhost.Process, *client.Client) {
	binary, file := filepath.Join(dir, "securetag"), filepath.Join(dir, "securetag.hcl")
	if err := testhost.Build("../..", binary, "./cmd/securetag"); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, auditConfig, filepath.Join(dir, "data"), plugins), 0o600); err != nil {
		b.Fatal(err)
	}
	testhost.Command(b, binary, "--config", file, "tenant", "create", "acme")
	key := strings.TrimSpace(testhost.Command(b, binary, "--config", file, "key", "create", "--tenant", "acme"))
	p := &testhost.Process{Binary: binary, Config: file, Listen: testhost.FreeAddress(b)}
	p.Start(b)
	b.Cleanup(func() { p.Stop(b) })
	c, err := client.New("http://"+p.Listen, key, client.Options{MinWait: 250 * time.Millisecond, MaxWait: 250 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	return p, c
}

// alone runs a plugin by hand, with the memory that the host gives it. It exits with 1 when it found something, and with
// another code when it could not see everything.
func alone(b *testing.B, plugin, tree string, memory int64) (took, cpu time.Duration) {
	began, cmd := time.Now(), exec.CommandContext(b.Context(), plugin, "scan", tree)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%dMiB", memory*8/10>>20)) // as the host says
	out, err := cmd.CombinedOutput()
	took = time.Since(began)
	if code := (&exec.ExitError{}); err != nil && (!asExit(err, &code) || code.ExitCode() > 1) {
		b.Fatalf("%s: %v\n%.2000s", plugin, err, out[max(0, len(out)-2000):])
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // exec returns it as it is
	if ok {
		*to = e
	}
	return ok
}

// audited scans the archive, and says how long that took once it was accepted, and
// how long nothing was heard of it at most.
func audited(b *testing.B, c *client.Client, archive string) (took, quiet time.Duration) {
	last, began := "", time.Now()
	heard := began
	s := scanned(b, c, archive, func(s client.Scan) {
		now, err := json.Marshal(s.Jobs)
		if err != nil {
			b.Fatal(err)
		}
		if string(now) != last {
			if silent := time.Since(heard); silent > quiet {
				quiet = silent
				b.Logf("quiet for %.2f s, %.1f s after its upload, then %s", silent.Seconds(), time.Since(began).Seconds(), now)
			}
			last, heard = string(now), time.Now()
		}
	})
	for _, j := range s.Jobs {
		if j.Error != nil || j.State != client.StateSucceeded {
			b.Fatalf("%s is %s: %+v", j.Plugin, j.State, j.Error)
		}
		b.Logf("%s: from %.1f s to %.1f s, %+v", j.Plugin, j.StartedAt.Sub(s.CreatedAt).Seconds(), j.FinishedAt.Sub(s.CreatedAt).Seconds(), j.Counts)
	}
	return s.FinishedAt.Sub(s.CreatedAt), quiet
}

func scanned(b *testing.B, c *client.Client, archive string, on func(client.Scan)) client.Scan {
	f, err := os.Open(archive)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s, err := c.Upload(b.Context(), f, client.UploadOptions{Filename: "tree.zip", Type: "codeaudit"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	if s, err = c.Wait(ctx, s.ID, on); err != nil {
		b.Fatal(err)
	}
	return s
}
