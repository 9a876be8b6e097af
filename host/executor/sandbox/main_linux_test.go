package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/host/executor/sandbox/sandboxtest"
)

const (
	asPrisoner = "SANDBOX_TEST_PRISONER" // what the test binary does as the confined program
	asUser     = "SANDBOX_TEST_USER"     // set where root runs the tests once more as somebody else
	nobody     = 65534
)

func TestMain(m *testing.M) {
	sandbox.Main()
	sandboxtest.Main()
	if what := os.Getenv(asPrisoner); what != "" {
		prisoner(what)
		return
	}
	goleak.VerifyTestMain(m)
}

// TestAsUser runs every test of this package again without the rights of root.
func TestAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // then they run so already
	}
	dir := shared(t)
	program := filepath.Join(dir, "tests")
	if out, err := exec.Command("cp", testBinary(t), program).CombinedOutput(); err != nil {
		t.Fatalf("copy the tests: %v: %s", err, out)
	}
	cmd := exec.Command(program, "-test.v", "-test.timeout=2m")
	cmd.Dir, cmd.Env = dir, []string{asUser + "=1", "TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestWalls")) {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}

// shared is a directory that everybody may use; t.TempDir is not below root's.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// open gives a sandbox that is closed at the end.
func open(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	s := sandbox.Open("/proc/self/exe", hclog.NewNullLogger())
	t.Cleanup(s.Close)
	return s
}

// cell is a place for one prisoner.
type cell struct {
	spec    sandbox.Spec
	work    string
	program *os.File           // executed in the place of Argv[0]; nil: not
	serve   func(net.Listener) // gets Jail.Listener; nil: it is not asked for
}

func newCell(t *testing.T, what string) cell {
	t.Helper()
	dir := shared(t)
	c := cell{work: filepath.Join(dir, "work")}
	tmp, in := filepath.Join(c.work, "tmp"), filepath.Join(c.work, "in")
	for _, d := range []string{c.work, tmp, in} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self := testBinary(t)
	c.spec = sandbox.Spec{
		Argv: []string{self}, Env: []string{asPrisoner + "=" + what, "HOME=" + tmp, "TMPDIR=" + tmp},
		Dir: tmp, Read: []string{self, in}, Write: []string{c.work}, Tmp: tmp,
		Limits: sandbox.Limits{Memory: 512 << 20, PIDs: 64, OpenFiles: 200, FileSize: 1 << 20, TmpSize: 4 << 20},
	}
	return c
}

// outcome is how a prisoner ended.
type outcome struct {
	out, err  string
	state     *os.ProcessState
	exhausted string
}

// lock runs a prisoner to its end.
func (c cell) lock(t *testing.T, s *sandbox.Sandbox) outcome {
	t.Helper()
	j, err := s.New(c.spec)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Own(c.work, c.spec.Tmp); err != nil {
		t.Fatal(err)
	}
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp(t.TempDir(), "out"); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	cmd, err := j.Command(c.program, files[0], files[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := j.Enter(cmd.Process.Pid); err != nil {
		_ = cmd.Wait()
		t.Fatalf("Enter: %v", err)
	}
	if c.serve != nil {
		c.serve(j.Listener())
	}
	_ = cmd.Wait()
	read := func(f *os.File) string {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return outcome{read(files[0]), read(files[1]), cmd.ProcessState, j.Exhausted()}
}

// facts reads what a prisoner found out: a name and what happened, each.
func (o outcome) facts(t *testing.T) map[string]string {
	t.Helper()
	facts := map[string]string{}
	if err := json.Unmarshal([]byte(o.out), &facts); err != nil {
		t.Fatalf("the prisoner said %q, %q: %v", o.out, o.err, err)
	}
	return facts
}

// say prints what a prisoner found out.
func say(facts map[string]any) {
	text := map[string]string{}
	for k, v := range facts {
		text[k] = strings.TrimSpace(fmt.Sprint(v))
	}
	_ = json.NewEncoder(os.Stdout).Encode(text)
}
