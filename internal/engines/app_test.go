package engines_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
)

const (
	vulnerable = repository + "/examples/vulnerable-app"
	clean      = repository + "/examples/clean-app"
	// enough is which part of what is planted must be found.
	enough = 0.95
)

// serious are the severities that the clean app must not have.
var serious = []string{"high", "critical", "unknown"}

// planted is a line of EXPECTED.md: a problem, and who finds it.
type planted struct {
	id, path, class string
	line            int
	engines         []string
}

// report is what `securetag scan --format json` prints.
type report struct {
	Scan     client.Scan
	Findings []client.Finding
}

// TestApps scans the two apps with all engines, in one host.
func TestApps(t *testing.T) {
	t.Parallel()
	h := serveEngines(t)
	t.Run("vulnerable", func(t *testing.T) {
		t.Parallel()
		r := h.scan(t, vulnerable)
		all, beyond := readExpected(t)
		missed := 0
		for _, p := range all {
			for _, engine := range p.engines {
				if !slices.ContainsFunc(r.Findings, func(f client.Finding) bool { return f.Plugin == engine && p.is(f) }) {
					t.Logf("missed by %s: %s, %s:%d %s", engine, p.id, p.path, p.line, p.class)
					missed++
					break
				}
			}
		}
		for _, p := range beyond {
			if slices.ContainsFunc(r.Findings, p.is) {
				t.Errorf("%s is found: put it among the others in EXPECTED.md", p.id)
			}
		}
		n := len(all) + len(beyond)
		part := float64(len(all)-missed) / float64(n)
		t.Logf("%d of %d planted problems are found (%.1f %%)", len(all)-missed, n, 100*part)
		if missed > 0 || part < enough {
			t.Errorf("%d that EXPECTED.md says are found are not; %.1f %% of all are, and %.0f %% must be", missed, 100*part, 100*enough)
		}
		for _, f := range r.Findings {
			known := func(p planted) bool { return p.path == f.Location.Path && p.line == f.Location.StartLine }
			if slices.Contains(serious, f.Severity) && !slices.ContainsFunc(all, known) {
				t.Errorf("found, and not in EXPECTED.md: %s", line(f))
			}
		}
	})
	t.Run("clean", func(t *testing.T) {
		t.Parallel()
		for _, f := range h.scan(t, clean).Findings {
			if slices.Contains(serious, f.Severity) {
				t.Errorf("found in the clean app: %s", line(f))
			}
		}
	})
}

func line(f client.Finding) string {
	return fmt.Sprintf("%s: %s:%d %s %s %v: %s", f.Plugin, f.Location.Path, f.Location.StartLine, f.Severity, f.RuleID, f.CWE, f.Message)
}

// is reports whether the finding is the problem: at its place, and of its class,
// which is a weakness, an advisory, or a rule of the engine.
func (p planted) is(f client.Finding) bool {
	if f.Location.Path != p.path || f.Location.StartLine != p.line {
		return false
	}
	if n, ok := strings.CutPrefix(p.class, "CWE-"); ok {
		return slices.ContainsFunc(f.CWE, func(cwe int) bool { return strconv.Itoa(cwe) == n })
	}
	var advisory struct{ ID, Aliases string }
	if f.Properties != nil && json.Unmarshal(f.Properties, &advisory) != nil {
		return false
	}
	return f.RuleID == p.class || advisory.ID == p.class || slices.Contains(strings.Split(advisory.Aliases, ","), p.class)
}

// readExpected reads the tables of EXPECTED.md: what is found, and what is known
// not to be.
func readExpected(t *testing.T) (found, beyond []planted) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vulnerable, "EXPECTED.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| ([a-z0-9]+-[0-9]+) \\| `([^`]+)` \\| ([0-9]+) \\| (\\S+) \\| ([a-z, ]+) \\| (.+) \\|$")
	ids := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[3])
		if err != nil || ids[m[1]] {
			t.Fatalf("EXPECTED.md: %s is there twice, or its line is %q", m[1], m[3])
		}
		ids[m[1]] = true
		p := planted{id: m[1], path: m[2], line: n, class: m[4], engines: strings.Split(m[5], ", ")}
		content, err := os.ReadFile(filepath.Join(vulnerable, p.path))
		if err != nil || bytes.Count(content, []byte("\n")) < p.line {
			t.Errorf("EXPECTED.md: %s is at %s:%d, which is not there", p.id, p.path, p.line)
		}
		if m[5] == "none" {
			beyond = append(beyond, p)
		} else {
			found = append(found, p)
		}
	}
	if rows := strings.Count(string(text), "\n| ") - 2; rows != len(ids) { // two tables with a heading
		t.Errorf("EXPECTED.md: %d of %d lines of its tables can be read", len(ids), rows)
	}
	all := len(found) + len(beyond)
	if says := fmt.Sprintf("\n%d of %d planted problems are found, which is %.1f %%;", len(found), all, 100*float64(len(found))/float64(all)); !strings.Contains(string(text), says) {
		t.Errorf("EXPECTED.md does not say what its tables do: %q", says)
	}
	return found, beyond
}

// engines is a host with all of them.
type engineHost struct {
	*testhost.Process
	key string
}

// scan is the command that people use, which must end whole.
func (h engineHost) scan(t *testing.T, dir string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), h.Binary, "scan", "-q", "--server", "http://"+h.Listen, "--key", h.key, "--format", "json", dir)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("securetag scan %s: %v\n%s", dir, err, &said)
	}
	if r.Scan.State != client.StateSucceeded {
		for _, j := range r.Scan.Jobs {
			t.Errorf("%s: %s: %s, %+v", dir, j.Plugin, j.State, j.Error)
		}
	}
	// Each app has something for every engine: no findings of one that looked at
	// nothing say nothing.
	for _, j := range r.Scan.Jobs {
		if j.NotApplicable != "" {
			t.Errorf("%s: %s looked at nothing: %s", dir, j.Plugin, j.NotApplicable)
		}
	}
	return r
}

// serveEngines starts a host with all engines on one scan type.
func serveEngines(t *testing.T) engineHost {
	t.Helper()
	dir := t.TempDir()
	bin := built(t)
	osv := filepath.Join(dir, "osv")
	update := exec.CommandContext(t.Context(), filepath.Join(bin, "plugins", "dependencies"), "update", "--from", filepath.Join(repository, "plugins/dependencies/testdata/osv"), "--to", osv)
	if out, err := update.CombinedOutput(); err != nil {
		t.Fatalf("dependencies update: %v\n%s", err, out)
	}
	config := fmt.Sprintf(`data_dir = %q

scan "codeaudit" {
  plugins = ["secrets", "dependencies", "iac", "gosec", "semgrep"]
}

plugin "secrets" {
  dev = true
}

plugin "iac" {
  dev = true
}

plugin "dependencies" {
  dev  = true
  read = [%q]

  config {
    database = %q
    max_age  = "87600h"
  }
}
`, filepath.Join(dir, "data"), osv, osv) + gosecBlock(t) + semgrepBlock(t)
	h := engineHost{Process: &testhost.Process{Binary: filepath.Join(bin, "securetag"), Config: filepath.Join(dir, "securetag.hcl"), Listen: testhost.FreeAddress(t)}}
	if err := os.WriteFile(h.Config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	testhost.Command(t, h.Binary, "-c", h.Config, "tenant", "create", "reader")
	h.key = strings.TrimSpace(testhost.Command(t, h.Binary, "-c", h.Config, "key", "create", "--tenant", "reader", "--name", "apps"))
	h.Start(t)
	t.Cleanup(func() {
		h.Stop(t)
		if t.Failed() {
			t.Logf("log of the host:\n%s", h.Log(60))
		}
	})
	return h
}

// gosecBlock has the go command of the tests.
func gosecBlock(t *testing.T) string {
	t.Helper()
	root := goEnv(t, "GOROOT")
	return fmt.Sprintf(`
plugin "gosec" {
  dev  = true
  env  = { PATH = %q }
  read = [%q]
}
`, filepath.Join(root, "bin")+":/usr/bin:/bin", root)
}

// semgrepBlock is the recipe in examples/plugins, with the places of this machine.
func semgrepBlock(t *testing.T) string {
	t.Helper()
	recipe, err := os.ReadFile(filepath.Join(repository, "examples/plugins/semgrep/securetag.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(filepath.Join(repository, "examples/plugins/semgrep"))
	if err != nil {
		t.Fatal(err)
	}
	deps, err := output("sh", repository+"/scripts/kit-deps.sh", "python", "examples/plugins/semgrep/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	python, err := output("python3", "-c", "import sys; print(sys.base_prefix)")
	if err != nil {
		t.Fatal(err)
	}
	block, _, _ := strings.Cut(string(recipe), "\nscan ")
	for _, put := range [][2]string{
		{`"semgrep" {`, "\"semgrep\" {\n  dev = true\n"},
		{"/opt/semgrep/bin:", deps + "/bin:"},
		{`"/opt/semgrep"`, fmt.Sprintf("%q, %q", deps, python)},
		{"/etc/securetag/semgrep", rules},
		{`command = "semgrep"`, fmt.Sprintf("command = %q\nenv = { PYTHONPATH = %q }", filepath.Join(deps, "bin", "semgrep"), deps)},
	} {
		if !strings.Contains(block, put[0]) {
			t.Fatalf("the recipe of semgrep has no %q", put[0])
		}
		block = strings.ReplaceAll(block, put[0], put[1])
	}
	return "\n" + block
}
