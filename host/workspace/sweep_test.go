package workspace_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/workspace"
)

// TestSweep has a host die with a tree and work directories in use (the test
// binary itself, killed), and a living one beside it.
func TestSweep(t *testing.T) {
	if dir := os.Getenv("WORKSPACE_TEST_CRASH"); dir != "" {
		crash(t, dir)
	}
	t.Parallel()
	dir := t.TempDir()
	alive := newManager(t, dir)
	kept, release, err := alive.WorkDir("job", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer release()

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSweep$")
	cmd.Env = append(os.Environ(), "WORKSPACE_TEST_CRASH="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready"))
	if _, err := io.ReadFull(stdout, ready); err != nil || string(ready) != "ready" {
		t.Fatalf("the other host said %q, %v", ready, err)
	}
	if err := alive.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(below(t, dir)); n != 1+3 {
		t.Errorf("a sweep beside two living hosts left %v", below(t, dir))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says "killed"

	// A host that died before it had locked its directory.
	if err := os.MkdirAll(filepath.Join(dir, "h0", "t1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	second := newManager(t, dir)
	if err := second.Sweep(t.Context()); err != nil {
		t.Errorf("Sweep: %v", err)
	}
	if left := below(t, dir); len(left) != 1 || left[0] != kept {
		t.Errorf("after the sweep there is %v, want only %s", left, kept)
	}
	if hosts, _ := filepath.Glob(filepath.Join(dir, "h*")); len(hosts) != 2 {
		t.Errorf("directories of hosts: %v, want the two that live", hosts)
	}
}

func crash(t *testing.T, dir string) {
	m, err := workspace.New(dir, workspace.Limits{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Acquire(t.Context(), "scan", opens(packTar(t, []item{file("a/b", "x")}))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		path, _, err := m.WorkDir("job", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(path, "closed"), 0); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Print("ready")
	_ = os.Stdout.Sync()
	select {} // until killed
}

// TestManyHosts starts, sweeps and stops managers on one directory at once. No
// sweep may take what another has just made.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 10 {
				m, err := workspace.New(dir, workspace.Limits{}, hclog.NewNullLogger())
				if err != nil {
					t.Errorf("New: %v", err)
					return
				}
				path, release, err := m.WorkDir("job", 1)
				if err == nil {
					err = errors.Join(m.Sweep(t.Context()), os.WriteFile(filepath.Join(path, "f"), nil, 0o600))
					release()
				}
				if err := errors.Join(err, m.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if hosts, _ := filepath.Glob(filepath.Join(dir, "h*")); len(hosts) != 0 {
		t.Errorf("left behind: %v", hosts)
	}
}
