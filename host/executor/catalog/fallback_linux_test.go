package catalog_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/host/executor/sandbox/sandboxtest"
)

// withoutMemfd makes the test binary run TestOnMachineWithoutMemfd on one.
const withoutMemfd = "CATALOG_TEST_WITHOUT_MEMFD"

func TestMain(m *testing.M) {
	sandboxtest.Main()
	os.Exit(m.Run())
}

// TestWithoutSealedMemory: there a pinned program is a private copy.
func TestWithoutSealedMemory(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOnMachineWithoutMemfd$", "-test.v")
	cmd.Env = append(os.Environ(), withoutMemfd+"=1")
	sandboxtest.Refuse(cmd, sandboxtest.Memfd)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestOnMachineWithoutMemfd")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOnMachineWithoutMemfd is TestWithoutSealedMemory there.
func TestOnMachineWithoutMemfd(t *testing.T) {
	t.Parallel()
	if os.Getenv(withoutMemfd) == "" {
		return
	}
	file := filepath.Join(tree(t, map[string]string{"p": "#!/bin/sh\necho good\n"}), "p")
	s := catalog.Source{Command: file}
	s.SHA256 = sum(t, s)
	scratch := filepath.Join(t.TempDir(), "run")
	p, err := catalog.Open(s, scratch, "exe-")
	if err != nil {
		t.Fatal(err)
	}
	exe, path := executable(t, p)
	if exe != nil || filepath.Dir(path) != scratch || !strings.HasPrefix(filepath.Base(path), "exe-") || p.SHA256() != s.SHA256 {
		t.Errorf("it executes %v, %q with the sum %q; want a copy in %s", exe, path, p.SHA256(), scratch)
	}
	for name, mode := range map[string]os.FileMode{path: 0o555, scratch: 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho evil\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := run(t, p); got != "good\n" {
		t.Errorf("the file is another by now, and the program says %q", got)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	var pin *catalog.PinError
	if _, err := catalog.Open(s, scratch, "exe-"); !errors.As(err, &pin) {
		t.Errorf("another program: %v, want a pin error", err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
