package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"

	// Of these only the trees are wanted: real Dockerfiles and manifests.
	_ "github.com/google/cadvisor/version"
	_ "github.com/stefanprodan/podinfo/pkg/version"
)

// trees are real projects, in the module cache because this module needs them.
var trees = []struct {
	module string
	status string
	lost   string // the check of which Trivy lost all results, because it failed on one file
}{
	{"github.com/moby/buildkit", sdktest.Partial, "DS-0001"}, // has Dockerfiles that are wrong on purpose
	{"github.com/stefanprodan/podinfo", sdktest.Partial, ""}, // has a Helm chart
	{"github.com/google/cadvisor", sdktest.Succeeded, ""},
}

// The same findings as Trivy's own command, whose reports are kept in testdata:
// building it takes ten minutes of CPU, and GOEXPERIMENT=jsonv2. TRIVY=/path/of/trivy,
// of v0.74.0, writes them anew.
func TestSameAsTrivy(t *testing.T) {
	t.Parallel()
	for _, tree := range trees {
		t.Run(filepath.Base(tree.module), func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", tree.module).Output()
			if err != nil {
				t.Fatal(err)
			}
			root, release, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			golden := filepath.Join("testdata", filepath.Base(tree.module)+"-"+release+".golden")
			if command := os.Getenv("TRIVY"); command != "" {
				if err := os.WriteFile(golden, []byte(byCommand(t, command, root)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			r := sdktest.Run(t, shared, sdktest.Request{Root: root})
			var got []string
			for _, f := range r.Findings {
				if f.Properties["suppressed"] == "" && f.Rule != tree.lost {
					got = append(got, goldenLine(root, f.At, f.Rule, f.Severity, f.Message))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(string(want), strings.Join(got, "\n")+"\n"); diff != "" || len(got) == 0 || r.Status != tree.status {
				t.Errorf("%s %s %q (-trivy +ours):\n%s", r.Status, r.Reason, r.Notes, diff)
			}
		})
	}
}

// goldenLine leaves out the lines where a file has several documents: Trivy counts
// one too few for each after the first, and TestManifestLines has the true ones.
func goldenLine(root string, at sdk.Location, rule string, severity sdk.Severity, message string) string {
	place := fmt.Sprintf("%s:%d-%d", at.Path, at.StartLine, at.EndLine)
	if text, err := os.ReadFile(filepath.Join(root, at.Path)); err != nil || !isDockerfile(at.Path) && bytes.Contains(text, []byte("\n---")) {
		place = at.Path
	}
	name := ""
	for n, s := range severities {
		if s == severity {
			name = n
		}
	}
	return fmt.Sprintf("%s %s %s %s", place, rule, name, message)
}

// byCommand is what Trivy's command finds, a line each.
func byCommand(t *testing.T, command, root string) string {
	t.Helper()
	report, err := exec.CommandContext(t.Context(), command, "config", "--quiet", "--format", "json", "--misconfig-scanners", "dockerfile,kubernetes",
		"--skip-check-update", "--skip-version-check", "--disable-telemetry", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs struct {
		Results []struct {
			Target            string
			Misconfigurations []struct {
				ID, Message, Severity string
				CauseMetadata         struct{ StartLine, EndLine int }
			}
		}
	}
	if err := json.Unmarshal(report, &theirs); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range theirs.Results {
		for _, m := range r.Misconfigurations {
			at := sdk.Location{Path: r.Target, StartLine: m.CauseMetadata.StartLine, EndLine: m.CauseMetadata.EndLine}
			lines = append(lines, goldenLine(root, at, m.ID, severities[strings.ToLower(m.Severity)], m.Message))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
