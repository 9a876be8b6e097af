package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// TestReloadLeavesRunningJobsAlone: new runs get the new program and settings,
// what runs ends on the old.
func TestReloadLeavesRunningJobsAlone(t *testing.T) {
	t.Parallel()
	for name, isolation := range map[string]func(*executor.Config){"per_scan": standby(1), "shared": shared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "ok", isolation)
			eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
			old := b.processes()

			task := b.task(t, `{"mode": "hang"}`)
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := b.Run(ctx, task, &sink{})
				ended <- err
			}()
			waitScanning(t, task)

			next := b.plugin
			next.Args = []string{"environment", b.token}
			next.Env = map[string]string{"GENERATION": "2"}
			if got, err := b.Reload([]executor.Plugin{next}); err != nil || !slices.Equal(got, []string{"hostile"}) {
				t.Fatalf("Reload: %v, %v", got, err)
			}
			_, found, err := b.run(t)
			if err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "GENERATION=2") {
				t.Errorf("a new run: %+v, %v; want one of the new generation", found, err)
			}
			select {
			case err := <-ended:
				t.Fatalf("the run on the old process ended: %v", err)
			default:
			}
			stop := errors.New("the test has seen enough")
			cancel(stop)
			if err := <-ended; !errors.Is(err, stop) {
				t.Errorf("the run on the old process: %v", err)
			}
			eventually(t, "the old processes are gone", func() bool {
				return !slices.ContainsFunc(b.processes(), func(pid int) bool { return slices.Contains(old, pid) })
			})
		})
	}
}

func TestReloadWithoutAChangeTouchesNothing(t *testing.T) {
	t.Parallel()
	command, _ := script(t)
	b := newBench(t, "ok", pinned(t, command), standby(1))
	eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
	before := b.processes()
	if got, err := b.Reload([]executor.Plugin{b.plugin}); err != nil || len(got) != 0 {
		t.Errorf("Reload: %v, %v; want nothing to do", got, err)
	}
	if got, err := b.Reload(nil); err != nil || len(got) != 0 {
		t.Errorf("Reload of none: %v, %v", got, err)
	}
	if after := b.processes(); !slices.Equal(after, before) || len(after) == 0 {
		t.Errorf("processes %v, before %v", after, before)
	}
	other := b.plugin
	other.Name = "other"
	if _, err := b.Reload([]executor.Plugin{other}); !errors.Is(err, host.ErrNoPlugin) {
		t.Errorf("Reload of a plugin that is not there: %v", err)
	}
	other = b.plugin
	other.Config = json.RawMessage("{")
	if _, err := b.Reload([]executor.Plugin{other}); err == nil {
		t.Error("Reload took a block that cannot be")
	}
}

// TestReloadTakesUpANewFile: also one that is pinned anew, and one whose plugin
// is quarantined.
func TestReloadTakesUpANewFile(t *testing.T) {
	t.Parallel()
	command, starts := script(t)
	b := newBench(t, "ok", pinned(t, command), standby(1))
	eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
	second := filepath.Join(filepath.Dir(starts), "second")
	replace(t, command, fmt.Sprintf("#!/bin/sh\necho second >>%s\nexec %s \"$@\"\n", second, hostile()))
	if got, err := b.Reload([]executor.Plugin{b.plugin}); err != nil || len(got) != 1 {
		t.Fatalf("Reload: %v, %v", got, err)
	}
	eventually(t, "what is not pinned is refused", func() bool { return b.status().State == executor.StateQuarantined })
	cfg := executor.Config{Plugins: []executor.Plugin{b.plugin}}
	pinned(t, command)(&cfg)
	if got, err := b.Reload(cfg.Plugins); err != nil || len(got) != 1 {
		t.Fatalf("Reload: %v, %v", got, err)
	}
	if _, _, err := b.run(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(second); err != nil {
		t.Errorf("the new program did not run: %v", err)
	}
}

// TestReloadStress reloads again and again while runs come and go: none is
// lost, and nothing is left.
func TestReloadStress(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", shared)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			var err error
			for range 5 {
				_, runErr := b.Run(t.Context(), b.task(t, ""), &sink{})
				err = errors.Join(err, runErr)
			}
			done <- err
		}()
	}
	left := cap(done)
	for i := 0; left > 0; i++ {
		next := b.plugin
		next.Env = map[string]string{"GENERATION": fmt.Sprint(i)}
		if _, err := b.Reload([]executor.Plugin{next}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		left--
	}
}
