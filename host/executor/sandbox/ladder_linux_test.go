package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/executor/sandbox"
	. "github.com/securetaghq/securetag/host/executor/sandbox/sandboxtest" //nolint:revive // the names of a table
)

// asRung makes the test binary, on a poorer machine, run TestRung for TestLadder.
const asRung = "SANDBOX_TEST_RUNG"

// rung is a machine, and what its sandbox still is.
type rung struct {
	Refused []Refusal
	Missing map[sandbox.Layer]string // and what the reason says
	Has     []sandbox.Layer
	// Open are the walls that do not hold; none: the sandbox is complete.
	Open []string
	// Facts are what a prisoner finds out.
	Facts map[string]string
}

const (
	files     = "no file of the host's but the system's own"
	processes = "no other process"
	calls     = "no system call that only breaks out"
	refused   = "not permitted"
	none      = "<nil>"
)

var ladder = map[string]rung{
	"no namespaces, as in a container": {
		Refused: []Refusal{Namespaces},
		Missing: map[sandbox.Layer]string{
			sandbox.LayerRoot: "namespaces are refused", sandbox.LayerPIDs: refused, sandbox.LayerNetwork: refused, sandbox.LayerEgress: refused, sandbox.LayerProc: refused, sandbox.LayerUID: "",
		},
		Has: []sandbox.Layer{sandbox.LayerLandlock, sandbox.LayerScopes, sandbox.LayerSeccomp, sandbox.LayerRlimits},
		Facts: map[string]string{
			"read outside": "denied", "write outside": "denied", "write work": none, "write home": none, "read usr": none,
			"tcp": refused, "udp": refused, "mptcp": refused, "unix": none, "dial host": refused, "dial abstract": refused,
			"unshare": refused, "setsid": refused, "effective": "0", "nnp": "1",
		},
	},
	"no user namespaces left": {
		Refused: []Refusal{NamespacesOut},
		Missing: map[sandbox.Layer]string{sandbox.LayerRoot: "no space left", sandbox.LayerPIDs: "namespaces are refused"},
		Has:     []sandbox.Layer{sandbox.LayerLandlock, sandbox.LayerSeccomp},
		Facts:   map[string]string{"read outside": "denied", "tcp": refused, "dial host": refused},
	},
	"namespaces, and no mounts in them": {
		Refused: []Refusal{Mounts},
		Missing: map[sandbox.Layer]string{sandbox.LayerRoot: refused, sandbox.LayerProc: refused, sandbox.LayerEgress: "without a root", sandbox.LayerUID: ""},
		Has:     []sandbox.Layer{sandbox.LayerPIDs, sandbox.LayerNetwork, sandbox.LayerLandlock, sandbox.LayerSeccomp},
		Facts: map[string]string{
			// Landlock is not about sockets with a path, and neither is the network namespace.
			"read outside": "denied", "dial host": refused, "tcp": refused, "pid": "1", "unix": none, "setsid": none,
		},
	},
	"no /proc": {
		Refused: []Refusal{Proc},
		Missing: map[sandbox.Layer]string{sandbox.LayerProc: "mount /proc"},
		Has:     []sandbox.Layer{sandbox.LayerRoot, sandbox.LayerPIDs, sandbox.LayerNetwork, sandbox.LayerEgress, sandbox.LayerLandlock, sandbox.LayerSeccomp},
		Facts:   map[string]string{"read outside": "no such file", "read proc": "no such file", "dial host": "no such file", "tcp": refused, "pid": "1", "write work": none},
	},
	"no Landlock": {
		Refused: []Refusal{Landlock},
		Missing: map[sandbox.Layer]string{sandbox.LayerLandlock: "no Landlock", sandbox.LayerScopes: "ABI 0"},
		Has:     []sandbox.Layer{sandbox.LayerRoot, sandbox.LayerPIDs, sandbox.LayerNetwork, sandbox.LayerSeccomp},
		Facts:   map[string]string{"read outside": "no such file", "dial host": "no such file", "tcp": refused, "pid": "1"},
	},
	"no seccomp": {
		Refused: []Refusal{Seccomp},
		Missing: map[sandbox.Layer]string{sandbox.LayerSeccomp: "seccomp"},
		Has:     []sandbox.Layer{sandbox.LayerRoot, sandbox.LayerPIDs, sandbox.LayerNetwork, sandbox.LayerLandlock},
		Open:    []string{calls},
		Facts:   map[string]string{"read outside": "no such file", "dial host": "no such file", "pid": "1"},
	},
	"an old kernel in a container": {
		Refused: []Refusal{Namespaces, Landlock},
		Missing: map[sandbox.Layer]string{sandbox.LayerRoot: refused, sandbox.LayerLandlock: "no Landlock"},
		Has:     []sandbox.Layer{sandbox.LayerSeccomp, sandbox.LayerRlimits},
		Open:    []string{files, processes},
		Facts:   map[string]string{"read outside": none, "tcp": refused, "dial host": refused, "nnp": "1"},
	},
	"next to nothing": {
		Refused: []Refusal{Namespaces, Landlock, Seccomp},
		Has:     []sandbox.Layer{sandbox.LayerRlimits},
		Open:    []string{files, "no network", processes, calls},
		Facts:   map[string]string{"write work": none, "nnp": "1", "effective": "0"},
	},
}

// TestLadder: on each poorer machine what is missing is known, with the reason;
// the layers that are left hold what they can; and it is complete only when
// every wall holds.
func TestLadder(t *testing.T) {
	t.Parallel()
	for name, r := range ladder {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(testBinary(t), "-test.run=^TestRung$", "-test.v", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), asRung+"="+name)
			Refuse(cmd, r.Refused...)
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestRung")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestRung is TestLadder on such a machine.
func TestRung(t *testing.T) {
	t.Parallel()
	r, ok := ladder[os.Getenv(asRung)]
	if !ok {
		return
	}
	s := open(t)
	has := s.Support()
	t.Logf("layers: %s; missing: %v", has, has.Missing)
	for l, why := range r.Missing {
		if has.Has(l) || has.Missing[l] == "" || !strings.Contains(has.Missing[l], why) {
			t.Errorf("%s: %t, %q; want it missing, and %q", l, has.Has(l), has.Missing[l], why)
		}
	}
	for _, l := range r.Has {
		if !has.Has(l) {
			t.Errorf("%s is missing: %s", l, has.Missing[l])
		}
	}
	r.complete(t, has)
	c := newCell(t, "look")
	outside := shared(t)
	listen(t, filepath.Join(outside, "socket"))
	listen(t, "@"+filepath.Base(outside))
	if err := os.WriteFile(filepath.Join(c.work, "in", "where"), []byte(outside), 0o444); err != nil {
		t.Fatal(err)
	}
	// What is executed is memory, as of a pinned program; without a /proc too.
	c.program, c.spec.Argv = memory(t, testBinary(t)), []string{"/nonexistent/plugin"}
	got := c.lock(t, s).facts(t)
	for what, want := range r.Facts {
		if !strings.Contains(got[what], want) {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
}

// memory is a file in memory, opened for reading.
func memory(t *testing.T, path string) *os.File {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "program")
	defer mem.Close()
	if _, err := mem.Write(content); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (r rung) complete(t *testing.T, has sandbox.Support) {
	t.Helper()
	err := has.Complete()
	if len(r.Open) == 0 {
		if err != nil {
			t.Errorf("Complete: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("complete, and %q must be open", r.Open)
	}
	for _, w := range sandbox.Walls() {
		if open := strings.Contains(err.Error(), `"`+w.Name+`" does not hold (`); open != slices.Contains(r.Open, w.Name) {
			t.Errorf("%q is open: %t, in %v", w.Name, open, err)
		}
	}
	if !strings.Contains(err.Error(), `sandbox = "best_effort"`) {
		t.Errorf("%v does not say what to do", err)
	}
}

// look is a prisoner who tries what does no harm where nothing holds it: it may be
// the machine's root there.
func look() map[string]any {
	work := filepath.Dir(os.Getenv("HOME"))
	where, _ := os.ReadFile(filepath.Join(work, "in", "where"))
	outside := string(where)
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	return map[string]any{
		"pid": os.Getpid(), "nnp": nnp, "caps": errors.Join(err, unix.Capget(&header, &caps[0])), "effective": caps[0].Effective | caps[1].Effective,
		"write work": writable(work + "/x"), "write home": writable(os.Getenv("HOME") + "/y"), "write in": writable(work + "/in/where"),
		"write outside": writable(outside + "/x"), "read outside": readable(outside), "read usr": readable("/usr"), "read proc": readable("/proc/self/status"),
		"tcp": socket(unix.AF_INET, unix.SOCK_STREAM, 0), "udp": socket(unix.AF_INET, unix.SOCK_DGRAM, 0), "mptcp": socket(unix.AF_INET, unix.SOCK_STREAM, 262),
		"unix": socket(unix.AF_UNIX, unix.SOCK_STREAM, 0), "dial host": dial(outside + "/socket"), "dial abstract": dial("@" + filepath.Base(outside)),
		"unshare": unix.Unshare(unix.CLONE_NEWUSER), "setsid": setsid(),
	}
}

// TestSupportIsTold: by name, in one order.
func TestSupportIsTold(t *testing.T) {
	t.Parallel()
	if got := sandbox.Open("", nil).Support(); got.String() != "none" || len(got.Missing) != len(sandbox.Layers()) || got.Complete() == nil {
		t.Errorf("without a shim: %s, %v, %v", got, got.Missing, got.Complete())
	}
	text, err := json.Marshal(sandbox.Layers())
	if err != nil || !bytes.HasPrefix(text, []byte(`["root","pids","network"`)) {
		t.Errorf("%s, %v", text, err)
	}
}
