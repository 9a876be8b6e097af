package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	spb "github.com/google/osv-scalibr/binary/proto/scan_result_go_proto"
	"github.com/google/osv-scalibr/enricher/vulnmatch/osvlocal"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// projects are real ones, in the module cache because this module needs them. The
// first has lockfiles of most tools among its tests.
var projects = []string{"github.com/google/osv-scalibr", "github.com/hashicorp/go-plugin", "github.com/CycloneDX/cyclonedx-go"}

// unversioned is what the command matches and the plugin does not, by project: of
// a range with two ends it has no version, and takes that for one that every
// advisory is about. The second of these excludes all that this one is about.
var unversioned = map[string][]string{"osv-scalibr": {
	"guidedremediation/internal/manifest/python/testdata/requirements/requirements.txt pkg:pypi/requests GHSA-9wx4-h78v-vm56",
	"guidedremediation/internal/manifest/python/testdata/requirements/want.requirements.txt pkg:pypi/requests GHSA-9wx4-h78v-vm56",
}}

// The same packages as osv-scalibr's own command lists with the same extractors, and
// the same advisories as it matches with them offline. What it said is kept in
// testdata: the command is another 400 modules. SCALIBR=/path/of/scalibr, of the
// version in go.mod, writes it anew.
func TestSameAsTheCommand(t *testing.T) {
	t.Parallel()
	from := advisories(t)
	ours := t.TempDir()
	if _, err := (update{from: from, to: ours, ecosystems: ecosystems, log: t.Output()}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, project := range projects {
		t.Run(filepath.Base(project), func(t *testing.T) {
			t.Parallel()
			root, release := module(t, project)
			golden := filepath.Join("testdata", filepath.Base(project)+"-"+release)
			if command := os.Getenv("SCALIBR"); command != "" {
				packages, matched := byCommand(t, command, root, from)
				write(t, golden+".golden", packages)
				write(t, golden+".matched.golden", matched)
			}
			r := scanApp(t, sdktest.Request{Root: root, Config: fmt.Sprintf(`{"database": %q}`, ours)})
			but := unversioned[filepath.Base(project)]
			held(t, golden+".golden", listed(t, sbom(t, r)), nil)
			held(t, golden+".matched.golden", affected(r, from), but)
			if len(but) > 0 && !noted(r, "without an exact version not looked up") {
				t.Errorf("nobody is told of them: %q", r.Notes)
			}
		})
	}
}

// module is where a module is, and its version.
func module(t *testing.T, path string) (dir, release string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir, release, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	return dir, release
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// held compares with what the command said but for some lines, which it must have.
func held(t *testing.T, path, got string, but []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for _, line := range but {
		before, after, ok := strings.Cut(want, line+"\n")
		if !ok {
			t.Errorf("%s has no %q any more", path, line)
		}
		want = before + after
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-scalibr +ours):\n%s", path, diff)
	}
}

// advisories is a directory with the sample, and with the hundreds about Java that
// the engine keeps for a test with a real project, which is among its files.
func advisories(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/osv")); err != nil {
		t.Fatal(err)
	}
	engine, _ := module(t, "github.com/google/osv-scalibr")
	text, err := os.ReadFile(filepath.Join(engine, "guidedremediation/internal/strategy/override/testdata/zeppelin-server/vulnerabilities.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Vulns []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil || len(list.Vulns) < 300 {
		t.Fatal(len(list.Vulns), err)
	}
	for _, raw := range list.Vulns {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "Maven", r.ID+".json"), string(raw))
	}
	return dir
}

// byCommand is what the command lists and matches. It fails where a lockfile is
// broken on purpose, and lists the others; that it matched them all is asked.
func byCommand(t *testing.T, command, root, from string) (packages, matched string) {
	t.Helper()
	names := []string{osvlocal.Name}
	for _, e := range extractors() {
		names = append(names, e.Name())
	}
	dir := t.TempDir()
	file, result := filepath.Join(dir, "sbom.json"), filepath.Join(dir, "result.textproto")
	cmd := exec.CommandContext(t.Context(), command, "--root", root, "--offline", "--plugins="+strings.Join(names, ","),
		fmt.Sprintf("--plugin-config=osvlocal:{local_path:%q}", osvDirectory(t, from)),
		`--skip-dir-regex=(^|/)(node_modules|\.git)$`, "-o", "cdx-json="+file, "--result", result)
	said, _ := cmd.CombinedOutput() // what it has written tells
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	raw, err := os.ReadFile(result)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var all spb.ScanResult
	if err := prototext.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all.GetPluginStatus(), func(s *spb.PluginStatus) bool {
		return s.GetName() == osvlocal.Name && s.GetStatus().GetStatus() == spb.ScanStatus_SUCCEEDED
	}) {
		t.Fatalf("it did not match everything:\n%s", said)
	}
	var found advised
	for _, v := range all.GetInventory().GetPackageVulns() {
		for _, p := range all.GetInventory().GetPackages() {
			if p.GetId() == v.GetPackageId() {
				found.add(p.GetLocation().GetDesc().GetFile().GetPath(), p.GetPurl().GetPurl(), v.GetVuln().GetId())
			}
		}
	}
	return listed(t, text), found.String()
}

// affected is what the plugin found: the advisories of the directory that its
// findings name.
func affected(r sdktest.Result, from string) string {
	var found advised
	for _, f := range r.Findings {
		purl := f.Properties["purl"]
		if f.Properties["requirement"] != "" { // the command takes the lowest version for the one in use
			purl += "@" + f.Properties["version"]
		}
		for _, id := range known(f, from) {
			found.add(f.At.Path, purl, id)
		}
	}
	return found.String()
}

// advised is ids of advisories by the place of a package.
type advised map[string][]string

func (a *advised) add(path, purl, id string) {
	if *a == nil {
		*a = advised{}
	}
	place := path + " " + source.ReplaceAllString(purl, "")
	(*a)[place] = append((*a)[place], id)
}

// String has a line for each place.
func (a advised) String() string {
	var b strings.Builder
	for _, place := range sortedKeys(a) {
		ids := a[place]
		slices.Sort(ids)
		fmt.Fprintf(&b, "%s %s\n", place, strings.Join(slices.Compact(ids), " "))
	}
	return b.String()
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
