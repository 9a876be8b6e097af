package executor_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/sandbox/sandboxtest"
)

// asPoor makes the test binary run TestOnPoorMachine on a poorer machine.
const asPoor = "SECURETAG_TEST_POOR"

// poor is a machine, and the walls that do not hold on it.
type poor struct {
	refused []sandboxtest.Refusal
	layers  string // how Containment begins
	open    []string
	missing []string // layers, each with a reason
}

var poorMachines = map[string]poor{
	"container": {
		refused: []sandboxtest.Refusal{sandboxtest.Namespaces}, layers: "sandbox: landlock,scopes,seccomp,rlimits",
		missing: []string{"root: namespaces are refused", "pids: ", "network: ", "egress: ", "proc: ", "uid: "},
	},
	"no-memfd": {
		refused: []sandboxtest.Refusal{sandboxtest.Memfd}, layers: "sandbox: root,pids,network,egress,proc",
	},
	"no-proc": {
		refused: []sandboxtest.Refusal{sandboxtest.Proc}, layers: "sandbox: root,pids,network",
		missing: []string{"proc: mount /proc: operation not permitted"},
	},
	"old": {
		refused: []sandboxtest.Refusal{sandboxtest.Namespaces, sandboxtest.Landlock}, layers: "sandbox: seccomp,rlimits",
		open:    []string{"no file of the host's but the system's own", "no other process"},
		missing: []string{"root: namespaces are refused", "landlock: the kernel has no Landlock"},
	},
}

// TestPoorMachines: where the machine does not give enough, required refuses a
// plugin with what is missing and what can be done; best_effort starts it, and
// what is missing is in its status and in the log.
func TestPoorMachines(t *testing.T) {
	t.Parallel()
	for name, m := range poorMachines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestOnPoorMachine$", "-test.v", "-test.timeout=3m")
			cmd.Env = append(os.Environ(), asPoor+"="+name, asUser+"="+hostile())
			sandboxtest.Refuse(cmd, m.refused...)
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestOnPoorMachine")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestOnPoorMachine is TestPoorMachines there.
func TestOnPoorMachine(t *testing.T) {
	t.Parallel()
	m, ok := poorMachines[os.Getenv(asPoor)]
	if !ok {
		return
	}
	how := func(c executor.Confinement) func(*executor.Config) {
		return plugin(func(p *executor.Plugin) { p.Sandbox = c })
	}
	t.Run("required", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "ok", confined, how(executor.Required), pinned(t, hostile()))
		_, _, err := b.run(t)
		if len(m.open) == 0 {
			if err != nil {
				t.Errorf("every wall holds, and Run says: %v", err)
			}
			return
		}
		wantFault(t, err, unavailable, true, append(m.open, "does not hold", "namespaces are refused", `sandbox = "best_effort"`)...)
		if s := b.status(); s.Starts != 0 || !strings.Contains(s.Reason, m.open[0]) {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("best_effort", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "read-tree", confined, how(executor.BestEffort))
		task, s := b.task(t, ""), &sink{}
		if err := os.WriteFile(filepath.Join(task.Root, "file"), []byte("of this job"), 0o644); err != nil { //nolint:gosec // the plugin is another user
			t.Fatal(err)
		}
		if rep, err := b.Run(t.Context(), task, s); err != nil || rep.State != host.StateSucceeded {
			t.Fatalf("Run: %+v, %v", rep, err)
		}
		got := confession(s)
		if got["text"] != "of this job" || got["work"] != "<nil>" || len(m.open) == 0 && !strings.Contains(got["write"], "denied") && !strings.Contains(got["write"], "read-only") {
			t.Errorf("the plugin says %v", got)
		}
		m.told(t, b)
	})
	if !strings.Contains(m.layers, "network") {
		t.Run("egress", func(t *testing.T) {
			t.Parallel()
			wantHostsNetwork(t)
		})
	}
}

// wantHostsNetwork: where there is no namespace to hold it, required refuses a
// plugin that is to go out by the proxy, and best_effort gives it the host's
// network and says so.
func wantHostsNetwork(t *testing.T) {
	t.Helper()
	may := newCallable(t)
	on := func(c executor.Confinement) *bench {
		return newBench(t, "caller", confined, plugin(func(p *executor.Plugin) { p.Sandbox, p.Egress = c, may.to() }))
	}
	_, _, err := on(executor.Required).run(t)
	wantFault(t, err, unavailable, true, `sandbox = "best_effort"`, "namespaces are refused")
	b := on(executor.BestEffort)
	if got := b.call(t, may, may); got["direct"] != "reached" || got["client"] != "hello <nil>" || strings.TrimSpace(got["env"]) != "no:" {
		t.Errorf("best_effort: %v", got)
	}
	if s := b.status(); !strings.Contains(s.Containment, "does not hold: egress, it has the host's network") || !strings.Contains(b.logs.String(), "a plugin has the host's whole network") {
		t.Errorf("it is not said: %s", s.Containment)
	}
}

// told checks that all who ask hear what is missing.
func (m poor) told(t *testing.T, b *bench) {
	t.Helper()
	for who, s := range map[string]executor.PluginStatus{"Status": b.status(), "CheckOne": b.CheckOne(t.Context(), "hostile")} {
		if !strings.HasPrefix(s.Containment, m.layers) || strings.Contains(s.Containment, "does not hold") != (len(m.open) > 0) {
			t.Errorf("%s: containment %q, want %q", who, s.Containment, m.layers)
		}
		for _, w := range m.open {
			if !strings.Contains(s.Containment, w) {
				t.Errorf("%s: containment %q does not say %q", who, s.Containment, w)
			}
		}
		for _, want := range m.missing {
			if !slices.ContainsFunc(s.Missing, func(line string) bool { return strings.HasPrefix(line, want) }) {
				t.Errorf("%s: missing %q, want %q among them", who, s.Missing, want)
			}
		}
	}
	log := b.logs.String()
	if complete := strings.Contains(log, "plugins are confined: "); complete != (len(m.open) == 0) {
		t.Errorf("the log says that it is complete: %t\n%s", complete, log)
	}
	if warned := strings.Contains(log, "plugins cannot be confined as they should be"); warned != (len(m.open) > 0) {
		t.Errorf("the log warns: %t\n%s", warned, log)
	}
}
