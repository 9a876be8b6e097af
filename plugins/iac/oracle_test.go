package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	checks "github.com/aquasecurity/trivy-checks"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"go.yaml.in/yaml/v3"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// shared is one plugin for all tests, as a process has one: its engines are
// compiled once.
var shared = newScanner()

// Trivy's own examples: each check that has some finds all bad ones, and none of
// the good ones.
func TestExamples(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, k := range allChecks() {
		text, err := fs.ReadFile(checks.EmbeddedPolicyFileSystem, strings.TrimSuffix(k.file, ".rego")+".yaml")
		if err != nil {
			continue // it has none
		}
		tried++
		var examples map[language]struct{ Good, Bad []string }
		if err := yaml.Unmarshal(text, &examples); err != nil {
			t.Fatalf("%s: %v", k.file, err)
		}
		files, bad := map[string]string{}, map[string]bool{}
		for i, text := range examples[k.language].Good {
			files[exampleName(k.language, "good", i)] = text
		}
		for i, text := range examples[k.language].Bad {
			name := exampleName(k.language, "bad", i)
			files[name], bad[name] = text, true
		}
		if len(files) == 0 {
			t.Errorf("%s: no examples in its file", k.id)
		}
		r := sdktest.Scan(t, shared, files, settings(t, map[string]any{"exclude": allBut(k)}))
		if r.Status != sdktest.Succeeded {
			t.Errorf("%s: %s %s %q", k.id, r.Status, r.Reason, r.Notes)
		}
		for name, text := range files {
			found := slices.ContainsFunc(r.Findings, func(f sdktest.Finding) bool { return f.Rule == k.id && f.At.Path == name })
			if found != bad[name] {
				t.Errorf("%s of %s: found %v\n%s", k.id, name, found, text)
			}
		}
	}
	if tried < 40 {
		t.Errorf("%d checks have examples", tried)
	}
}

// allBut names the other checks.
func allBut(k *check) []string {
	var out []string
	for _, other := range allChecks() {
		if other != k {
			out = append(out, other.id)
		}
	}
	return out
}

func settings(t testing.TB, c map[string]any) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exampleName(l language, kind string, i int) string {
	dir := kind + string(rune('a'+i))
	if l == dockerfile {
		return dir + "/Dockerfile"
	}
	return dir + "/x.yaml"
}

// Trivy's own tests of its checks, which are in Rego too, pass with this release
// of Open Policy Agent and the functions that are ours here.
func TestOwnTests(t *testing.T) {
	t.Parallel()
	for _, l := range []language{dockerfile, kubernetes} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			modules := map[string]*ast.Module{}
			var names []string
			used := map[string]bool{}
			for _, k := range allChecks() {
				if k.language == l {
					used[strings.TrimSuffix(k.file, ".rego")+"_test.rego"] = true
					modules[k.file] = mustParse(t, checks.EmbeddedPolicyFileSystem, k.file)
				}
			}
			for _, lib := range append(libraries(l), "lib/test/test.rego") {
				modules[lib] = mustParse(t, checks.EmbeddedLibraryFileSystem, lib)
			}
			tests, _ := fs.Glob(checks.EmbeddedPolicyFileSystem, "checks/"+directories[l]+"/*_test.rego")
			for _, name := range tests {
				if !used[name] {
					continue // of a check that is left out
				}
				m := mustParse(t, checks.EmbeddedPolicyFileSystem, name)
				modules[name] = m
				for _, r := range m.Rules {
					if q := m.Package.Path.String() + "." + string(r.Head.Name); strings.HasPrefix(string(r.Head.Name), "test_") && !slices.Contains(names, q) {
						names = append(names, q)
					}
				}
			}
			compiler := ast.NewCompiler()
			if compiler.Compile(modules); compiler.Failed() {
				t.Fatal(compiler.Errors)
			}
			for _, q := range names {
				r, err := rego.New(rego.Query(q), rego.Compiler(compiler)).Eval(context.Background())
				if err != nil || !r.Allowed() {
					t.Errorf("%s: %v %v", q, r, err)
				}
			}
			t.Logf("%d tests", len(names))
		})
	}
}

func mustParse(t *testing.T, from fs.FS, name string) *ast.Module {
	t.Helper()
	m, err := parseModule(from, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
