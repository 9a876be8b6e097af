package workspace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWorkDir(t *testing.T) {
	t.Parallel()
	m := newManager(t, t.TempDir())
	path, release, err := m.WorkDir("job", 1)
	if err != nil {
		t.Fatal(err)
	}
	other, release2, err := m.WorkDir("job", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer release2()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeDir|0o700 || !filepath.IsAbs(path) || path == other {
		t.Errorf("%s: %v, %v; the other is %s", path, info, err, other)
	}
	if err := os.WriteFile(filepath.Join(path, "out"), nil, 0o600); err != nil {
		t.Errorf("not writable: %v", err)
	}
	release()
	release()
	gone(t, path)
	if _, err := os.Stat(other); err != nil {
		t.Errorf("the other work directory went too: %v", err)
	}
}

// TestWorkDirAgain: only a directory that nobody touched is handed out again.
func TestWorkDirAgain(t *testing.T) {
	t.Parallel()
	touch := map[string]struct {
		touch func(path string) error
		again bool
	}{
		"untouched":   {func(string) error { return nil }, true},
		"a file":      {func(p string) error { return os.WriteFile(filepath.Join(p, "f"), nil, 0o600) }, false},
		"a directory": {func(p string) error { return os.Mkdir(filepath.Join(p, "d"), 0o700) }, false},
		"open to all": {func(p string) error { return os.Chmod(p, 0o777) }, false},
		"another": {func(p string) error {
			return errors.Join(os.Rename(p, p+"-mine"), os.Mkdir(p, 0o700))
		}, false},
		"a link": {func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/", p)) }, false},
	}
	for name, tt := range touch {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newManager(t, t.TempDir())
			first, release, err := m.WorkDir("job", 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.touch(first); err != nil {
				t.Fatal(err)
			}
			release()
			second, release2, err := m.WorkDir("job", 2)
			if err != nil {
				t.Fatal(err)
			}
			defer release2()
			if again := first == second; again != tt.again {
				t.Errorf("handed out again: %v, want %v", again, tt.again)
			}
			if info, err := os.Lstat(second); err != nil || info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("the next one is %v, %v", info, err)
			}
			if left, err := os.ReadDir(second); err != nil || len(left) > 0 {
				t.Errorf("the next one holds %v, %v", left, err)
			}
		})
	}
}

// TestHostileWorkDir removes what a plugin may leave behind. As root the
// permissions would not stop anybody, so it runs again as another user.
func TestHostileWorkDir(t *testing.T) {
	t.Parallel()
	if os.Getenv("WORKSPACE_TEST_CHILD") == "" && os.Geteuid() == 0 {
		asNobody(t)
	}
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outside, "ws")
	m := newManager(t, dir)
	path, release, err := m.WorkDir("job", 1)
	if err != nil {
		t.Fatal(err)
	}
	mess(t, path, canary)
	release()
	gone(t, path)

	tree, err := m.Acquire(t.Context(), "scan", opens(packTar(t, []item{file("a/b/c", "x"), {name: "empty/", mode: fs.ModeDir | 0o755}})))
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if err := os.WriteFile(filepath.Join(tree.Root(), "a", "new"), nil, 0o600); err == nil {
			t.Error("the tree is writable")
		}
	}
	tree.Release()
	gone(t, tree.Root())
	if left := below(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if body, err := os.ReadFile(canary); string(body) != "alive" {
		t.Errorf("the file outside: %q, %v", body, err)
	}
}

// mess makes everything that is hard to remove: a path deeper than any path
// may be long, directories without permissions, links out, a fifo, a crowd.
func mess(t *testing.T, path, canary string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(canary, filepath.Join(path, "link")))
	must(os.Symlink(filepath.Dir(canary), filepath.Join(path, "dirlink")))
	must(os.Symlink(".", filepath.Join(path, "loop")))
	must(os.Link(canary, filepath.Join(path, "hard")))
	must(syscall.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	must(os.WriteFile(filepath.Join(path, "bad\xffname\n"), nil, 0))
	for i := range 3000 {
		must(os.WriteFile(filepath.Join(path, fmt.Sprint("f", i)), nil, 0o400))
	}
	must(os.MkdirAll(filepath.Join(path, "locked", "in", "d1"), 0o700))
	must(os.WriteFile(filepath.Join(path, "locked", "in", "f"), nil, 0o400))
	must(os.MkdirAll(filepath.Join(path, "d1", "d1", "d2"), 0o700)) // names as the removal itself makes them

	at, err := os.OpenRoot(path)
	must(err)
	for range 3000 {
		must(at.Mkdir("deep", 0o700))
		next, err := at.OpenRoot("deep")
		must(err)
		must(at.Close())
		at = next
	}
	must(at.Close())
	must(os.Chmod(filepath.Join(path, "locked", "in"), 0))
	must(os.Chmod(filepath.Join(path, "locked"), 0))
	must(os.Chmod(path, 0o500))
}

// asNobody runs the calling test again as a user without rights.
func asNobody(t *testing.T) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "ws") // t.TempDir is below directories that are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	bin := filepath.Join(tmp, "child.test")
	if err := errors.Join(os.Chown(tmp, nobody, nobody), os.WriteFile(bin, exe, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = tmp
	cmd.Env = []string{"WORKSPACE_TEST_CHILD=1", "TMPDIR=" + tmp, "HOME=" + tmp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
