package kits_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/internal/testhost"
)

// program is how a host's configuration names a plugin.
type program struct {
	command string
	args    []string
	env     map[string]string
	read    []string // by a confined process, beside its own directory
}

// hcl is its block, for somebody who writes the plugin.
func (p program) hcl(name, confinement string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %q {\n  dev = true\n  command = %q\n  args = %s\n  read = %s\n", name, p.command, list(p.args), list(p.read))
	fmt.Fprintf(&b, "  sandbox = %q\n  standby = 0\n  start_timeout = \"1m\"\n  env = {\n", confinement)
	for _, k := range slices.Sorted(maps.Keys(p.env)) {
		fmt.Fprintf(&b, "    %s = %q\n", k, p.env[k])
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

func list(s []string) string {
	quoted := make([]string, len(s))
	for i := range s {
		quoted[i] = fmt.Sprintf("%q", s[i])
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// TestHost runs plugins of every language in the real host, confined where the
// machine can: the three examples, and three fresh projects of `plugin new`,
// which pass `plugin test` as well. One archive is uploaded for all of them.
func TestHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	securetag := filepath.Join(dir, "bin", "securetag")
	awskeys := filepath.Join(dir, "bin", "awskeys")
	if err := errors.Join(
		testhost.Build(repository, securetag, "./cmd/securetag"),
		testhost.Build(repository, awskeys, "./examples/plugins/awskeys"),
	); err != nil {
		t.Fatal(err)
	}
	plugins := map[string]program{"awskeys": {command: awskeys}, "words-go": newProject(t, securetag, dir, kit{name: "go"})}
	for _, k := range kits {
		plugins[k.example] = k.program(t, exampleMain(t, k))
		plugins["words-"+k.name] = newProject(t, securetag, dir, k)
	}
	keepsContract(t, securetag, dir, plugins)
	api := serve(t, dir, securetag, plugins)

	scan, err := api.Upload(t.Context(), archive(t, map[string]string{
		"a.py":         "import os\n\n\ndef f(x):\n    os.system(x)\n",
		"b.env":        "key = AKIA" + strings.Repeat("Q", 16) + "\n",
		"package.json": "{\n  \"scripts\": {\"postinstall\": \"sh x\"},\n  \"dependencies\": {\"a\": \"git+ssh://b\"}\n}\n",
		"z.txt":        "a TODO\n",
	}), client.UploadOptions{Filename: "project.tar"})
	if err != nil {
		t.Fatal(err)
	}
	if scan, err = api.Wait(t.Context(), scan.ID, nil); err != nil || scan.State != client.StateSucceeded {
		t.Errorf("scan %s, %v, jobs:", scan.State, err)
		for _, j := range scan.Jobs {
			t.Errorf("%s: %s, %+v", j.Plugin, j.State, j.Error)
		}
	}
	got := map[string][]string{}
	for f, err := range api.AllFindings(t.Context(), scan.ID, client.FindingsQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		got[f.Plugin] = append(got[f.Plugin], fmt.Sprintf("%s %s:%d", f.RuleID, f.Location.Path, f.Location.StartLine))
	}
	for _, found := range got {
		slices.Sort(found)
	}
	want := map[string][]string{
		"awskeys":      {"aws-key-id b.env:1"},
		"python-calls": {"os.system a.py:5"},
		"node-scripts": {"install-script package.json:2", "remote-dependency package.json:3"},
		"words-go":     {"word z.txt:1"},
		"words-python": {"word z.txt:1"},
		"words-node":   {"word z.txt:1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// newProject writes a project as an author does, and builds it. What its package manager would install is taken from where the
// kits' tests have it; cmd/securetag's scaffold runs the project's own tests.
func newProject(t *testing.T, securetag, dir string, k kit) program {
	t.Helper()
	name := "words-" + k.name
	project := filepath.Join(dir, name)
	testhost.Command(t, securetag, "plugin", "new", name, "--lang", k.name, "--dir", project, "--sdk", repository)
	p := program{command: filepath.Join(project, name)}
	if k.name == "go" {
		for _, args := range [][]string{{"mod", "tidy"}, {"build", "-trimpath", "-ldflags=-s -w", "-o", name, "."}} {
			cmd := exec.CommandContext(t.Context(), "go", args...)
			cmd.Dir, cmd.Env = project, append(os.Environ(), "CGO_ENABLED=0") // as make build has compiled it
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go %v: %v\n%s", args, err, b)
			}
		}
	} else {
		main, err := filepath.Glob(filepath.Join(project, "main.*"))
		if err != nil || len(main) != 1 {
			t.Fatalf("main of %s: %v, %v", name, main, err)
		}
		if err := k.link(project); err != nil {
			t.Fatal(err)
		}
		p = k.program(t, main[0])
	}
	return p
}

// keepsContract has each project tested by `plugin test`, side by side: most of
// it is waiting.
func keepsContract(t *testing.T, securetag, dir string, plugins map[string]program) {
	t.Helper()
	t.Run("plugin test", func(t *testing.T) {
		for name, p := range plugins {
			if !strings.HasPrefix(name, "words-") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				args := []string{"plugin", "test", "--sample", filepath.Join(dir, name, "sample")}
				for _, key := range slices.Sorted(maps.Keys(p.env)) {
					args = append(args, "--env", key+"="+p.env[key])
				}
				cmd := exec.CommandContext(t.Context(), securetag, append(append(args, "--", p.command), p.args...)...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("plugin test: %v\n%s", err, out)
				}
			})
		}
	})
}

// exampleMain is the file of the kit's example, where its imports are found.
func exampleMain(t *testing.T, k kit) string {
	t.Helper()
	main, err := filepath.Glob(filepath.Join(repository, "examples/plugins", k.example, "main.*"))
	if err != nil || len(main) != 1 {
		t.Fatalf("main of %s: %v, %v", k.example, main, err)
	}
	return k.install(t, main[0])
}

// program is how a host starts a plugin of this kit.
func (k kit) program(t *testing.T, main string) program {
	t.Helper()
	sdk, err := filepath.Abs(filepath.Join(repository, "sdk"))
	if err != nil {
		t.Fatal(err)
	}
	return program{command: k.command, args: append(slices.Clone(k.args), main), env: k.env, read: append([]string{filepath.Dir(main), sdk}, k.read...)}
}

// serve starts a host with the plugins, all of them in one scan type, and gives
// a client of it.
func serve(t *testing.T, dir, securetag string, plugins map[string]program) *client.Client {
	t.Helper()
	box := sandbox.Open(securetag, hclog.NewNullLogger())
	confinement := "required"
	if err := box.Support().Complete(); err != nil {
		t.Logf("plugins run with what there is: %v", err)
		confinement = "best_effort"
	}
	box.Close()
	names := slices.Sorted(maps.Keys(plugins))
	config := fmt.Sprintf("data_dir = %q\nscan \"codeaudit\" {\n  plugins = %s\n}\n", filepath.Join(dir, "data"), list(names))
	for _, name := range names {
		config += plugins[name].hcl(name, confinement)
	}
	h := &testhost.Process{Binary: securetag, Config: filepath.Join(dir, "securetag.hcl"), Listen: testhost.FreeAddress(t)}
	if err := os.WriteFile(h.Config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	testhost.Command(t, securetag, "-c", h.Config, "tenant", "create", "author")
	key := strings.TrimSpace(testhost.Command(t, securetag, "-c", h.Config, "key", "create", "--tenant", "author", "--name", "kits"))
	h.Start(t)
	t.Cleanup(func() {
		h.Stop(t)
		if t.Failed() {
			t.Logf("log of the host:\n%s", h.Log(60))
		}
	})
	api, err := client.New("http://"+h.Listen, key, client.Options{MinWait: 50 * time.Millisecond, MaxWait: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// archive is a tar of files.
func archive(t *testing.T, files map[string]string) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}
