package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/open-policy-agent/opa/v1/ast"
	"go.uber.org/goleak"

	checks "github.com/aquasecurity/trivy-checks"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const weakDockerfile = `FROM debian:12
ENV DB_PASSWORD=hunter2
RUN apt-get update
# trivy:ignore:DS-0004
EXPOSE 22
USER root
`

const pod = `apiVersion: v1
kind: Pod
metadata:
  name: p
  namespace: n
spec:
  containers:
    - name: app
      image: gcr.io/a/b:1
      securityContext:
        privileged: true
`

// places lists findings of some rules: "path:from-to rule".
func places(r sdktest.Result, rules ...string) (out []string) {
	for _, f := range r.Findings {
		for _, rule := range rules {
			if f.Rule == rule {
				out = append(out, fmt.Sprintf("%s:%d-%d %s", f.At.Path, f.At.StartLine, f.At.EndLine, rule))
			}
		}
	}
	return out
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	r := sdktest.Scan(t, shared, map[string]string{"app/Dockerfile": weakDockerfile, "x.go": "package x"}, "")
	var got []sdk.Finding
	for _, f := range r.Findings {
		got = append(got, f.Finding)
	}
	at := func(from, to int) sdk.Location {
		return sdk.Location{Path: "app/Dockerfile", StartLine: from, EndLine: to}
	}
	want := []sdk.Finding{
		{Message: "Add HEALTHCHECK instruction in your Dockerfile", Severity: sdk.Low, At: at(0, 0), Properties: map[string]string{"avd_id": "AVD-DS-0026"}},
		{Message: `Possible exposure of secret env "DB_PASSWORD" in ENV`, Severity: sdk.Critical, At: at(2, 2), Properties: map[string]string{"avd_id": "AVD-DS-0031"}},
		{Message: "The instruction 'RUN <package-manager> update' should always be followed by '<package-manager> install' in the same RUN statement.",
			Severity: sdk.High, At: at(3, 3), Snippet: "RUN apt-get update", Properties: map[string]string{"avd_id": "AVD-DS-0017"}},
		{Message: "Port 22 should not be exposed in Dockerfile", Severity: sdk.Medium, At: at(5, 5), Snippet: "EXPOSE 22",
			Properties: map[string]string{"avd_id": "AVD-DS-0004", "suppressed": "inSource"}},
		{Message: "Last USER command in Dockerfile should not be 'root'", Severity: sdk.High, At: at(6, 6), Snippet: "USER root", Properties: map[string]string{"avd_id": "AVD-DS-0002"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(sdk.Finding{}, "Identity")); diff != "" || r.Status != sdktest.Succeeded || r.Files != 1 {
		t.Errorf("%s %s, %d files\n%s", r.Status, r.Reason, r.Files, diff)
	}
}

// Lines are those of the file, whatever stands before a document.
func TestManifestLines(t *testing.T) {
	t.Parallel()
	const config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: n\ndata:\n  password: x\n"
	const inJSON = `{
  "apiVersion": "v1", "kind": "List",
  "items": [
    {
      "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "x": null},
      "spec": {
        "containers": [
          {
            "name": "app",
            "securityContext": {"privileged": true}
          }
        ]
      }
    }
  ]
}`
	files := map[string]string{
		"one.yaml": pod, "two.yml": pod + "--- # and\n" + config + "...\n---\n" + pod, "dos.yaml": "---\r\n" + strings.ReplaceAll(pod, "\n", "\r\n"),
		"bom.yaml": "\ufeff%YAML 1.1\n---\n" + pod, "pods.json": inJSON, "flow.yaml": inJSON + "\n",
		"merged.yaml": strings.Replace(pod, "    - name: app\n", "    - <<: &c {securityContext: {privileged: true}}\n      name: app\n", 1),
		"alias.yaml":  strings.Replace(pod, "privileged: true", "privileged: &yes true", 1) + "    - name: b\n      securityContext: {privileged: *yes}\n",
	}
	r := sdktest.Scan(t, shared, files, "")
	want := []string{
		"alias.yaml:8-11 KSV-0017", "alias.yaml:12-13 KSV-0017", "bom.yaml:10-13 KSV-0017", "dos.yaml:9-12 KSV-0017", "flow.yaml:8-11 KSV-0017",
		"merged.yaml:8-12 KSV-0017", "one.yaml:8-11 KSV-0017", "pods.json:8-11 KSV-0017",
		"two.yml:8-11 KSV-0017", "two.yml:13-19 KSV-0109", "two.yml:29-32 KSV-0017",
	}
	if diff := cmp.Diff(want, places(r, "KSV-0017", "KSV-0109")); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s %q\n%s", r.Status, r.Reason, r.Notes, diff)
	}
	for _, f := range r.Findings {
		if f.Snippet != "" || f.Properties["object"] == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	const template = "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Values.name }}}\n"
	chart := map[string]string{"c/Chart.yaml": "apiVersion: v2\nname: c\n", "c/values.yaml": "a: b\n", "c/templates/p.yaml": template, "c/templates/all.yaml": `{{ include "all" . }}`}
	for name, tt := range map[string]struct {
		files    map[string]string
		config   string
		status   string
		why      string // in the reason
		note     string
		findings bool
	}{
		"nothing": {map[string]string{"a.go": "package a", "a.yaml": "a: b\n", "k/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\n"},
			"", sdktest.NotApplicable, "no Dockerfiles and no Kubernetes manifests", "", false},
		"chart":             {chart, "", sdktest.Partial, "2 templates of Helm charts", "c/templates/p.yaml: was not looked at: it is a template", false},
		"template":          {map[string]string{"p.yaml": template}, "", sdktest.Partial, "could not be looked at", "p.yaml: was not looked at whole: line 3: a key that is no text; it has {{ }}", false},
		"broken manifest":   {map[string]string{"p.yaml": "apiVersion: v1\nkind: Pod\n\tx"}, "", sdktest.Partial, "could not be looked at", "p.yaml: was not looked at whole", false},
		"broken JSON":       {map[string]string{"p.json": "{\n\"apiVersion\": \"v1\",\n\"kind\": \"Pod\",,"}, "", sdktest.Partial, "could not be looked at", "p.json: was not looked at whole", false},
		"broken document":   {map[string]string{"p.yaml": pod + "---\napiVersion: v1\nkind: Pod\n\tx\n---\n" + pod}, "", sdktest.Partial, "could not be looked at", "p.yaml: was not looked at whole: the document after line 11", true},
		"other broken YAML": {map[string]string{"p.yaml": "\tx: kind apiVersion"}, "", sdktest.NotApplicable, "no Dockerfiles", "", false},
		"broken Dockerfile": {map[string]string{"Dockerfile": "FROM a:1\nFROMAGE\n"}, "", sdktest.Partial, "could not be looked at", "Dockerfile: was not looked at whole: line 2: unknown instruction: fromage", false},
		"no Dockerfile":     {map[string]string{"Dockerfile.rego": "package x\n"}, "", sdktest.NotApplicable, "no Dockerfiles", "Dockerfile.rego: is called like a Dockerfile", false},
		"NUL":               {map[string]string{"Dockerfile": "FROM a:1\nRUN <<x\x00 \xff\n"}, "", sdktest.Partial, "could not be looked at", "Dockerfile: was not looked at whole: it has a NUL character", false},
		"no shell script":   {map[string]string{"Dockerfile": "FROM a:1\nRUN if (\n"}, "", sdktest.Partial, "as shell scripts", "Dockerfile: 1 RUN instructions", true},
		"unknown flag":      {map[string]string{"Dockerfile": "FROM --new=x a:latest\n"}, "", sdktest.Succeeded, "", "", true},
		"check fails":       {map[string]string{"Dockerfile": "ARG A=1\nARG A=2\nFROM a:1\n"}, "", sdktest.Partial, "some checks failed", "Dockerfile: the check DS-0001 failed", true},
		"large manifest":    {map[string]string{"p.yaml": pod + "#" + strings.Repeat("x", 2000), "d.json": strings.Repeat("1", 2000)}, `{"max_file_size": "1KiB"}`, sdktest.Partial, "", "p.yaml: was not looked at whole: it is larger than 1KiB", false},
		"at its end":        {map[string]string{"p.yaml": strings.Repeat("# padding\n", 20_000) + pod, "d.yaml": strings.Repeat("kind: x\n", 20_000)}, `{"max_file_size": "1KiB"}`, sdktest.Partial, "", "p.yaml: was not looked at whole: it is larger than 1KiB", false},
		"large Dockerfile":  {map[string]string{"Dockerfile": weakDockerfile + "#" + strings.Repeat("x", 2000)}, `{"max_file_size": "1KiB"}`, sdktest.Partial, "", "Dockerfile: was not looked at whole: it is larger than 1KiB", false},
		"slow":              {map[string]string{"p.yaml": strings.Repeat(pod+"---\n", 100)}, `{"file_timeout": "1ms"}`, sdktest.Partial, "", "p.yaml: was not looked at whole: it took longer than file_timeout", true},
		"unknown exclude":   {nil, `{"exclude": ["DS-0026", "DS-9999"]}`, sdktest.Refused, `there is no check "DS-9999"`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Scan(t, shared, tt.files, tt.config)
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.why) || name != "slow" && len(r.Findings) > 0 != tt.findings {
				t.Errorf("%s: %q, %d findings, want %s: %q", r.Status, r.Reason, len(r.Findings), tt.status, tt.why)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", r.Notes, tt.note)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	files := map[string]string{"Dockerfile": weakDockerfile, "p.yaml": pod}
	r := sdktest.Scan(t, shared, files, `{"min_severity": "high", "exclude": ["avd-ds-0031", "docker-least-privilege-user", "KSV-0014", "KSV-0118"]}`)
	if diff := cmp.Diff([]string{"Dockerfile:3 DS-0017", "p.yaml:8 KSV-0017"}, r.Places()); diff != "" || r.Status != sdktest.Succeeded {
		t.Errorf("%s %s\n%s", r.Status, r.Reason, diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Dockerfile": true, "a/Containerfile": true, "Dockerfile.dev": true, "dev.Dockerfile": true, "dev.dockerfile": true, "Dockerfile-alpine": true, "Dockerfile_dev": true,
		"Dockerfile.dockerignore": false, "dockerfile": false, "Dockerfile-parser.go": false, "Dockerfiles": false, "MyDockerfile": false, "Dockerfile/x": false,
	} {
		if got := isDockerfile(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestIgnores(t *testing.T) {
	t.Parallel()
	k := &check{id: "DS-0004", aliases: []string{"AVD-DS-0004", "DS004"}}
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for comment, want := range map[string]bool{
		"# trivy:ignore:DS-0004": true, "#trivy:ignore:avd-ds-0004": true, "# tfsec:ignore:DS*": true, "# x trivy:ignore:*": true,
		"# trivy:ignore:DS-0004\n# trivy:ignore:DS-0001": true, "# trivy:ignore:DS-0004[x=y]": true, "# trivy:ignore:DS-0004:exp:2026-12-01": true,
		"# trivy:ignore:DS-0004:exp:2026-11-01": false, "# trivy:ignore:DS-0004:exp:soon": false, "# trivy:ignore:DS-0001": false, "# trivy:ignore": false,
		"# trivy:ignore:DS-0004\n": false, "# ignore:DS-0004": false, "# trivy:ignore:?S-0004": false, "# trivy:ignore:[": false,
	} {
		text := comment + "\nEXPOSE 22\n"
		p := problem{check: k, from: bytes.Count([]byte(text), []byte("\n"))}
		if got := waived(readIgnores([]byte(text)), p, now); got != want {
			t.Errorf("%q: %v", comment, got)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := sdktest.Run(t, shared, sdktest.Request{Files: map[string]string{"p.yaml": strings.Repeat(pod+"---\n", 1000)},
		CancelAt: func(ev *pluginv1.ScanEvent) bool { return ev.GetFindings() != nil }})
	if r.Status != sdktest.Canceled {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

// What is read of a check's head is what Open Policy Agent reads of it.
func TestRulesAndHealth(t *testing.T) {
	t.Parallel()
	count := map[language]int{}
	for _, k := range allChecks() {
		count[k.language]++
		text, err := checks.EmbeddedPolicyFileSystem.ReadFile(k.file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ast.ParseModuleWithOpts(k.file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV0, ProcessAnnotation: true})
		if err != nil {
			t.Fatal(err)
		}
		a := m.Annotations[0]
		if a.Title != k.title || a.Description != k.description || a.Custom["id"] != k.id || "data."+strings.TrimPrefix(m.Package.Path.String(), "data.")+".deny" != k.rule {
			t.Errorf("%+v, want %+v", k, a)
		}
		if k.title == "" || k.description == "" || k.severity == 0 {
			t.Errorf("%+v", k)
		}
	}
	if count[dockerfile] != 27 || count[kubernetes] != 119 {
		t.Errorf("%v: README.md has other numbers", count)
	}
	if h := shared.Health(&Config{}); h.Degraded != "" || h.DataUpdated.Format(time.DateOnly) != "2025-12-19" {
		t.Errorf("health %+v", h)
	}
}

func TestSelftest(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := sdk.Execute(t.Context(), newScanner(), []string{"selftest"}, &out, &out); code != 0 {
		t.Errorf("%d\n%s", code, out.String())
	}
}
