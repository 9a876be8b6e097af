package engines_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// engine is one of the plugins that come with SecureTag, with something to scan
// that keeps it busy until somebody stops it.
type engine struct {
	args     []string
	env      map[string]string
	read     []string
	settings map[string]any
	tree     func(t *testing.T) map[string]string
	site     bool // it scans a URL: that of a site that never answers
	url      string
	options  json.RawMessage
	memory   int64 // with which it cannot end; 0: the least that a host gives is enough, or TestBrokenTools has it
}

// TestNeverClean: an engine that is killed, runs out of memory, is stopped by the
// clock, is not there or has settings that it cannot have, ends in an error. What
// can go wrong within each plugin its own tests try.
func TestNeverClean(t *testing.T) {
	t.Parallel()
	all := engines(t)
	for name, e := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("killed", func(t *testing.T) {
				t.Parallel()
				p := e.plugin(t, name)
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				fault(t, run(ctx, t, e, p, func() { kill(t, filepath.Dir(p.Command)) }), host.CodePluginCrashed, "killed")
			})
			t.Run("late", func(t *testing.T) {
				t.Parallel()
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				late := errors.New("the time of the scan type is over")
				if got := run(ctx, t, e, e.plugin(t, name), func() { stop(late) }); !errors.Is(got.err, late) {
					t.Errorf("%s; want the error of the clock", got)
				}
			})
			t.Run("missing", func(t *testing.T) {
				t.Parallel()
				p := e.plugin(t, name)
				p.Command = filepath.Join(t.TempDir(), name)
				fault(t, run(t.Context(), t, e, p, nil), host.CodePluginUnavailable, "no such file")
			})
			t.Run("misconfigured", func(t *testing.T) {
				t.Parallel()
				p := e.plugin(t, name)
				p.Config = json.RawMessage(`{"no_such_setting": 1}`)
				fault(t, run(t.Context(), t, e, p, nil), host.CodePluginUnavailable, "no_such_setting")
			})
			if e.memory == 0 {
				return
			}
			t.Run("out of memory", func(t *testing.T) {
				t.Parallel()
				p := e.plugin(t, name)
				p.Sandbox, p.Limits.Memory, p.MaxSilence = executor.BestEffort, e.memory, time.Minute
				fault(t, run(t.Context(), t, e, p, nil), host.CodePluginCrashed, "out of memory")
			})
		})
	}
}

// engines are all that come with SecureTag but noop, which looks at nothing.
func engines(t *testing.T) map[string]engine {
	t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // to be executed
			t.Fatal(err)
		}
		return path
	}
	sleeping := write("go", "#!/bin/sh\nexec sleep 600\n")
	many := func(count int, name, text string) func(*testing.T) map[string]string {
		return func(*testing.T) map[string]string {
			files := map[string]string{}
			for i := range count {
				files[fmt.Sprintf(name, i)] = text
			}
			return files
		}
	}
	var pins strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&pins, "package%d==1.%d.0\n", i, i)
	}
	return map[string]engine{
		"secrets": {tree: many(300, "%04d.js", strings.Repeat("password = api_key + token; // secret aws github slack\n", 500))},
		"dependencies": {
			tree:   many(10, "%02d/requirements.txt", pins.String()),
			memory: 64 << 20,
		},
		"iac": {
			tree: many(1000, "%04d/Dockerfile", "FROM python:latest\nRUN apt-get install -y zint\n"),
		},
		"gosec": {
			env:      map[string]string{"PATH": "/usr/bin:/bin"},
			settings: map[string]any{"go": sleeping},
			tree:     many(1, "a%d.go", "package a\n"),
		},
		"sarif": {
			args:     []string{"--name", "sarif"},
			settings: map[string]any{"command": "sh", "args": []string{"-c", "exec sleep 600", "{target}"}},
			tree:     many(1, "a%d.c", "int x;\n"),
		},
		"web": {site: true},
	}
}

// plugin is how a host has the engine: a copy of its own, so that its processes
// are known by their names.
func (e engine) plugin(t *testing.T, name string) executor.Plugin {
	t.Helper()
	command := filepath.Join(t.TempDir(), name)
	if err := os.Link(filepath.Join(built(t), "plugins", name), command); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(e.settings)
	if err != nil || e.settings == nil {
		settings = nil
	}
	return executor.Plugin{
		Name: name, Command: command, Args: e.args, Env: e.env, Read: e.read, Config: settings, Dev: true,
		Sandbox: executor.Unconfined, StartTimeout: time.Minute, CancelGrace: 100 * time.Millisecond,
	}
}

// ending is how a run ended.
type ending struct {
	report   host.Report
	findings []host.Finding
	notes    []host.Note
	egress   proxy.Usage
	err      error
}

func (e ending) String() string {
	return fmt.Sprintf("%s %q, %d findings, %v, %v", e.report.State, e.report.Reason, len(e.findings), e.notes, e.err)
}

// bad reports whether nobody takes it for clean, and it says why.
func (e ending) bad(why string) bool {
	if e.err != nil {
		return strings.Contains(e.err.Error(), why)
	}
	return (e.report.State == host.StateFailed || e.report.State == host.StatePartial) && strings.Contains(e.report.Reason, why)
}

// warned reports whether every report has a warning that says so.
func (e ending) warned(what string) bool {
	return slices.ContainsFunc(e.notes, func(n host.Note) bool { return n.Level == host.NoteWarning && strings.Contains(n.Text, what) })
}

func fault(t *testing.T, got ending, code host.ErrorCode, why string) {
	t.Helper()
	var f *host.Fault
	if !errors.As(got.err, &f) || f.Code != code || !strings.Contains(f.Message, why) {
		t.Errorf("%s; want %s, %q", got, code, why)
	}
}

// run has the host's executor run a job; midway is called once, when the engine
// is at work.
func run(ctx context.Context, t *testing.T, e engine, p executor.Plugin, midway func()) ending {
	t.Helper()
	dir, err := os.MkdirTemp("", "st") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := executor.Config{RunDir: dir, Plugins: []executor.Plugin{p}}
	if p.Sandbox != executor.Unconfined {
		box := sandbox.Open(filepath.Join(built(t), "securetag"), hclog.NewNullLogger())
		defer box.Close()
		cfg.Sandbox = box
	}
	if midway == nil {
		midway = func() {}
	}
	s := &sink{midway: sync.OnceFunc(midway)}
	task := host.Task{Plugin: p.Name, Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "codeaudit", WorkDir: t.TempDir(), DisplayName: "test"}
	switch {
	case e.url != "":
		task.URL, task.Options = e.url, e.options
	case e.site:
		task.URL, cfg.Plugins[0].Config = silentSite(t, s.midway, p.Config)
	default:
		task.Root = t.TempDir()
		for name, text := range e.tree(t) {
			path := filepath.Join(task.Root, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil { //nolint:gosec // the plugin may be another user
				t.Fatal(err)
			}
		}
	}
	x, err := executor.New(cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- x.Serve(serving) }()
	var out ending
	out.report, out.err = x.Run(ctx, task, s)
	out.findings, out.notes, out.egress = s.findings, s.notes, x.Status()[0].Egress
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	return out
}

// silentSite is a site that takes requests and does not answer, and the settings
// with which it may be scanned.
func silentSite(t *testing.T, asked func(), settings json.RawMessage) (string, json.RawMessage) {
	t.Helper()
	over := make(chan struct{})
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked()
		<-over
	}))
	t.Cleanup(func() { close(over); site.Close() })
	u, err := url.Parse(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	if settings == nil {
		settings = json.RawMessage(fmt.Sprintf(`{"allow_networks": ["127.0.0.0/8"], "literals": true, "ports": [%q]}`, u.Port()))
	}
	return site.URL, settings
}

// kill is SIGKILL for all processes of a program in a directory, but those that
// have it only as an argument.
func kill(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	killed := 0
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !strings.HasPrefix(string(line), dir+"/") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err != nil {
			t.Error(err)
			continue
		}
		p, err := os.FindProcess(pid)
		if err == nil && p.Kill() == nil {
			killed++
		}
	}
	if killed == 0 {
		t.Error("there is no process to kill")
	}
}

// sink keeps what it hears, and tells when the engine is at work.
type sink struct {
	noArtifacts
	findings []host.Finding
	notes    []host.Note
	midway   func()
}

func (s *sink) Progress(host.Progress) { s.midway() }

func (s *sink) Note(n host.Note) { s.notes = append(s.notes, n) }

func (s *sink) Findings(_ context.Context, batch []host.Finding) error {
	s.findings = append(s.findings, batch...)
	return nil
}
