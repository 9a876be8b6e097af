package doctest_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A recipe is what a CI does with a file of docs/ci: shells that run after each
// other in one directory, until one fails.
type recipe struct {
	shell []string // its command, before the file with a step's lines
	steps []string
	env   []string
}

// What the settings of a CI hold; the key and the server are the test's.
const (
	ciServer = "SERVER"
	ciKey    = "KEY"
)

func readRecipe(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repository, "docs", "ci", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// githubActions reads a workflow as a runner does. The variables of a step are
// in the environment of every step here.
func githubActions(t *testing.T) recipe {
	t.Helper()
	var workflow struct {
		On          map[string]any
		Permissions map[string]string
		Jobs        map[string]struct {
			Env   map[string]string
			Steps []struct {
				Name, Uses, Run, If string
				Env, With           map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(readRecipe(t, "github-actions.yml"), &workflow); err != nil {
		t.Fatal(err)
	}
	r := recipe{shell: []string{"bash", "-e"}}
	job := workflow.Jobs["scan"]
	for k, v := range job.Env {
		r.env = append(r.env, k+"="+v)
	}
	uploads := false
	for _, s := range job.Steps {
		for k, v := range s.Env {
			v = strings.NewReplacer("${{ vars.SECURETAG_SERVER_URL }}", ciServer, "${{ secrets.SECURETAG_API_KEY }}", ciKey).Replace(v)
			r.env = append(r.env, k+"="+v)
		}
		if s.Run != "" {
			r.steps = append(r.steps, s.Run)
		}
		if strings.HasPrefix(s.Uses, "github/codeql-action/upload-sarif@") {
			uploads = true
			if want := "${{ !cancelled() && hashFiles('" + s.With["sarif_file"] + "') != '' }}"; s.If != want {
				t.Errorf("the upload runs if %s, want %s: also when the gate fails", s.If, want)
			}
			if s.With["sarif_file"] != "securetag.sarif" || workflow.Permissions["security-events"] != "write" {
				t.Errorf("it uploads %v with %v", s.With, workflow.Permissions)
			}
		}
	}
	if !uploads {
		t.Error("nothing uploads SARIF")
	}
	return r
}

func gitlab(t *testing.T) recipe {
	t.Helper()
	var file map[string]struct {
		Variables    map[string]string
		BeforeScript []string `yaml:"before_script"`
		Script       []string
		Artifacts    struct {
			When  string
			Paths []string
		}
	}
	if err := yaml.Unmarshal(readRecipe(t, "gitlab-ci.yml"), &file); err != nil {
		t.Fatal(err)
	}
	job := file["securetag"]
	if job.Artifacts.When != "always" || !slices.Contains(job.Artifacts.Paths, "securetag.sarif") {
		t.Errorf("it keeps %+v", job.Artifacts)
	}
	r := recipe{shell: []string{"bash", "-eo", "pipefail"}, env: []string{"SECURETAG_SERVER_URL=" + ciServer, "SECURETAG_API_KEY=" + ciKey}}
	for k, v := range job.Variables {
		r.env = append(r.env, k+"="+v)
	}
	r.steps = []string{strings.Join(append(job.BeforeScript, job.Script...), "\n")} // one shell for both
	return r
}

var (
	jenkinsShell    = regexp.MustCompile(`(?s)sh '''(.*?)'''`)
	jenkinsVariable = regexp.MustCompile(`(?m)^\s*([A-Z_]+) = '([^']*)'`)
)

func jenkins(t *testing.T) recipe {
	t.Helper()
	text := string(readRecipe(t, "Jenkinsfile"))
	r := recipe{shell: []string{"sh", "-xe"}}
	for _, m := range jenkinsVariable.FindAllStringSubmatch(text, -1) {
		if m[1] == "SECURETAG_SERVER_URL" {
			m[2] = ciServer
		}
		r.env = append(r.env, m[1]+"="+m[2])
	}
	if !strings.Contains(text, "SECURETAG_API_KEY = credentials('securetag-api-key')") {
		t.Error("the key is no credential of Jenkins")
	}
	r.env = append(r.env, "SECURETAG_API_KEY="+ciKey)
	for _, m := range jenkinsShell.FindAllStringSubmatch(text, -1) {
		// In a Groovy string of three quotes a backslash before the end of a line
		// takes that away before the shell sees it.
		r.steps = append(r.steps, strings.ReplaceAll(m[1], "\\\n", ""))
	}
	return r
}

// fakeGo stands for the network: it installs the binary that is tested, where the
// real one would put it, and checks what it is asked for.
const fakeGo = `#!/bin/sh
set -eu
path=${GOPATH:-$HOME/go}
case "$*" in
"env GOPATH") echo "$path" ;;
"install github.com/securetaghq/securetag/cmd/securetag@latest") mkdir -p "$path/bin" && ln -sf "$SECURETAG_BUILT" "$path/bin/securetag" ;;
*) echo "go $*: the recipe does not need this" >&2; exit 97 ;;
esac
`

// ci runs a recipe on a project as its CI does, and gives the exit code and the
// directory.
func (r recipe) run(t *testing.T, server, key string, files map[string]string) (code int, dir, log string) {
	t.Helper()
	tmp := t.TempDir()
	dir = filepath.Join(tmp, "project")
	files["../bin/go"] = fakeGo
	files["../path"], files["../tmp/x"] = "", ""
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	program, err := filepath.Abs(filepath.Join(built, "securetag"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"CI=true", "HOME=" + tmp, "TMPDIR=" + filepath.Join(tmp, "tmp"), "WORKSPACE_TMP=" + filepath.Join(tmp, "tmp"),
		"GITHUB_PATH=" + filepath.Join(tmp, "path"), "SECURETAG_BUILT=" + program,
	}
	for _, v := range r.env {
		env = append(env, strings.NewReplacer("="+ciServer, "="+server, "="+ciKey, "="+key).Replace(v))
	}
	if strings.Contains(strings.Join(env, "\n"), "${{") {
		t.Fatalf("the test does not know what this is: %v", env)
	}
	for _, step := range r.steps {
		file := filepath.Join(tmp, "step")
		added, err := os.ReadFile(filepath.Join(tmp, "path")) // by the steps before
		if err == nil {
			err = os.WriteFile(file, []byte(step), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), r.shell[0], append(r.shell[1:], file)...)
		cmd.Dir = dir
		path := append([]string{filepath.Join(tmp, "bin")}, strings.Fields(string(added))...)
		cmd.Env = append(env, "PATH="+strings.Join(append(path, "/usr/bin", "/bin"), ":"))
		out, err := cmd.CombinedOutput()
		log += string(out)
		var failed *exec.ExitError
		switch {
		case errors.As(err, &failed):
			return failed.ExitCode(), dir, log
		case err != nil:
			t.Fatal(err)
		}
	}
	return 0, dir, log
}

// TestCI does what the recipes say on a real host: on a project that is clean, on
// one with a secret, and with a key that is refused.
func TestCI(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for name, read := range map[string]func(*testing.T) recipe{"github": githubActions, "gitlab": gitlab, "jenkins": jenkins} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := read(t)
			for _, tt := range []struct {
				name, key, text string
				code, results   int // results: -1 when there is no report
			}{
				{"clean", h.key, "region = eu\n", 0, 0},
				{"a secret", h.key, "key = AKIA" + "Q3EGRIZ7WT5KHJMN\n", 1, 1},
				{"refused", h.key + "x", "region = eu\n", 4, -1},
			} {
				code, dir, log := r.run(t, h.url, tt.key, map[string]string{"app/aws.ini": tt.text})
				if code != tt.code {
					t.Errorf("%s: exit code %d, want %d:\n%s", tt.name, code, tt.code, log)
				}
				if got := results(t, filepath.Join(dir, "securetag.sarif")); got != tt.results {
					t.Errorf("%s: %d results in the report, want %d", tt.name, got, tt.results)
				}
				if strings.Contains(log, h.key) {
					t.Errorf("%s: the log shows the key:\n%s", tt.name, log)
				}
				if shown := strings.Contains(log, "aws.ini:1"); shown != (tt.code == 1) {
					t.Errorf("%s: the log shows the finding: %v\n%s", tt.name, shown, log)
				}
			}
			// A variable that nobody set is no reason to scan somewhere else.
			if code, _, log := r.run(t, "", h.key, map[string]string{"app/aws.ini": ""}); code != 2 || !strings.Contains(log, "--server is empty") {
				t.Errorf("without a server: exit code %d, want 2:\n%s", code, log)
			}
		})
	}
}

// results counts those of a SARIF file; -1 when there is none.
func results(t *testing.T, path string) (n int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return -1
	}
	var report struct {
		Runs []struct {
			Results []json.RawMessage
		}
	}
	if err == nil {
		err = json.Unmarshal(raw, &report)
	}
	if err != nil || len(report.Runs) == 0 {
		t.Fatalf("%s: %d runs, %v", path, len(report.Runs), err)
	}
	for _, run := range report.Runs {
		n += len(run.Results)
	}
	return n
}
