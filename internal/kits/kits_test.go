package kits_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

const repository = "../.."

// kit is one language: how a plugin written with it is started.
type kit struct {
	name    string // of the folder in sdk
	command string
	args    []string // before the file
	env     map[string]string
	probe   string
	example string   // folder in examples/plugins
	read    []string // what a confined process must see beside the kit
}

var kits []kit

func TestMain(m *testing.M) {
	var err error
	if kits, err = findKits(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// findKits installs what the kits need, or says what to do.
func findKits() ([]kit, error) {
	python, err := output("python3", "-c", "import sys; print(sys.executable)")
	if err != nil {
		return nil, fmt.Errorf("the Python kit is tested with python3: %w", err)
	}
	node, err := output("node", "-p", "process.execPath")
	if err != nil {
		return nil, fmt.Errorf("the Node kit is tested with node: %w", err)
	}
	deps, err := output("sh", repository+"/scripts/kit-deps.sh", "python", "sdk/python/requirements.txt")
	if err != nil {
		return nil, fmt.Errorf("install what the Python kit needs: %w", err)
	}
	modules, err := output("sh", repository+"/scripts/kit-deps.sh", "node", "sdk/node")
	if err != nil {
		return nil, fmt.Errorf("install what the Node kit needs: %w", err)
	}
	src, err := filepath.Abs(repository + "/sdk/python/src")
	return []kit{
		{
			name: "python", command: python, args: []string{"-B"}, env: map[string]string{"PYTHONPATH": src + ":" + deps, "PATH": "/usr/bin:/bin"},
			probe: "probe.py", example: "python-calls", read: []string{deps},
		},
		{name: "node", command: node, probe: "probe.mjs", example: "node-scripts", read: []string{modules}},
	}, err
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// install puts a plugin's file where its imports are found, as an author's
// package manager would, and gives its path.
func (k kit) install(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), b, 0o644)
	}
	if err == nil && k.name == "node" {
		err = os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type": "module"}`), 0o644)
	}
	if err == nil {
		err = k.link(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, filepath.Base(file))
}

// link puts the kit where plugins in dir import it from.
func (k kit) link(dir string) error {
	if k.name != "node" {
		return nil // PYTHONPATH says it
	}
	sdk, err := filepath.Abs(repository + "/sdk/node")
	return errors.Join(err,
		os.Mkdir(filepath.Join(dir, "node_modules"), 0o755),
		os.Symlink(sdk, filepath.Join(dir, "node_modules", "securetag-sdk")))
}

// serve runs an executor with one plugin of the kit.
func (k kit) serve(t *testing.T, plugin, file string, isolation executor.Isolation) (*executor.Executor, *log) {
	t.Helper()
	dir, err := os.MkdirTemp("", "st") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	logs := &log{}
	e, err := executor.New(executor.Config{RunDir: dir, Plugins: []executor.Plugin{{
		Name: plugin, Dev: true, Command: k.command, Args: append(k.args, k.install(t, file)), Env: k.env, Isolation: isolation,
		CancelGrace: 2 * time.Second, StartTimeout: time.Minute,
	}}}, hclog.New(&hclog.LoggerOptions{Output: logs, Level: hclog.Trace}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("run directory: %v, %v; want it empty", left, err)
		}
	})
	return e, logs
}

func task(t *testing.T, plugin, root, do string) host.Task {
	t.Helper()
	options, err := json.Marshal(map[string]string{"do": do})
	if err != nil {
		t.Fatal(err)
	}
	if do == "" {
		options = nil
	}
	return host.Task{
		Plugin: plugin, Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "codeaudit",
		Root: root, WorkDir: t.TempDir(), DisplayName: "test", Options: options,
	}
}

// TestEndings runs every way a scan ends in the real host, through one shared
// process: what failed before does not hurt what comes after.
func TestEndings(t *testing.T) {
	t.Parallel()
	for _, k := range kits {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			e, logs := k.serve(t, "probe", filepath.Join("testdata", k.probe), executor.Shared)
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "a.txt"), []byte("x\n\xff\u00e9 TODO: y\r\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				do     string
				state  host.State
				reason string
				found  int
				code   host.ErrorCode // of the fault, instead of a report
				retry  bool
			}{
				{do: "", state: host.StateSucceeded, found: 1},
				{do: "many", state: host.StateSucceeded, found: 1234},
				{do: "raise", state: host.StateFailed, reason: "no such luck"},
				{do: "retry", state: host.StateFailed, reason: "the server is busy", retry: true},
				{do: "refuse", code: host.CodePluginRefused, reason: "cannot scan that"},
				{do: "undeclared", state: host.StateFailed, reason: `by the rule "nobody", which it does not declare`},
				{do: "partial", state: host.StatePartial, reason: "one was unreadable"},
				{do: "artifact", state: host.StateSucceeded},
				{do: "crash", code: host.CodePluginCrashed, reason: "exited with status 7", retry: true},
			} {
				s := &sink{}
				rep, err := e.Run(t.Context(), task(t, "probe", root, tt.do), s)
				var fault *host.Fault
				switch {
				case tt.code != "":
					if !errors.As(err, &fault) || fault.Code != tt.code || fault.Retryable != tt.retry || !strings.Contains(fault.Message, tt.reason) {
						t.Errorf("%q: %v; want %s, %q", tt.do, err, tt.code, tt.reason)
					}
				case err != nil || rep.State != tt.state || !strings.Contains(rep.Reason, tt.reason) || rep.Retryable != tt.retry:
					t.Errorf("%q: %+v, %v; want %s, %q", tt.do, rep, err, tt.state, tt.reason)
				case len(s.findings) != tt.found:
					t.Errorf("%q: %d findings, want %d", tt.do, len(s.findings), tt.found)
				}
				if tt.do == "artifact" && !slices.Equal(s.artifacts, []string{"out.json application/json 4413: {}"}) {
					t.Errorf("artifacts %q", s.artifacts)
				}
				if tt.do == "" && err == nil && len(s.findings) == 1 {
					want := host.Location{Path: "a.txt", StartLine: 2, StartColumn: 5, EndLine: 2, EndColumn: 9}
					if diff := cmp.Diff(want, s.findings[0].Location); diff != "" {
						t.Errorf("location (-want +got):\n%s", diff)
					}
				}
			}
			for _, want := range []string{"[WARN]", "a warning n=1", "printed before main", "printed in the scan", "Error", "the disk is on fire"} {
				if !strings.Contains(logs.String(), want) {
					t.Errorf("the log does not say %q:\n%s", want, logs)
				}
			}
		})
	}
}

// TestCancel: a scan that listens ends as canceled, one that does not is ended.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, k := range kits {
		for _, do := range []string{"wait", "ignore"} {
			t.Run(k.name+"/"+do, func(t *testing.T) {
				t.Parallel()
				e, _ := k.serve(t, "probe", filepath.Join("testdata", k.probe), executor.PerScan)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				stop := errors.New("somebody said so")
				s := &sink{on: func(p host.Progress) {
					if p.Phase == "waiting" {
						cancel(stop)
					}
				}}
				if _, err := e.Run(ctx, task(t, "probe", t.TempDir(), do), s); !errors.Is(err, stop) {
					t.Errorf("Run: %v, want the cause of the cancel", err)
				}
				if want := (host.Progress{Phase: "waiting", Done: 3, Total: 7, Unit: "sheep"}); do == "wait" && s.last != want {
					t.Errorf("progress %+v, want %+v", s.last, want)
				}
			})
		}
	}
}

// TestExamples runs the example of each kit on a small tree.
func TestExamples(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.py":             "import os\n\n\ndef f(x):\n    os.system(x)\n",
		"web/package.json": "{\n  \"scripts\": {\"postinstall\": \"sh x\"},\n  \"dependencies\": {\"a\": \"git+ssh://b\"}\n}\n",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{
		"python-calls": {"os.system a.py:5"},
		"node-scripts": {"install-script web/package.json:2", "remote-dependency web/package.json:3"},
	}
	for _, k := range kits {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			main, err := filepath.Glob(filepath.Join(repository, "examples/plugins", k.example, "main.*"))
			if err != nil || len(main) != 1 {
				t.Fatalf("main of %s: %v, %v", k.example, main, err)
			}
			e, _ := k.serve(t, k.example, main[0], executor.PerScan)
			s := &sink{}
			if rep, err := e.Run(t.Context(), task(t, k.example, root, ""), s); err != nil || rep.State != host.StateSucceeded {
				t.Fatalf("Run: %+v, %v", rep, err)
			}
			var got []string
			for _, f := range s.findings {
				got = append(got, fmt.Sprintf("%s %s:%d", f.RuleID, f.Location.Path, f.Location.StartLine))
			}
			if diff := cmp.Diff(want[k.example], got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// sink keeps what it is given; the executor calls it from one goroutine.
type sink struct {
	findings  []host.Finding
	artifacts []string
	last      host.Progress
	on        func(host.Progress)
}

func (s *sink) Progress(p host.Progress) {
	s.last = p
	if s.on != nil {
		s.on(p)
	}
}

func (s *sink) Note(host.Note) {}

func (s *sink) Findings(_ context.Context, batch []host.Finding) error {
	s.findings = append(s.findings, batch...)
	return nil
}

func (s *sink) Artifact(_ context.Context, a host.Artifact, r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	s.artifacts = append(s.artifacts, fmt.Sprintf("%s %s %.4s: %s", a.Name, a.MediaType, a.SHA256, b))
	return int64(len(b)), err
}

// log may be read while it is written.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
