package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

func scan(t *testing.T, r recipe, root string) sdktest.Result {
	t.Helper()
	return sdktest.Run(t, newScanner(r.id), sdktest.Request{Root: root, Config: r.config(t)})
}

// theirs are the results in a tool's own report, as "path:line rule".
func theirs(t *testing.T, report []byte, root string) []string {
	t.Helper()
	var r struct {
		Runs []struct {
			Results []struct {
				RuleID    string
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(report, &r); err != nil {
		t.Fatalf("%v: %.300s", err, report)
	}
	var out []string
	for _, run := range r.Runs {
		for _, res := range run.Results {
			l := res.Locations[0].PhysicalLocation
			uri := strings.TrimPrefix(strings.TrimPrefix(l.ArtifactLocation.URI, "file://"), "/")
			uri = strings.TrimPrefix(strings.TrimPrefix(uri, strings.TrimPrefix(root, "/")+"/"), "./")
			out = append(out, fmt.Sprintf("%s:%d %s", uri, l.Region.StartLine, res.RuleID))
		}
	}
	slices.Sort(out)
	return out
}

func ours(r sdktest.Result) []string {
	var out []string
	for _, f := range r.Findings {
		rule := f.Rule
		if of := f.Properties["tool_rule"]; of != "" {
			rule = of
		}
		out = append(out, fmt.Sprintf("%s:%d %s", f.At.Path, f.At.StartLine, rule))
	}
	slices.Sort(out)
	return out
}

// byHand runs a tool as a person would, from the directory that it scans.
func byHand(t *testing.T, root string, env []string, command string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("%s: %v\n%s", command, err, &said)
	}
	return out.Bytes()
}

// realTrees is a directory with copies of real projects.
func realTrees(t *testing.T, dirs map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, dir := range dirs {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// same compares the findings in each of the trees, of which all must have some.
func same(t *testing.T, r sdktest.Result, want []string, trees map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, ours(r)); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s, %d of them (-tool +ours):\n%s", r.Status, r.Reason, len(want), diff)
	}
	for name := range trees {
		if !slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, name+"/") }) {
			t.Errorf("the tool finds nothing in %s: it shows nothing there", name)
		}
	}
}

func says(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), command, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// The findings of flawfinder's own command line, on C code of real projects:
// Go's cgo runtime, cffi, and the headers of the C compiler.
func TestFlawfinder(t *testing.T) {
	t.Parallel()
	trees := map[string]string{
		"go":   filepath.Join(says(t, "go", "env", "GOROOT"), "src", "runtime", "cgo"),
		"cffi": filepath.Join(installed(t, "python", "examples/plugins/semgrep/requirements.txt"), "cffi"),
		"cc":   says(t, "cc", "-print-file-name=include"),
	}
	root := realTrees(t, trees)
	r := scan(t, readRecipe(t, "flawfinder"), root)
	same(t, r, theirs(t, byHand(t, root, nil, "flawfinder", "--sarif", "--neverignore", "."), root), trees)
}

func TestASTGrep(t *testing.T) {
	t.Parallel()
	modules := installed(t, "node", "examples/plugins/ast-grep")
	found, err := filepath.Glob(filepath.Join(modules, "node_modules/@ast-grep/cli-*/ast-grep"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	dir, root := abs(t, examples+"ast-grep"), abs(t, examples+"ast-grep/testdata")
	recipe := readRecipe(t, "ast-grep", "/opt/ast-grep/ast-grep", found[0], "/etc/securetag/ast-grep", dir)
	r := scan(t, recipe, root)
	want := theirs(t, byHand(t, root, nil, found[0], "scan", "--config", filepath.Join(dir, "sgconfig.yml"), "--format", "sarif", "."), root)
	if diff := cmp.Diff(want, ours(r)); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s (-ast-grep +ours):\n%s", r.Status, r.Reason, diff)
	}
	if diff := cmp.Diff([]string{"sample.js:2 no-eval", "sample.py:5 no-pickle"}, want); diff != "" {
		t.Error(diff)
	}
	trees := python(t)
	root = realTrees(t, trees)
	r = scan(t, recipe, root)
	same(t, r, theirs(t, byHand(t, root, nil, found[0], "scan", "--config", filepath.Join(dir, "sgconfig.yml"), "--format", "sarif", "."), root), trees)
}

// python are three real projects that read pickles, installed as Semgrep needs
// them.
func python(t *testing.T) map[string]string {
	t.Helper()
	deps := installed(t, "python", "examples/plugins/semgrep/requirements.txt")
	return map[string]string{
		"glom":     filepath.Join(deps, "glom"),
		"pydantic": filepath.Join(deps, "pydantic", "deprecated"),
		"peewee":   filepath.Join(deps, "playhouse"),
	}
}

// Semgrep's own command line, with our rules, on the same projects: in one run,
// because it is slow.
func TestSemgrepOnProjects(t *testing.T) {
	t.Parallel()
	recipe, deps := semgrep(t)
	delete(recipe.settings, "version") // TestSemgrep asks for it, and it takes a start
	trees := python(t)
	root := realTrees(t, trees)
	r := scan(t, recipe, root)
	report := byHand(t, root, []string{"PYTHONPATH=" + deps, "PATH=" + filepath.Join(deps, "bin") + ":/usr/bin:/bin", "HOME=" + t.TempDir()},
		filepath.Join(deps, "bin", "semgrep"), "scan", "--sarif", "--config", abs(t, examples+"semgrep/rules"), "--no-rewrite-rule-ids",
		"--metrics=off", "--disable-version-check", "--disable-nosem", "--no-git-ignore", "--x-ignore-semgrepignore-files", "--max-target-bytes=0", "--timeout=60", ".")
	same(t, r, theirs(t, report, root), trees)
}

// Rules that are not there, and one that is none: never a clean result.
func TestSemgrepWithoutRules(t *testing.T) {
	t.Parallel()
	const broken = "rules:\n- {id: x, languages: [python], severity: ERROR, message: m, pattern: 'f((('}\n" +
		"- {id: y, languages: [python], severity: ERROR, message: m, pattern: f()}\n"
	for name, tt := range map[string]struct{ rule, why string }{
		"none":   {"", "exit status 7"},
		"broken": {broken, "exit status 2"}, // where the others find something it is an error in the report
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recipe, _ := semgrep(t)
			delete(recipe.settings, "version")
			rules := t.TempDir()
			if tt.rule == "" {
				rules = filepath.Join(rules, "nowhere")
			} else if err := os.WriteFile(filepath.Join(rules, "rules.yaml"), []byte(tt.rule), 0o600); err != nil {
				t.Fatal(err)
			}
			args := recipe.settings["args"].([]any)
			for i, a := range args {
				if strings.HasPrefix(a.(string), "--config=") {
					args[i] = "--config=" + rules
				}
			}
			r := sdktest.Scan(t, newScanner(recipe.id), map[string]string{"a.py": "x = 1\n"}, recipe.config(t))
			if r.Status != sdktest.Failed || !strings.Contains(r.Reason, tt.why) {
				t.Errorf("%s: %q, want %q", r.Status, r.Reason, tt.why)
			}
		})
	}
}

// semgrep is the recipe, with the places of this machine, and where it is installed.
func semgrep(t *testing.T) (recipe, string) {
	t.Helper()
	deps := installed(t, "python", "examples/plugins/semgrep/requirements.txt")
	recipe := readRecipe(t, "semgrep", "/etc/securetag/semgrep", abs(t, examples+"semgrep"))
	recipe.settings["command"] = filepath.Join(deps, "bin", "semgrep")
	recipe.settings["env"] = map[string]string{"PYTHONPATH": deps, "PATH": filepath.Join(deps, "bin") + ":/usr/bin:/bin"} // in the place of a virtual environment
	return recipe, deps
}

// Semgrep with our rules: one run, because it is slow, over the samples of all
// rules. Each has a comment before a line that says which rule finds something
// there, or leaves it alone.
func TestSemgrep(t *testing.T) {
	t.Parallel()
	dir := abs(t, examples+"semgrep")
	recipe, _ := semgrep(t)
	recipe.settings["keep_report"] = true
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(filepath.Join(dir, "testdata"))); err != nil {
		t.Fatal(err)
	}
	// What a target may bring along to hide something.
	if err := os.WriteFile(filepath.Join(root, ".semgrepignore"), []byte("*.py\n*.go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// And a file that it cannot read whole, which must not pass for clean.
	if err := os.WriteFile(filepath.Join(root, "broken.py"), []byte("import os\ndef f(:\n  os.system(x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want, good, bad := annotated(t, root)
	// What it would leave out by itself, and what the recipe does.
	const weak = "import pickle\npickle.loads(x)\n"
	for name, text := range map[string]string{"tests/a.py": weak, "build/a.py": weak, "large.py": weak + strings.Repeat("# padding\n", 110_000), "a/node_modules/b.py": weak} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o700), os.WriteFile(filepath.Join(root, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name, "node_modules") {
			want = append(want, name+":2 python-unsafe-deserialization")
		}
	}
	slices.Sort(want)
	r := scan(t, recipe, root)
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "Syntax error at line broken.py") || len(r.Artifacts) != 1 {
		t.Fatalf("%s: %s", r.Status, r.Reason)
	}
	if !slices.Contains(r.Notes, "1 files or directories of the target are hidden from the tool, as its settings say: a/node_modules") {
		t.Errorf("notes %q", r.Notes)
	}
	if diff := cmp.Diff(want, ours(r)); diff != "" {
		t.Errorf("-wanted +found:\n%s", diff)
	}
	declared := describes(t, r.Artifacts[0].Data, filepath.Join(dir, "rules.sarif"))
	for _, id := range declared {
		if good[id] == 0 || bad[id] == 0 {
			t.Errorf("%s has %d samples that it finds and %d that it leaves alone", id, bad[id], good[id])
		}
	}
	typed, err := os.ReadFile(filepath.Join(root, "sample.ts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range declared { // one rule for both languages
		for _, says := range []string{"// ruleid: ", "// ok: "} {
			if strings.HasPrefix(id, "javascript-") && !strings.Contains(string(typed), says+id+"\n") {
				t.Errorf("TypeScript has no sample %s%s", says, id)
			}
		}
	}
	if n := len(slices.Collect(maps.Keys(bad))); n != len(declared) {
		t.Errorf("samples for %d rules, and there are %d", n, len(declared))
	}
	for _, f := range r.Findings {
		if f.Rule == "semgrep" || f.Severity < sdk.Medium {
			t.Errorf("%s: %d", f, f.Severity)
		}
	}
}

// annotated reads the comments of the samples.
func annotated(t *testing.T, root string) (places []string, good, bad map[string]int) {
	t.Helper()
	good, bad = map[string]int{}, map[string]int{}
	says := regexp.MustCompile(`^\s*(?:#|//) (ruleid|ok): (\S+)$`)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(root, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			m := says.FindStringSubmatch(lines.Text())
			switch {
			case m == nil:
			case m[1] == "ok":
				good[m[2]]++
			default:
				bad[m[2]]++
				places = append(places, fmt.Sprintf("%s:%d %s", e.Name(), n+1, m[2]))
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(places)
	return places, good, bad
}

// described is the part of a report that says which rules there are.
type described struct {
	Version string         `json:"version"`
	Runs    []describedRun `json:"runs"`
}

type describedRun struct {
	Tool struct {
		Driver struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"driver"`
	} `json:"tool"`
}

// describes compares the rules that a report describes with those in the file
// that the plugin declares them from; SEMGREP_GOLDEN=write writes it. Semgrep
// gives no titles, so there the name of the weakness stands for it.
func describes(t *testing.T, report []byte, file string) []string {
	t.Helper()
	var d described
	if err := json.Unmarshal(report, &d); err != nil || len(d.Runs) != 1 {
		t.Fatal(err, len(d.Runs))
	}
	driver := &d.Runs[0].Tool.Driver
	var ids []string
	for _, rule := range driver.Rules {
		ids = append(ids, rule["id"].(string))
		for _, tag := range rule["properties"].(map[string]any)["tags"].([]any) {
			if _, title, ok := strings.Cut(tag.(string), ": "); ok {
				rule["shortDescription"] = map[string]string{"text": title}
			}
		}
		delete(rule, "help")
		delete(rule, "name")
	}
	slices.SortFunc(driver.Rules, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	got, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if os.Getenv("SEMGREP_GOLDEN") == "write" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("rules.sarif is not what semgrep says of the rules; write it with SEMGREP_GOLDEN=write:\n%s", diff)
	}
	return ids
}
