package catalog_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/securetaghq/securetag/host/executor/catalog"
)

// tree writes files and gives their directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run executes a program as the host does and gives what it prints.
func run(t *testing.T, p *catalog.Program) string {
	t.Helper()
	exe, path := executable(t, p)
	cmd := exec.CommandContext(t.Context(), path)
	if exe != nil {
		cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{exe}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func open(t *testing.T, s catalog.Source) *catalog.Program {
	t.Helper()
	p, err := catalog.Open(s, t.TempDir(), "exe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func executable(t *testing.T, p *catalog.Program) (*os.File, string) {
	t.Helper()
	exe, path, err := p.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if exe != nil {
		t.Cleanup(func() { _ = exe.Close() })
	}
	return exe, path
}

func sum(t *testing.T, s catalog.Source) string {
	t.Helper()
	got, err := catalog.Sum(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWhatIsHashedIsWhatRuns: whatever is done to the file after Open.
func TestWhatIsHashedIsWhatRuns(t *testing.T) {
	t.Parallel()
	file := filepath.Join(tree(t, map[string]string{"p": "#!/bin/sh\necho good\n"}), "p")
	s := catalog.Source{Command: file}
	s.SHA256 = sum(t, s)
	p := open(t, s)
	if dir, err := p.Place("/nonexistent"); p.SHA256() != s.SHA256 || dir != "" || err != nil {
		t.Errorf("SHA256 %q, files in %q, %v; want none", p.SHA256(), dir, err)
	}
	for what, change := range map[string]func() error{
		"written over": func() error { return os.WriteFile(file, []byte("#!/bin/sh\necho evil\n"), 0o700) },
		"gone":         func() error { return os.Remove(file) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got := run(t, p); got != "good\n" {
			t.Errorf("the file is %s: the program says %q", what, got)
		}
	}
}

// TestSealedMemory: nobody with the descriptor can change it, either.
func TestSealedMemory(t *testing.T) {
	t.Parallel()
	p := open(t, catalog.Source{Command: "/bin/true"})
	exe, _ := executable(t, p)
	if exe == nil {
		t.Fatal("this machine has no sealed memory, and the tests are for Linux")
	}
	if _, err := exe.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v, want %v", err, syscall.EPERM)
	}
	if err := exe.Truncate(0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("truncate: %v, want %v", err, syscall.EPERM)
	}
}

func TestAnotherFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"p": "#!/bin/sh\n", "lib/a.py": "a"})
	for _, s := range []catalog.Source{
		{Command: filepath.Join(dir, "p"), SHA256: strings.Repeat("0", 64)},
		{Command: "/bin/sh", Dir: dir, Files: []string{"lib/**"}, SHA256: strings.Repeat("0", 64)},
	} {
		_, err := catalog.Open(s, t.TempDir(), "exe-")
		var pin *catalog.PinError
		if !errors.As(err, &pin) || pin.Want != s.SHA256 || pin.Got != sum(t, s) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open: %v, want a pin error about %s", err, dir)
		}
	}
}

func TestNoProgram(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"p": "x", "sub/q": "y"})
	plain, pipe := filepath.Join(dir, "plain"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(plain, nil, 0o600), syscall.Mkfifo(pipe, 0o700)); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]catalog.Source{
		"no such file":       {Command: filepath.Join(dir, "gone")},
		"not a regular file": {Command: pipe},
		"chmod 755":          {Command: plain},
		`named by "*.py"`:    {Command: "/bin/sh", Dir: dir, Files: []string{"p", "*.py"}},
		"syntax error":       {Command: "/bin/sh", Dir: dir, Files: []string{"["}},
		"../p":               {Command: "/bin/sh", Dir: filepath.Join(dir, "sub"), Files: []string{"../p"}},
	} {
		if _, err := catalog.Open(s, t.TempDir(), "exe-"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q in it", err, want)
		}
	}
}

// TestSumOfFiles: the sum is what sha256sum gives, so that anybody can make it.
func TestSumOfFiles(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"main.py": "import lib", "lib/b.py": "b", "lib/a/c.py": "c", "README": "not of it"})
	if err := os.Symlink("b.py", filepath.Join(dir, "lib/link.py")); err != nil {
		t.Fatal(err)
	}
	s := catalog.Source{Command: "/bin/sh", Dir: dir, Files: []string{"lib/**", "*.py", "main.py"}}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "find main.py lib -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-64")
	cmd.Dir = dir
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(t, s); got != strings.TrimSpace(string(want)) {
		t.Errorf("got %s, sha256sum says %s", got, want)
	}
}

// TestPlacedFilesAreThePinnedOnes: also when they change after Open.
func TestPlacedFilesAreThePinnedOnes(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"main.py": "good", "lib/run.sh": "x"})
	if err := os.Chmod(filepath.Join(dir, "main.py"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := catalog.Source{Command: "/bin/sh", Dir: dir, Files: []string{"**"}}
	s.SHA256 = sum(t, s)
	p := open(t, s)
	if exe, path := executable(t, p); exe != nil || path != "/bin/sh" || p.SHA256() != s.SHA256 {
		t.Errorf("the interpreter is %v, %q, and the sum %q", exe, path, p.SHA256())
	}
	to, err := p.Place(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(to, "main.py"))
	if err != nil || string(text) != "good" {
		t.Errorf("main.py is %q, %v", text, err)
	}
	for name, mode := range map[string]os.FileMode{"main.py": 0o444, "lib/run.sh": 0o555, "lib": 0o755, ".": 0o755} {
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	var pin *catalog.PinError
	if _, err := p.Place(t.TempDir()); !errors.As(err, &pin) {
		t.Errorf("Place after a change: %v, want a pin error", err)
	}
}

func TestDevelopmentPinsNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(tree(t, map[string]string{"p": "#!/bin/sh\necho one\n"}), "p")
	p := open(t, catalog.Source{Command: file, Dev: true})
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho two\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if exe, path := executable(t, p); exe != nil || path != file || p.SHA256() != "" {
		t.Errorf("development runs %v, %q, with the sum %q", exe, path, p.SHA256())
	}
}

// TestClosedProgram: what was given out before goes on.
func TestClosedProgram(t *testing.T) {
	t.Parallel()
	p := open(t, catalog.Source{Command: "/bin/true"})
	exe, _ := executable(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := exe.Stat(); err != nil {
		t.Errorf("the file that was given out: %v", err)
	}
	if _, _, err := p.Executable(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Executable after Close: %v", err)
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"p": "1", "lib/a": "1"})
	s := catalog.Source{Command: filepath.Join(dir, "p"), Dir: dir, Files: []string{"lib/**"}}
	last := catalog.Stamp(s)
	if again := catalog.Stamp(s); again != last {
		t.Errorf("nothing changed, and the stamp did:\n%s\n%s", last, again)
	}
	for what, change := range map[string]func() error{
		"the command":      func() error { return os.WriteFile(s.Command, []byte("12"), 0o700) },
		"a file":           func() error { return os.WriteFile(filepath.Join(dir, "lib/a"), []byte("12"), 0o700) },
		"one more":         func() error { return os.WriteFile(filepath.Join(dir, "lib/b"), nil, 0o600) },
		"one that is gone": func() error { return os.Remove(s.Command) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		now := catalog.Stamp(s)
		if now == last {
			t.Errorf("the stamp does not see %s", what)
		}
		last = now
	}
}
