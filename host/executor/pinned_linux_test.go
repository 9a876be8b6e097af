package executor_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// TestPinnedInTheSandbox: what runs confined is what was hashed, though another
// file is in its place by then; as a script too, whose interpreter reads it from
// the file that was opened.
func TestPinnedInTheSandbox(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "hostile")
	data, err := os.ReadFile(hostile())
	if err == nil {
		err = errors.Join(os.WriteFile(binary, data, 0o755), os.Chmod(filepath.Dir(binary), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	shell := filepath.Join(t.TempDir(), "script")
	replace(t, shell, "#!/bin/sh\nexec "+hostile()+" \"$@\"\n")
	for name, command := range map[string]string{"binary": binary, "script": shell} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := func(p *executor.Plugin) { p.Read = []string{filepath.Dir(hostile())} }
			b := newBench(t, "ok", confined, pinned(t, command), plugin(read), standby(1))
			eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
			replace(t, command, "#!/bin/sh\nexit 1\n")
			for range 2 {
				if rep, _, err := b.run(t); err != nil || rep.State != host.StateSucceeded {
					t.Errorf("Run: %+v, %v", rep, err)
				}
			}
		})
	}
}

// TestSystemProgram: a plugin of the system's may be named through a link that
// leads there, as /bin is one to /usr/bin.
func TestSystemProgram(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", confined, plugin(func(p *executor.Plugin) { p.Command = "/bin/false" }))
	_, _, err := b.run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, "exited with status 1 before the handshake")
}

// TestPinnedFilesInTheSandbox: the plugin works in its copy of them, and in
// development where they are.
func TestPinnedFilesInTheSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lib := filepath.Join(dir, "lib")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(lib, 0o755), os.WriteFile(filepath.Join(lib, "a"), []byte("a"), 0o644)); err != nil {
		t.Fatal(err)
	}
	sum, err := catalog.Sum(catalog.Source{Dir: dir, Files: []string{"lib/*"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, sum := range map[string]string{"pinned": sum, "in development": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "files", confined, plugin(func(p *executor.Plugin) {
				p.Dir, p.Files, p.SHA256, p.Dev = dir, []string{"lib/*"}, sum, sum == ""
			}))
			if _, found, err := b.run(t); err != nil || len(found) != 1 || found[0].Message != "lib/a" {
				t.Errorf("got %+v, %v; want the files of the plugin", found, err)
			}
		})
	}
}
