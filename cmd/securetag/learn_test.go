package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// TestLearn: a host that runs no plugins knows which options are secret before any
// job has run, and when a plugin is another one.
func TestLearn(t *testing.T) {
	t.Parallel()
	exe, err := exec.LookPath("securetag")
	if err != nil {
		t.Fatal(err)
	}
	noop := filepath.Join(filepath.Dir(exe), "plugins", "noop")
	sum, err := catalog.Sum(catalog.Source{Command: noop})
	if err != nil {
		t.Fatal(err)
	}
	text := func(arg string) string {
		return fmt.Sprintf(`
server { listen = "127.0.0.1:0" }
plugin "noop" {
  command = %q
  sha256  = %q
  args    = [%q]
  standby = 0
  sandbox = "off"
}
`, noop, sum, arg)
	}
	r := startReloading(t, text("one"))
	known := func() bool { // to a host that shares the directory
		cfg := r.n.live.config()
		for _, p := range executorConfig(cfg, "", "").Plugins {
			if p.Name == "noop" {
				names, ok := executor.RememberedSecretOptions(describeDir(cfg), p)
				return ok && slices.Equal(names, []string{"token"})
			}
		}
		return false
	}
	asked := func() {
		t.Helper()
		for deadline := time.Now().Add(patience); !known(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody asked the plugin")
			}
		}
	}
	ended, ctx := make(chan struct{}), t.Context() // which ends before what follows is awaited
	go func() {
		defer close(ended)
		r.n.learn(ctx)
	}()
	t.Cleanup(func() { <-ended })
	asked()
	r.write(t, text("two"))
	if _, err := r.n.live.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	asked()
}
