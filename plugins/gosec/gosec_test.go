package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// The test binary is also the engine.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == engineArg {
		os.Exit(engine(os.Args[2:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// goEnv is a setting of the go command that runs the tests.
func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

const goMod = "module example.com/app\n\ngo 1.21\n"

const weak = `package app

import (
	"crypto/md5"
	"os"
	"os/exec"
)

func Run(name string) []byte {
	exec.Command("sh", "-c", name).Run() // #nosec
	os.Chmod(name, 0o777)
	sum := md5.Sum([]byte(name))
	return sum[:]
}
`

func TestSample(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.mod": goMod, "app.go": weak, "clean/clean.go": "package clean\n\nfunc Add(a, b int) int { return a + b }\n",
		"app_test.go": strings.ReplaceAll(weak, "Run", "RunTest"), "vendor/x/x.go": "package x\n\nimport \"crypto/md5\"\n\nvar H = md5.New()\n", "README.md": "words\n"}
	r := sdktest.Scan(t, newScanner(os.Args[0]), files, "{}")
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%s:%d:%d %s severity %d: %s", f.At.Path, f.At.StartLine, f.At.StartColumn, f.Rule, f.Severity, f.Message))
		if f.Snippet == "" || strings.Contains(f.Snippet, "12: ") {
			t.Errorf("snippet %q", f.Snippet)
		}
	}
	want := []string{
		"app.go:4:2 G501 severity 3: Blocklisted import crypto/md5: weak cryptographic primitive",
		"app.go:10:2 G104 severity 2: Errors unhandled",
		"app.go:10:2 G204 severity 3: Subprocess launched with variable",
		"app.go:11:2 G104 severity 2: Errors unhandled",
		"app.go:11:2 G302 severity 3: Expect file permissions to be 0600 or less",
		"app.go:12:9 G401 severity 3: Use of weak cryptographic primitive",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s\n%s", r.Status, r.Reason, diff)
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	app := map[string]string{"go.mod": goMod, "app.go": weak}
	for name, tt := range map[string]struct {
		self   string
		files  map[string]string
		config string
		status string
		why    string
	}{
		"no Go files":  {"/nowhere", map[string]string{"a.py": "x\n"}, "{}", sdktest.NotApplicable, "no Go files"},
		"no go":        {os.Args[0], app, `{"go": "no-such-go"}`, sdktest.Failed, "the go command (no-such-go) is not"},
		"no engine":    {"/nowhere/engine", app, "{}", sdktest.Failed, "no such file"},
		"engine fails": {"false", app, "{}", sdktest.Failed, "exit status 1"},
		"engine quits": {"true", app, "{}", sdktest.Failed, "did not come to its end"},
		"engine hangs": {os.Args[0], app, `{"timeout": "1ms"}`, sdktest.Failed, "longer than 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Scan(t, newScanner(tt.self), tt.files, tt.config)
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.why) || len(r.Findings) > 0 {
				t.Errorf("%s: %q, want %s: %q", r.Status, r.Reason, tt.status, tt.why)
			}
		})
	}
}

// What cannot be loaded makes the result partial, and what can be is looked at.
func TestPartial(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"go.mod": goMod, "app.go": weak,
		"missing/a.go": "package missing\n\nimport \"example.com/nowhere\"\n\nvar X = nowhere.X\n",
		"syntax/a.go":  "package syntax\n\nfunc {\n",
		"types/a.go":   "package types\n\nvar X int = \"text\"\n",
	}
	r := sdktest.Scan(t, newScanner(os.Args[0]), files, "{}")
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "packages or files could not be loaded whole") || len(r.Findings) != 6 {
		t.Errorf("%s: %s, %d findings", r.Status, r.Reason, len(r.Findings))
	}
	notes := strings.Join(r.Notes, "\n")
	for _, dir := range []string{"missing", "syntax", "types"} {
		if !strings.Contains("\n"+notes, "\n"+dir) {
			t.Errorf("no note of %s: %q", dir, notes)
		}
	}
	if strings.Contains(notes, t.TempDir()) || strings.Contains(notes, os.TempDir()+"/Test") {
		t.Errorf("a place of the machine: %q", notes)
	}
}

// A package that gosec passes over in silence is not a clean one.
func TestUnseen(t *testing.T) {
	t.Parallel()
	const constrained = "//go:build windows\n\n" + weak
	for name, tt := range map[string]struct {
		files         map[string]string
		findings      int
		status, wants string
	}{
		"vendor is not what go.mod says":       {map[string]string{"go.mod": goMod + "\nrequire example.com/y v1.2.3\n", "vendor/modules.txt": "# broken\n", "app.go": weak}, 0, sdktest.Partial, "1 of 1 Go files"},
		"all for another system or cgo":        {map[string]string{"go.mod": goMod, "app.go": constrained, "c.go": "package app\n\nimport \"C\"\n"}, 0, sdktest.Partial, "no Go file was looked at"},
		"one for another system":               {map[string]string{"go.mod": goMod, "app.go": weak, "windows.go": strings.ReplaceAll(constrained, "Run", "RunWindows")}, 6, sdktest.Succeeded, ""},
		"only tests":                           {map[string]string{"go.mod": goMod, "app_test.go": weak}, 0, sdktest.NotApplicable, "only tests"},
		"names that begin like those left out": {map[string]string{"go.mod": goMod, "vendors/app.go": weak}, 6, sdktest.Succeeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Scan(t, newScanner(os.Args[0]), tt.files, "{}")
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.wants) || len(r.Findings) != tt.findings {
				t.Errorf("%s: %s, %d findings, want %s: %q", r.Status, r.Reason, len(r.Findings), tt.status, tt.wants)
			}
			if name == "one for another system" && !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "1 Go files were not looked at") }) {
				t.Errorf("notes %q", r.Notes)
			}
		})
	}
}

// projects are real ones, in the module cache because this module needs them.
var projects = []string{"github.com/hashicorp/yamux", "github.com/ccojocar/zxcvbn-go", "golang.org/x/mod"}

// The same findings as gosec's own command, whose reports are kept in testdata:
// the command has the clients of three language models in it, and building them
// takes minutes. GOSEC=/path/of/gosec, of the version in go.mod, writes them
// anew.
//
// The engine is what make build builds: under the race detector, which the other
// tests have, the standard library takes ten times as long to check.
func TestSameAsGosec(t *testing.T) {
	t.Parallel()
	self := filepath.Join(t.TempDir(), "gosec")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", self, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	for _, project := range projects {
		t.Run(filepath.Base(project), func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", project).Output()
			if err != nil {
				t.Fatal(err)
			}
			dir, release, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			root := filepath.Join(t.TempDir(), "project") // a copy: it is root's in CI, and -mod=mod may write
			if err := os.CopyFS(root, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			sameAsGosec(t, self, root, filepath.Join("testdata", filepath.Base(project)+"-"+release+".golden"))
		})
	}
}

func sameAsGosec(t *testing.T, self, root, golden string) {
	t.Helper()
	if command := os.Getenv("GOSEC"); command != "" {
		if err := os.WriteFile(golden, []byte(byCommand(t, command, root)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	r := sdktest.Run(t, newScanner(self), sdktest.Request{Root: root, Config: fmt.Sprintf(`{"module_cache": %q}`, goEnv(t, "GOMODCACHE"))})
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.String())
	}
	slices.Sort(got)
	if diff := cmp.Diff(string(want), strings.Join(got, "\n")+"\n"); diff != "" || len(got) == 0 || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s (-gosec +ours):\n%s", r.Status, r.Reason, diff)
	}
}

// byCommand is what gosec's command finds, a line each.
func byCommand(t *testing.T, command, root string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, "-nosec", "-no-fail", "-quiet", "-fmt=json", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off")
	report, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs struct {
		Issues []struct {
			Rule               string `json:"rule_id"`
			File, Line, Column string
		}
	}
	if err := json.Unmarshal(report, &theirs); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, i := range theirs.Issues {
		line, _, _ := strings.Cut(i.Line, "-")
		lines = append(lines, fmt.Sprintf("%s:%s:%s %s", strings.TrimPrefix(i.File, root+"/"), line, i.Column, i.Rule))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := sdktest.Run(t, newScanner(os.Args[0]), sdktest.Request{Files: map[string]string{"go.mod": goMod, "app.go": weak}, Config: "{}",
		CancelAt: func(ev *pluginv1.ScanEvent) bool { return ev.GetProgress().GetPhase() == "analysing" }})
	if r.Status != sdktest.Canceled {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

func TestRulesAndHealth(t *testing.T) {
	t.Parallel()
	s := newScanner(os.Args[0])
	for _, r := range s.Rules {
		if r.ID == "" || r.Title == "" || r.Description == "" {
			t.Errorf("rule %+v", r)
		}
	}
	if len(s.Rules) < 50 {
		t.Errorf("%d rules", len(s.Rules))
	}
	if h := s.Health(&Config{Go: "no-such-go"}); !strings.Contains(h.Degraded, "no-such-go") {
		t.Errorf("health %+v", h)
	}
	if h := s.Health(&Config{Go: "go"}); h != (sdk.Health{}) {
		t.Errorf("health %+v", h)
	}
}
