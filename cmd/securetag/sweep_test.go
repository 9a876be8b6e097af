package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/securetaghq/securetag/config"
)

// TestSweepRunDirs: what a dead host's plugins left goes, a living one's stays.
func TestSweepRunDirs(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "st-") // short, so that sockets fit below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var hosts []*identity
	var left []string
	for range 3 {
		id, err := takeIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		run, err := runDir(dir, id)
		if err != nil {
			t.Fatal(err)
		}
		plugin := filepath.Join(run, "p-token-1")
		if err := os.MkdirAll(filepath.Join(plugin, "tmp", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(plugin, "tmp"), 0); err != nil { // as a plugin may leave it
			t.Fatal(err)
		}
		hosts, left = append(hosts, id), append(left, plugin)
	}
	dead := hosts[1]
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sweepRunDirs(t.Context(), dir, hosts[0].slot); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, false, true} {
		if _, err := os.Lstat(left[i]); (err == nil) != want {
			t.Errorf("what the plugin of host %d left is there: %v, want %v", i, err == nil, want)
		}
	}
	for _, id := range []*identity{hosts[0], hosts[2]} {
		if err := id.Close(); err != nil {
			t.Error(err)
		}
	}
	again, err := takeIdentity(dir)
	if err != nil || again.name != hosts[0].name {
		t.Errorf("a name that was free after the sweep: %v, %v", again, err)
	}
	if err == nil {
		again.Close()
	}
}

// What a running job still needs must never look like an orphan.
func TestOrphanGrace(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	long := cfg.Scans["codeaudit"]
	long.Timeout = 5 * time.Hour
	cfg.Scans["slow"] = long
	if got := orphanGrace(cfg); got != 6*time.Hour {
		t.Errorf("grace %v, want an hour more than the longest scan type takes", got)
	}
}
