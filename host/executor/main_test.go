package executor_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/sandbox/sandboxtest"
)

// hostile builds the test plugin when the first test needs it, and gives its
// path; TestMain removes it.
var hostile = sync.OnceValue(func() string {
	if built := os.Getenv(asUser); built != "" {
		return built
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		panic(err)
	}
	path := filepath.Join(dir, "hostile")
	build := exec.Command("go", "build", "-o", path, "./internal/hostile")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the test plugin: %v\n%s", err, out))
	}
	hostileDir = dir
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // confined plugins have a user of their own
		panic(err)
	}
	return path
})

var hostileDir string

// asUser makes the test binary run tests for TestCorpusAsUser, with the test
// plugin that it names.
const asUser = "SECURETAG_TEST_USER"

// asHost makes the test binary be a host that is killed; see TestHostKilled.
const asHost = "SECURETAG_TEST_HOST"

func TestMain(m *testing.M) {
	sandboxtest.Main()
	if spec := os.Getenv(asHost); spec != "" {
		beHost(spec)
		return
	}
	code := m.Run()
	closeSandbox()
	if hostileDir != "" {
		_ = os.RemoveAll(hostileDir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// bench is one executor with one plugin, checked for leftovers at the end.
type bench struct {
	*executor.Executor
	token  string // in the command line of each of its processes
	runDir string
	plugin executor.Plugin // the first one
	logs   *syncBuffer
}

// newBench serves an executor whose only plugin runs in the given mode.
func newBench(t *testing.T, mode string, change ...func(*executor.Config)) *bench {
	t.Helper()
	b := prepare(t, mode, change...)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		b.wantNothingLeft(t)
	})
	return b
}

// prepare makes the executor without serving it.
func prepare(t *testing.T, mode string, change ...func(*executor.Config)) *bench {
	t.Helper()
	// t.TempDir would make socket paths too long.
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{token: "token-" + string(host.NewJobID()), runDir: dir, logs: &syncBuffer{}}
	cfg := executor.Config{
		RunDir: dir,
		Plugins: []executor.Plugin{{
			Name: "hostile", Command: hostile(), Args: []string{mode, b.token}, Dev: true,
			CancelGrace: 200 * time.Millisecond, MaxSilence: 30 * time.Second, StartTimeout: 30 * time.Second,
		}},
	}
	for _, f := range change {
		f(&cfg)
	}
	b.plugin, b.runDir = cfg.Plugins[0], cfg.RunDir
	log := hclog.New(&hclog.LoggerOptions{Output: b.logs, Level: hclog.Trace})
	if b.Executor, err = executor.New(cfg, log); err != nil {
		t.Fatal(err)
	}
	return b
}

// plugin changes the settings of the only plugin.
func plugin(f func(*executor.Plugin)) func(*executor.Config) {
	return func(c *executor.Config) { f(&c.Plugins[0]) }
}

func noNamespace(c *executor.Config) { c.NoPIDNamespace = true }

func shared(c *executor.Config) { c.Plugins[0].Isolation = executor.Shared }

// task is a task for the bench's plugin; options "" are none.
func (b *bench) task(t *testing.T, options string) host.Task {
	t.Helper()
	task := host.Task{
		Plugin: "hostile", Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "codeaudit",
		Root: t.TempDir(), WorkDir: t.TempDir(), DisplayName: "test",
	}
	if options != "" {
		task.Options = json.RawMessage(options)
	}
	return task
}

// run runs one task with a generous limit.
func (b *bench) run(t *testing.T) (host.Report, []host.Finding, error) {
	t.Helper()
	s := &sink{}
	rep, err := b.Run(t.Context(), b.task(t, ""), s)
	return rep, s.all(), err
}

// processes are the pids of everything that the bench's plugin started.
func (b *bench) processes() []int { return processesOf(b.token) }

func processesOf(token string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(line), token) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (b *bench) wantNothingLeft(t *testing.T) {
	t.Helper()
	if pids := b.processes(); len(pids) > 0 {
		t.Errorf("processes left behind: %v", pids)
	}
	left, err := os.ReadDir(b.runDir)
	if err != nil || len(left) > 0 {
		t.Errorf("run directory: %v, %v; want it empty", left, err)
	}
}

// eventually waits for a condition that another process brings about: there is
// nothing to wait on but to look again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within 30 s", what)
}

// wantFault checks the error of a run and that its message says each word.
func wantFault(t *testing.T, err error, code host.ErrorCode, retryable bool, words ...string) host.Fault {
	t.Helper()
	var f *host.Fault
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no fault, want %s", err, code)
	}
	if f.Code != code || f.Retryable != retryable {
		t.Errorf("fault %s, retryable %t: %q; want %s, retryable %t", f.Code, f.Retryable, f.Message, code, retryable)
	}
	if strings.ContainsAny(f.Message, "\n\x1b\x00\u202e") {
		t.Errorf("message is not one clean line: %q", f.Message)
	}
	for _, w := range append(words, `plugin "hostile"`) {
		if !strings.Contains(f.Message, w) {
			t.Errorf("message %q does not say %q", f.Message, w)
		}
	}
	return *f
}

// sink keeps what it is given.
type sink struct {
	mu       sync.Mutex
	findings []host.Finding
	// artifacts have their content in the place of the blob's key.
	artifacts []host.Artifact
	progress  []host.Progress
	notes     []host.Note
	err       error // returned by Findings
}

func (s *sink) Progress(p host.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = append(s.progress, p)
}

func (s *sink) Note(n host.Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, n)
}

func (s *sink) Findings(_ context.Context, batch []host.Finding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findings = append(s.findings, batch...)
	return s.err
}

func (s *sink) Artifact(_ context.Context, a host.Artifact, r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(b))
	if a.SHA256 != "" && a.SHA256 != sum {
		return 0, fmt.Errorf("it has another sum: %w", host.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Blob, a.Size, a.SHA256 = host.BlobKey(b), int64(len(b)), sum
	s.artifacts = append(s.artifacts, a)
	return a.Size, s.err
}

func (s *sink) all() []host.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findings
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
