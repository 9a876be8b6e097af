package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// projects are real ones, in the module cache because this module needs them. The
// first has lockfiles of most tools among its tests.
var projects = []string{"github.com/google/osv-scalibr", "github.com/hashicorp/go-plugin", "github.com/CycloneDX/cyclonedx-go"}

// The same packages as osv-scalibr's own command lists with the same extractors,
// whose SBOMs are kept in testdata: the command is another 400 modules.
// SCALIBR=/path/of/scalibr, of the version in go.mod, writes them anew.
func TestSameAsTheCommand(t *testing.T) {
	t.Parallel()
	for _, project := range projects {
		t.Run(filepath.Base(project), func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", project).Output()
			if err != nil {
				t.Fatal(err)
			}
			root, release, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			golden := filepath.Join("testdata", filepath.Base(project)+"-"+release+".golden")
			if command := os.Getenv("SCALIBR"); command != "" {
				if err := os.WriteFile(golden, []byte(byCommand(t, command, root)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			r := scanApp(t, sdktest.Request{Root: root})
			if diff := cmp.Diff(string(want), listed(t, sbom(t, r))); diff != "" {
				t.Errorf("%s %s (-scalibr +ours):\n%s", r.Status, r.Reason, diff)
			}
		})
	}
}

// byCommand is what the command lists. It fails where a lockfile is broken on
// purpose, and lists the others.
func byCommand(t *testing.T, command, root string) string {
	t.Helper()
	var names []string
	for _, e := range extractors() {
		names = append(names, e.Name())
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "sbom.json")
	cmd := exec.CommandContext(t.Context(), command, "--root", root, "--offline", "--plugins="+strings.Join(names, ","),
		`--skip-dir-regex=(^|/)(node_modules|\.git)$`, "-o", "cdx-json="+file, "--result", filepath.Join(dir, "result.textproto"))
	said, _ := cmd.CombinedOutput() // what it has written tells
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return listed(t, text)
}

// source is what README.md says of purls of npm.
var source = regexp.MustCompile(`\?source=[^&#]*$`)

// listed has a line for each place of a package. Of those of which a range is
// required the command has the version in the purl, and the plugin beside it.
func listed(t *testing.T, sbom []byte) string {
	t.Helper()
	var bom cdx.BOM
	if err := json.Unmarshal(sbom, &bom); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range *bom.Components {
		if c.Evidence == nil || c.Evidence.Occurrences == nil {
			continue
		}
		purl := source.ReplaceAllString(c.PackageURL, "")
		for _, p := range properties(c) {
			if p.Name == "securetag:requirement" {
				purl += "@" + strings.TrimLeft(p.Value, "<>=!~ go")
			}
		}
		for _, o := range *c.Evidence.Occurrences {
			lines = append(lines, o.Location+" "+purl+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

func properties(c cdx.Component) []cdx.Property {
	if c.Properties == nil {
		return nil
	}
	return *c.Properties
}
