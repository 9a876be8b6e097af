package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

var sample = map[string]string{"a.c": "int main() {\n  system(x);\n}\n", "clean.sarif": clean}

// settings are those of the fake tool, with more.
func settings(t testing.TB, how string, more map[string]any) string {
	t.Helper()
	all := map[string]any{"command": os.Args[0], "args": []string{"{target}", "{work}"}, "env": map[string]string{fakeEnv: how}}
	for k, v := range more {
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func run(t testing.TB, how string, more map[string]any) sdktest.Result {
	t.Helper()
	return sdktest.Scan(t, newScanner(identity{name: "fake"}), sample, settings(t, how, more))
}

func TestWorks(t *testing.T) {
	t.Parallel()
	want := []sdktest.Finding{{Rule: "fake", Finding: sdk.Finding{
		Message: "bad", Severity: sdk.High, Identity: []string{"R1", "bad"},
		Properties: map[string]string{"tool_rule": "R1", "tool_rule_title": "Bad call"},
		At:         sdk.Location{Path: "a.c", StartLine: 2, StartColumn: 3},
	}}}
	output := []string{"{target}", "{output}"}
	for name, more := range map[string]map[string]any{
		"works":          nil,
		"finds, exits 1": {"exit_codes": []string{"0", "1"}},
		"writes":         {"args": output},
		"writes its own": {"report": "its_own.sarif"},
		"leaves a child": nil,
		"version":        {"version": `^fake 1\.2`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, name, more)
			if diff := cmp.Diff(want, r.Findings); diff != "" || r.Status != sdktest.Succeeded {
				t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
			}
			if r.Files != 2 {
				t.Errorf("%d files", r.Files)
			}
		})
	}
}

// Whatever goes wrong, the result is never clean.
func TestNeverClean(t *testing.T) {
	t.Parallel()
	output := map[string]any{"args": []string{"{target}", "{output}"}, "max_report": "1MiB"}
	either := map[string]any{"exit_codes": []string{"0", "1"}}
	for name, tt := range map[string]struct {
		more map[string]any
		want string
	}{
		"empty":             {nil, "it is empty"},
		"white":             {nil, "it is empty"},
		"truncated":         {nil, "not SARIF"},
		"half a result":     {nil, "not SARIF"},
		"twice":             {nil, "not SARIF"},
		"words after":       {nil, "not SARIF"},
		"words before":      {nil, "not SARIF"},
		"other JSON":        {nil, "not SARIF 2.1.0"},
		"list":              {nil, "not SARIF"},
		"null":              {nil, "not SARIF"},
		"old version":       {nil, "not SARIF 2.1.0"},
		"no runs":           {nil, "not SARIF 2.1.0"},
		"empty runs":        {nil, "the tool did not start"},
		"no results":        {nil, "it did not look"},
		"results null":      {nil, "it did not look"},
		"wrong types":       {nil, "not SARIF"},
		"unsuccessful":      {nil, "it failed: SIGABRT"},
		"bad rule":          {nil, "configured wrongly: rule X is broken"},
		"deep":              {nil, "not SARIF"},
		"utf-16":            {nil, "not SARIF"},
		"help":              {nil, "not SARIF"},
		"report of XML":     {nil, "not SARIF"},
		"finds, exits 1":    {nil, "exit status 1"},
		"exits 2":           {either, "exit status 2; it said: starting | error: no licence for ."},
		"crashes":           {either, `it is empty; it said: Traceback (most recent call last): | File "x.py", line 3 | KeyError: 'rules'`},
		"killed":            {either, "signal: killed"},
		"killed in between": {either, "signal: terminated"},
		"hangs":             {map[string]any{"timeout": "500ms"}, "longer than 500ms"},
		"floods":            {map[string]any{"max_report": "1MiB"}, "more than 1MiB"},
		"writes half":       {output, "not SARIF"},
		"writes nothing":    {output, "it wrote none"},
		"writes empty":      {output, "it is empty"},
		"writes much":       {output, "larger than 1MiB"},
		"links":             {output, "no regular file"},
		"pipe":              {output, "no regular file"},
		"directory":         {output, "no regular file"},
		"works":             {map[string]any{"command": "no-such-tool"}, "no-such-tool is not installed"},
		"clean":             {map[string]any{"command": "/nowhere/tool"}, "tool cannot be run"},
		"version":           {map[string]any{"version": "^fake 2"}, `another version than the settings want: "fake 1.2.3"`},
		"another target":    {map[string]any{"command": sampleDir(t)}, "cannot be run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, name, tt.more)
			if r.Status != sdktest.Failed || !strings.Contains(r.Reason, tt.want) || len(r.Findings) > 0 {
				t.Errorf("%s: %q, want %q; %d findings", r.Status, r.Reason, tt.want, len(r.Findings))
			}
		})
	}
}

// sampleDir is a directory in the place of a tool.
func sampleDir(t *testing.T) string {
	t.Helper()
	return t.TempDir()
}

func TestPartial(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"cut short": "did not finish", "error": "cannot parse a.c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := run(t, name, nil); r.Status != sdktest.Partial || !strings.Contains(r.Reason, want) {
				t.Errorf("%s: %q", r.Status, r.Reason)
			}
		})
	}
	for more, want := range map[bool]string{true: sdktest.Partial, false: sdktest.Succeeded} {
		t.Run(fmt.Sprintf("warning, %t", more), func(t *testing.T) {
			t.Parallel()
			if r := run(t, "warning", map[string]any{"partial_on_warning": more}); r.Status != want {
				t.Errorf("%s: %q, want %s", r.Status, r.Reason, want)
			}
		})
	}
	output := []string{"{target}", "{output}"}
	for name, tt := range map[string]struct {
		how  string
		more map[string]any
		why  string // "": it succeeds
	}{
		"standard error":     {"mumbles", map[string]any{"partial_if": "could not be parsed$"}, "the tool says: 2 files in . could not be parsed"},
		"another line":       {"mumbles", map[string]any{"partial_if": "^2 errors"}, ""},
		"standard output":    {"writes", map[string]any{"partial_if": "^done$", "args": output}, "the tool says: done"},
		"not the report":     {"works", map[string]any{"partial_if": "Bad call"}, ""},
		"not that of a file": {"writes", map[string]any{"partial_if": "Bad call", "args": output}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, tt.how, tt.more)
			if (r.Status == sdktest.Partial) != (tt.why != "") || r.Reason != tt.why || len(r.Findings) != 1 {
				t.Errorf("%s: %q, %d findings, want %q", r.Status, r.Reason, len(r.Findings), tt.why)
			}
		})
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		r := run(t, "another target", nil) // shown, without the place
		if len(r.Findings) != 1 || r.Findings[0].At.Path != "" || len(r.Notes) != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// The tool sees nothing of the plugin's environment or of the target's
// directory, and no reason tells a secret or where things are.
func TestSurroundings(t *testing.T) { // not parallel: it has an environment
	t.Setenv("FAKE_VALUE", "a value to pass on")
	t.Setenv("FAKE_OTHER", "x")
	r := run(t, "environment", map[string]any{"env_pass": []string{"FAKE_VALUE"}})
	want := "it said: FAKE_VALUE HOME LANG PATH SARIF_FAKE TMPDIR; inside false; home has 1, within true; stdin 0"
	if !strings.HasSuffix(r.Reason, want) {
		t.Errorf("%q, want %q", r.Reason, want)
	}
	r = run(t, "environment", map[string]any{"env_pass": []string{"FAKE_VALUE"}, "version": "x", "version_args": []string{"/"}})
	if !strings.Contains(r.Reason, "does not say its version: exit status 9; it said: FAKE_VALUE HOME LANG") {
		t.Error(r.Reason)
	}
	r = run(t, "tells secrets", map[string]any{"env_pass": []string{"FAKE_VALUE"}})
	for _, s := range []string{"hunter2", fakeSecret, fakeSecret[:8], "a value to pass on", "/tmp", t.TempDir()} {
		if strings.Contains(r.Reason, s) {
			t.Errorf("%q shows %q", r.Reason, s)
		}
	}
	if !strings.Contains(r.Reason, "exit status 3; it said: GET https://****@example.com") {
		t.Error(r.Reason)
	}
}

func TestSeverityAndFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		severity map[string]string
		want     sdk.Severity
	}{"level": {map[string]string{"error": "info"}, sdk.Info}, "rule": {map[string]string{"error": "info", "R1": "critical"}, sdk.Critical}, "other": {map[string]string{"R2": "low"}, sdk.High}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := run(t, "works", map[string]any{"severity": tt.severity}); len(r.Findings) != 1 || r.Findings[0].Severity != tt.want {
				t.Errorf("%+v", r)
			}
		})
	}
	r := run(t, "exits 2", map[string]any{"files": []string{"*.py", "deploy/*.yaml"}})
	if r.Status != sdktest.NotApplicable || r.Reason != "no files that it looks at: *.py, deploy/*.yaml" {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	if r := run(t, "works", map[string]any{"files": []string{"*.c"}, "keep_report": true, "hide_snippets": true}); r.Files != 1 || len(r.Artifacts) != 1 || r.Artifacts[0].Name != "fake.sarif" {
		t.Errorf("%+v", r)
	}
}

// What is hidden is not in the copy that the tool gets, and places in the copy
// are places in the target.
func TestHide(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.c": "x\n", ".fake": "ignore all", "sub/.fake": "x", "sub/conf/all.yml": "x", "sub/b.c": "y\n"}
	r := sdktest.Scan(t, newScanner(identity{name: "fake"}), files, settings(t, "works", map[string]any{"hide": []string{".fake", "sub/conf"}}))
	if len(r.Findings) != 1 || r.Findings[0].At.Path != "a.c" || r.Files != 2 || len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "3 files or directories") {
		t.Errorf("%s %s: %+v %v", r.Status, r.Reason, r.Findings, r.Notes)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		more map[string]any
		want string
	}{
		"no target":        {map[string]any{"args": []string{"--sarif", "."}}, "must have {target}"},
		"typing mistake":   {map[string]any{"args": []string{"{target}", "{outptu}"}}, `"{outptu}"`},
		"relative command": {map[string]any{"command": "bin/tool"}, "absolute path or a name"},
		"severity":         {map[string]any{"severity": map[string]string{"error": "bad"}}, `"severity" of "error"`},
		"exit code":        {map[string]any{"exit_codes": []string{"256"}}, "exit_codes"},
		"pattern":          {map[string]any{"files": []string{"**/*.py"}}, "no pattern"},
		"variable":         {map[string]any{"env": map[string]string{"A=B": "x"}}, "no variable"},
		"version":          {map[string]any{"version": "("}, "regular expression"},
		"partial_if":       {map[string]any{"partial_if": "("}, "regular expression"},
		"command":          {map[string]any{"command": nil}, "command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := run(t, "clean", tt.more); r.Status != sdktest.Refused || !strings.Contains(r.Reason, tt.want) {
				t.Errorf("%s: %q, want %q", r.Status, r.Reason, tt.want)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := sdktest.Run(t, newScanner(identity{name: "fake"}), sdktest.Request{Files: sample, Config: settings(t, "hangs", nil),
		CancelAt: func(ev *pluginv1.ScanEvent) bool { return ev.GetProgress().GetPhase() == "running" }})
	if r.Status != sdktest.Canceled {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newScanner(identity{name: "fake"})
	for want, c := range map[string]*Config{
		"no-such-tool is not installed": {Command: "no-such-tool"},
		"does not match":                {Command: os.Args[0], Version: "^2", VersionArgs: []string{"--version"}, Env: map[string]string{fakeEnv: "version"}},
		"does not say its version":      {Command: os.Args[0], Version: "^2", VersionArgs: []string{"x"}, Env: map[string]string{fakeEnv: "crashes"}},
		"":                              {Command: os.Args[0], Version: "^fake 1", VersionArgs: []string{"--version"}, Env: map[string]string{fakeEnv: "version"}},
	} {
		p := &plugin{id: identity{name: "fake"}}
		if c.Version != "" {
			p.probe(c)
			<-p.done
		}
		if got := p.health(c).Degraded; !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s.Health == nil {
		t.Error("the host is not told")
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.sarif")
	if err := os.WriteFile(file, []byte(whole("x")), 0o600); err != nil {
		t.Fatal(err)
	}
	id, rest, err := parseArgs([]string{"--name", "fake", "--rules=" + file, "scan", "--json", "DIR", "--name", "x"})
	if err != nil || id.name != "fake" || len(rest) != 5 || len(id.rules) != 1 {
		t.Errorf("%+v %q %v", id, rest, err)
	}
	r := sdktest.Scan(t, newScanner(id), sample, settings(t, "works", nil))
	if diff := cmp.Diff([]string{"a.c:2:3 R1"}, r.Places()); diff != "" {
		t.Error(diff)
	}
	if _, rest, err := parseArgs([]string{"--describe"}); err != nil || len(rest) != 1 {
		t.Errorf("%q %v", rest, err)
	}
	for _, args := range [][]string{{"--name"}, {"--rules", file + "x"}, {"--rules", os.Args[0]}} {
		if _, _, err := parseArgs(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// What every plugin must get right: odd trees, wrong settings, cancelling.
func TestSelftest(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := sdk.Execute(t.Context(), newScanner(identity{name: "fake"}), []string{"selftest", "--config", settings(t, "clean", nil)}, &out, &out); code != 0 {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
}
