package executor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

func (b *bench) status() executor.PluginStatus { return b.Status()[0] }

func standby(n int) func(*executor.Config) {
	return plugin(func(p *executor.Plugin) { p.Standby = n })
}

func TestStandby(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", standby(2))
	ready := func() bool { return b.status().Standby == 2 }
	eventually(t, "two processes wait", ready)
	before := b.processes()
	if _, _, err := b.run(t); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two processes wait again", ready)
	// The run used one that waited and left the other alone.
	kept := slices.DeleteFunc(b.processes(), func(pid int) bool { return !slices.Contains(before, pid) })
	if len(before) != 2 || len(kept) != 1 {
		t.Errorf("processes before the run %v, of these after it %v; want 2 and 1", before, kept)
	}
	if s := b.status(); s.State != executor.StateReady || s.Info.Version != "1.2.3" || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestStandbyThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, "die-idle", standby(1))
	eventually(t, "two deaths", func() bool { return b.status().Restarts >= 2 })
	if log := b.logs.String(); !strings.Contains(log, "exited with status 6 unasked") {
		t.Errorf("log does not say how it died:\n%s", log)
	}
}

func TestFailingPluginStaysListed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "panic-at-start", standby(1), func(c *executor.Config) {
		good := c.Plugins[0]
		good.Command = "/nonexistent/plugin"
		good.Name = "missing"
		c.Plugins = append(c.Plugins, good)
	})
	eventually(t, "both fail", func() bool {
		return !slices.ContainsFunc(b.Status(), func(s executor.PluginStatus) bool { return s.State != executor.StateFailing })
	})
	s := b.Status()
	if !strings.Contains(s[0].Reason, "panic: boom") || !strings.Contains(s[1].Reason, "no such file") {
		t.Errorf("reasons %q and %q", s[0].Reason, s[1].Reason)
	}
	if got := b.Plugins(); !slices.Equal(got, []string{"hostile", "missing"}) {
		t.Errorf("Plugins: %v", got)
	}
	_, _, err := b.run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, "panic: boom")
}

func TestUnknownPlugin(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok")
	_, err := b.Run(t.Context(), host.Task{Plugin: "other"}, &sink{})
	if !errors.Is(err, host.ErrNoPlugin) {
		t.Errorf("Run: %v, want ErrNoPlugin", err)
	}
	if _, err := b.Describe(t.Context(), "other"); !errors.Is(err, host.ErrNoPlugin) {
		t.Errorf("Describe: %v, want ErrNoPlugin", err)
	}
}

func TestDescribeWithoutServe(t *testing.T) {
	t.Parallel()
	b := prepare(t, "ok", func(c *executor.Config) {
		bad := c.Plugins[0]
		bad.Name, bad.Command = "bad", "/nonexistent/plugin"
		c.Plugins = append(c.Plugins, bad)
	})
	info, err := b.Describe(t.Context(), "hostile")
	if err != nil || info.Version != "1.2.3" || info.Concurrency != 4 || len(info.Rules) != 2 || info.Rules[0].ID != "hostile.rule" {
		t.Errorf("Describe: %+v, %v", info, err)
	}
	got := b.Check(t.Context())
	if s := b.Status(); s[0].State != executor.StateFailing || !strings.Contains(s[0].Reason, "no such file") || s[1].State != executor.StateReady {
		t.Errorf("Status after Check: %+v", s)
	}
	if len(got) != 2 || got[0].Name != "bad" || got[0].State != executor.StateFailing || got[1].State != executor.StateReady || got[1].Info == nil {
		t.Errorf("Check: %+v", got)
	}
	b.wantNothingLeft(t)
}

func TestRunWaitsForServe(t *testing.T) {
	t.Parallel()
	b := prepare(t, "ok")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Run(ctx, b.task(t, ""), &sink{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run before Serve: %v, want the context's error", err)
	}
}

func TestServeEndStopsRuns(t *testing.T) {
	t.Parallel()
	b := prepare(t, "hang", standby(1))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	task := b.task(t, "")
	wg.Go(func() {
		_, err := b.Run(t.Context(), task, &sink{})
		var f *host.Fault
		if !errors.As(err, &f) || f.Code != host.CodePluginUnavailable || !f.Retryable || !strings.Contains(f.Message, "stopping") {
			t.Errorf("Run: %v, want a retryable fault that says the host is stopping", err)
		}
	})
	waitScanning(t, task)
	stop()
	wg.Wait()
	b.wantNothingLeft(t)
	if _, err := b.Run(t.Context(), task, &sink{}); err == nil {
		t.Error("Run after Serve ended: no error")
	}
	if s := b.status(); s.State != executor.StateStopped || s.Running != 0 || s.Standby != 0 {
		t.Errorf("status %+v", s)
	}
	if err := b.Serve(t.Context()); err == nil {
		t.Error("second Serve: no error")
	}
}

func TestStartStopStress(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		b := prepare(t, "ok", standby(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Millisecond)
		if err := b.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
		cancel()
		b.wantNothingLeft(t)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", shared)
	var wg sync.WaitGroup
	for range 10 { // more than the four places it has
		wg.Go(func() {
			if rep, found, err := b.run(t); err != nil || rep.State != host.StateSucceeded || len(found) != 1 {
				t.Errorf("Run: %+v, %d findings, %v", rep, len(found), err)
			}
		})
	}
	wg.Wait()
	if pids := b.processes(); len(pids) != 1 || b.status().Restarts != 0 {
		t.Errorf("processes %v, restarts %d; want one process for all runs", pids, b.status().Restarts)
	}
}

func TestSharedSurvivesACrash(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", shared)
	_, err := b.Run(t.Context(), b.task(t, `{"mode":"panic-in-scan"}`), &sink{})
	wantFault(t, err, host.CodePluginCrashed, true, "exited with status 2")
	var f *host.Fault
	if errors.As(err, &f) && (f.Crashed || strings.Contains(f.Message, "boom")) {
		t.Errorf("fault %+v: the last words of a process that serves every tenant are for none of them, and neither is the blame", f)
	}
	if rep, _, err := b.run(t); err != nil || rep.State != host.StateSucceeded {
		t.Errorf("Run after a crash: %+v, %v", rep, err)
	}
	if n := b.status().Restarts; n != 1 {
		t.Errorf("restarts %d, want 1", n)
	}
}

// TestSharedRetires: a process with a scan that ignores Cancel takes no more
// runs, ends with the last it has, and another takes its place.
func TestSharedRetires(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", shared)
	other, ctx := b.task(t, `{"mode":"wait-for-context"}`), t.Context()
	otherCtx, endOther := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := b.Run(otherCtx, other, &sink{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the other run: %v, want its own cancel and nothing before", err)
		}
	})
	waitScanning(t, other)
	stuck := b.task(t, `{"mode":"hang"}`)
	stuckCtx, endStuck := context.WithCancel(ctx)
	wg.Go(func() {
		if _, err := b.Run(stuckCtx, stuck, &sink{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the stuck run: %v, want its cancel", err)
		}
	})
	waitScanning(t, stuck)
	endStuck()
	if rep, _, err := b.runWhen(t, func(s executor.PluginStatus) bool { return s.Restarts == 1 }); err != nil || rep.State != host.StateSucceeded {
		t.Errorf("a run beside: %+v, %v", rep, err)
	}
	if pids := b.processes(); len(pids) != 2 {
		t.Errorf("processes %v, want the retired one and the new one", pids)
	}
	endOther()
	wg.Wait()
	if pids := b.processes(); len(pids) != 1 {
		t.Errorf("processes %v, want only the new one", pids)
	}
}

func (b *bench) runWhen(t *testing.T, ok func(executor.PluginStatus) bool) (host.Report, []host.Finding, error) {
	t.Helper()
	eventually(t, "the status", func() bool { return ok(b.status()) })
	return b.run(t)
}

func TestSharedThatCannotStart(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exit-at-start", shared)
	_, _, err := b.run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, "exited with status 3 before the handshake: no licence")
}

// TestHostKilled: no plugin outlives a host that gets SIGKILL, and the next
// host removes what that one left in the run directory.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	for name, group := range map[string]bool{"namespace": false, "group": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t, "ok")
			spec, err := json.Marshal(hostSpec{Plugin: hostile(), Token: b.token, RunDir: b.runDir, WorkDir: t.TempDir(), Group: group})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), asHost+"="+string(spec))
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "scanning\n" {
				t.Fatalf("the host said %q, %v", line, err)
			}
			if n := len(b.processes()); n == 0 {
				t.Error("no plugin process to begin with")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			eventually(t, "the plugin dies with its host", func() bool { return len(b.processes()) == 0 })

			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			stop()
			if err := b.Serve(ctx); err != nil {
				t.Fatal(err)
			}
			b.wantNothingLeft(t)
		})
	}
}

type hostSpec struct {
	Plugin, Token, RunDir, WorkDir string
	Group                          bool
}

// beHost is the test binary as a host: it says when a scan runs, and waits to
// be killed.
func beHost(spec string) {
	var s hostSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		panic(err)
	}
	e, err := executor.New(executor.Config{
		RunDir: s.RunDir, NoPIDNamespace: s.Group,
		Plugins: []executor.Plugin{{Name: "hostile", Command: s.Plugin, Args: []string{"hang", s.Token}}},
	}, hclog.NewNullLogger())
	if err != nil {
		panic(err)
	}
	go func() { _ = e.Serve(context.Background()) }()
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(s.WorkDir, "scanning")); err == nil {
				fmt.Println("scanning")
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err = e.Run(context.Background(), host.Task{Plugin: "hostile", Root: "/", WorkDir: s.WorkDir}, &sink{})
	panic(err)
}

func TestNewReportsEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := executor.New(executor.Config{
		RunDir: "relative/" + strings.Repeat("x", 80),
		Plugins: []executor.Plugin{
			{Name: "Bad", Command: "not/absolute", Isolation: "none", Standby: 65, MaxSilence: -1, Config: json.RawMessage("{")},
			{Name: "twice", Command: "/x", Env: map[string]string{"PLUGIN_MIN_PORT": "1", "A B": "2"}},
			{Name: "twice", Command: "/x", Isolation: executor.Shared, Standby: 1},
		},
	}, hclog.NewNullLogger())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"clean absolute path", "choose a shorter one", "name must match", `"not/absolute" must be an absolute path`, `isolation "none"`,
		"standby 65", "max silence must not be negative", "not JSON", "PLUGIN_MIN_PORT belongs to the handshake", `"A B" is not one`,
		`"twice" is configured twice`, "standby 1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
}
