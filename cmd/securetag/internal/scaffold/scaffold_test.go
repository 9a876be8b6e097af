package scaffold_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/cmd/securetag/internal/scaffold"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

const repository = "../../../.."

// TestProjects writes a project in each language, builds it, runs its tests,
// and scans its sample in the host's executor.
func TestProjects(t *testing.T) {
	t.Parallel()
	for _, language := range scaffold.Languages() {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "project")
			project := scaffold.Project{Name: "words", Language: language, Dir: dir, SDK: repository}
			written, err := project.Write()
			if err != nil || len(written) < 6 {
				t.Fatalf("Write: %v, %v", written, err)
			}
			if _, err := project.Write(); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("a second Write: %v, want it refused", err)
			}
			scan(t, dir, build(t, language, dir))
		})
	}
}

// build builds a project, runs its tests and says how the plugin is started.
// What its package manager would install is taken from where the kits' tests
// have it.
func build(t *testing.T, language, dir string) executor.Plugin {
	t.Helper()
	switch language {
	case "go":
		// Without a path of its own in what is compiled, as make build has compiled it.
		env := []string{"CGO_ENABLED=0", "GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")}
		run(t, dir, env, "go", "mod", "tidy")
		run(t, dir, env, "go", "build", "-ldflags=-s -w", "-o", "words", ".")
		run(t, dir, env, "go", "test", "./...")
		return executor.Plugin{Dev: true, Command: filepath.Join(dir, "words")}
	case "python":
		deps := run(t, repository, nil, "sh", "scripts/kit-deps.sh", "python", "sdk/python/requirements.txt")
		python := run(t, dir, nil, "python3", "-c", "import sys; print(sys.executable)")
		src, err := filepath.Abs(filepath.Join(repository, "sdk/python/src"))
		if err != nil {
			t.Fatal(err)
		}
		path := src + ":" + deps
		run(t, dir, []string{"PYTHONPATH=" + path}, python, "-B", "-m", "unittest")
		return executor.Plugin{Dev: true, Command: python, Args: []string{"-B", filepath.Join(dir, "main.py")}, Env: map[string]string{"PYTHONPATH": path}}
	default:
		run(t, repository, nil, "sh", "scripts/kit-deps.sh", "node", "sdk/node")
		sdk, err := filepath.Abs(filepath.Join(repository, "sdk/node"))
		if err != nil {
			t.Fatal(err)
		}
		modules := filepath.Join(dir, "node_modules")
		if err := errors.Join(os.Mkdir(modules, 0o755), os.Symlink(sdk, filepath.Join(modules, "securetag-sdk"))); err != nil {
			t.Fatal(err)
		}
		node := run(t, dir, nil, "node", "-p", "process.execPath")
		run(t, dir, nil, node, "--test")
		return executor.Plugin{Dev: true, Command: node, Args: []string{filepath.Join(dir, "main.js")}}
	}
}

func scan(t *testing.T, dir string, p executor.Plugin) {
	t.Helper()
	runDir, err := os.MkdirTemp("", "st") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runDir) })
	p.Name, p.StartTimeout = "words", time.Minute
	e, err := executor.New(executor.Config{RunDir: runDir, Plugins: []executor.Plugin{p}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	s := &sink{}
	rep, err := e.Run(ctx, host.Task{
		Plugin: "words", Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "codeaudit",
		Root: filepath.Join(dir, "sample"), WorkDir: t.TempDir(), DisplayName: "sample",
	}, s)
	stop()
	if err := errors.Join(err, <-served); err != nil || rep.State != host.StateSucceeded {
		t.Fatalf("Run: %+v, %v", rep, err)
	}
	want := host.Location{Path: "app.txt", StartLine: 2, StartColumn: 5, EndLine: 2, EndColumn: 9}
	if len(s.found) != 1 || s.found[0].Location != want {
		t.Errorf("findings %+v, want one at %+v", s.found, want)
	}
}

// run runs a command to its end and gives what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, exit.Stderr)
	}
	return strings.TrimSpace(string(out))
}

// TestMistakes: what cannot be is refused with what to do.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]scaffold.Project{
		"lower-case letters":       {Name: "Words", Language: "go"},
		"--lang takes go, python":  {Name: "words", Language: "cobol"},
		"no checkout of SecureTag": {Name: "words", Language: "go", SDK: "/nowhere"},
	} {
		p.Dir = filepath.Join(t.TempDir(), "p")
		if _, err := p.Write(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", p, err, want)
		}
		if _, err := os.Stat(p.Dir); err == nil {
			t.Errorf("%+v wrote something", p)
		}
	}
}

// sink keeps what it is given; the executor calls it from one goroutine.
type sink struct{ found []host.Finding }

func (s *sink) Progress(host.Progress) {}

func (s *sink) Note(host.Note) {}

func (s *sink) Findings(_ context.Context, batch []host.Finding) error {
	s.found = append(s.found, batch...)
	return nil
}

func (s *sink) Artifact(_ context.Context, _ host.Artifact, r io.Reader) (int64, error) {
	return io.Copy(io.Discard, r)
}
