package composetest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one line of a Dockerfile, continuations joined.
type instruction struct {
	stage      int // 0: the first
	name, args string
}

type file []instruction

func dockerfile(t *testing.T) file {
	t.Helper()
	var f file
	stage := -1
	text := strings.ReplaceAll(string(read(t, root, "Dockerfile")), "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			stage++
		}
		f = append(f, instruction{stage, name, args})
	}
	return f
}

func (f file) all(name string) []instruction {
	var found []instruction
	for _, i := range f {
		if i.name == name {
			found = append(found, i)
		}
	}
	return found
}

func (f file) one(t *testing.T, name string) string {
	t.Helper()
	found := f.all(name)
	if len(found) != 1 {
		t.Fatalf("%d times %s in the Dockerfile, want 1", len(found), name)
	}
	return found[0].args
}

func (f file) last() int { return f[len(f)-1].stage }

// pluginModules are those of the Makefile.
func pluginModules(t *testing.T) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^PLUGIN_MODULES := (.*)$`).FindSubmatch(read(t, root, "Makefile"))
	if m == nil {
		t.Fatal("the Makefile has no PLUGIN_MODULES")
	}
	return strings.Fields(string(m[1]))
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	d := dockerfile(t)
	if d.last() == 0 {
		t.Fatal("one stage only: the compiler would be in the image")
	}
	builds := false
	for _, i := range d.all("RUN") {
		builds = builds || strings.Contains(i.args, "make build")
		if i.stage == d.last() {
			t.Errorf("the last stage runs %q, and its image has no shell", i.args)
		}
		if regexp.MustCompile(`\bgo (build|install)\b`).MatchString(i.args) {
			t.Errorf("%q: the Makefile says how it is built", i.args)
		}
	}
	if !builds {
		t.Error("no step runs make build")
	}
	user := d.all("USER")
	if len(user) == 0 || user[len(user)-1].stage != d.last() || strings.HasPrefix(user[len(user)-1].args, "root") || user[len(user)-1].args == "0" {
		t.Errorf("the last stage runs as %+v, want a user that is not root", user)
	}
	if e := d.one(t, "ENTRYPOINT"); e != `["securetag"]` {
		t.Errorf("ENTRYPOINT %s", e)
	}
	golang := regexp.MustCompile(`golang:(1\.\d+)`).FindStringSubmatch(d.all("FROM")[0].args)
	if want := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindSubmatch(read(t, root, "go.mod")); golang == nil || golang[1] != string(want[1]) {
		t.Errorf("built with Go %v, and go.mod says %s", golang, want[1])
	}
}

// TestBinaries: what make build makes is what the last stage copies.
func TestBinaries(t *testing.T) {
	t.Parallel()
	dry := exec.CommandContext(t.Context(), "make", "-n", "-C", root, "build", "VERSION=test")
	out, err := dry.CombinedOutput()
	if err != nil {
		t.Fatalf("make -n build: %v\n%s", err, out)
	}
	made := map[string]bool{}
	for _, m := range regexp.MustCompile(`-o bin/(\S+)`).FindAllSubmatch(out, -1) {
		made[string(m[1])] = true
	}
	for _, m := range pluginModules(t) {
		if !regexp.MustCompile(`-o \.\./\.\./bin/\$m\b`).Match(out) {
			t.Errorf("make build does not put %s into bin/%s", m, m)
		}
		made[m] = true
	}
	var copied []string // below bin/, which the build stage copies to /out
	d := dockerfile(t)
	for _, i := range d.all("COPY") {
		if m := regexp.MustCompile(`--from=build\s.*?/out/(\S+)\s+(\S+)`).FindStringSubmatch(i.args); m != nil && i.stage == d.last() {
			copied = append(copied, m[1])
		}
	}
	for name := range made {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(copied, top) {
			t.Errorf("bin/%s is built, and the image gets only %v", name, copied)
		}
	}
	for _, name := range copied {
		if name != "data" && !made[name] && !slices.ContainsFunc(pluginModules(t), func(m string) bool { return strings.HasPrefix(m, name+"/") }) {
			t.Errorf("the image copies %s, which make build does not make", name)
		}
	}
}

// TestModulesFirst runs the step that fetches modules on nothing but the files
// that are there by then. A plugin's module replaces the host's with ../..; that
// must do with a go.mod.
func TestModulesFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := dockerfile(t)
	var fetch string
	for _, i := range d {
		if i.name == "RUN" && strings.Contains(i.args, "go mod download") {
			fetch = i.args
			break
		}
		if i.name == "COPY" && i.stage == 0 {
			copyFiles(t, dir, i.args)
		}
	}
	if fetch == "" {
		t.Fatal("no step fetches the modules before the sources are copied")
	}
	for _, m := range append(pluginModules(t), ".") {
		if _, err := os.Stat(filepath.Join(dir, m, "go.mod")); err != nil {
			t.Errorf("go.mod of %s is not copied before modules are fetched", m)
		}
		if m != "." && !strings.Contains(fetch, "cd "+m+" ") {
			t.Errorf("%q fetches nothing for %s", fetch, m)
		}
		graph := exec.CommandContext(t.Context(), "go", "mod", "graph") // what go mod download resolves before it fetches
		graph.Dir = filepath.Join(dir, m)
		graph.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
		if out, err := graph.CombinedOutput(); err != nil {
			t.Errorf("go mod graph in %s: %v\n%s", m, err, out)
		}
	}
}

// copyFiles does what COPY does, for files by name.
func copyFiles(t *testing.T, dir, args string) {
	t.Helper()
	words := strings.Fields(args)
	to := filepath.Join(dir, words[len(words)-1])
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range words[:len(words)-1] {
		if from == "." {
			t.Fatal(fmt.Errorf("COPY %s comes before the modules are fetched", args))
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(from)), read(t, root, from), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
