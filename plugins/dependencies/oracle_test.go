package main

import (
	"context"
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
	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/enricher/vulnmatch/osvlocal"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	scalibr "github.com/google/osv-scalibr/fs"
	"github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/plugin/config"
	"github.com/google/osv-scalibr/stats"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// trees are real ones: the engine's own source, full of lockfiles that its tests
// use, Go's standard library, and what this repository has.
func trees(t *testing.T) map[string]string {
	t.Helper()
	list := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	engine := list("list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr")
	abs := func(path string) string {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	return map[string]string{
		"sample":      abs("testdata/app"),
		"remediation": filepath.Join(engine, "guidedremediation"),
		"java":        filepath.Join(engine, "extractor", "filesystem", "language", "java"),
		"vendored":    filepath.Join(list("env", "GOROOT"), "src", "cmd", "vendor"),
		"sdk":         abs("../../sdk"),
		"peers":       abs("../../bench"),
	}
}

// The same packages at the same places as the engine's own walk, and the same
// vulnerabilities as its own matcher over the same advisories, none missing and
// none more but for what README.md says.
func TestSameAsTheEngine(t *testing.T) {
	t.Parallel()
	const from = "testdata/osv"
	local := osvDirectory(t, from)
	for name, root := range trees(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv, _, err := filesystem.Run(t.Context(), &filesystem.Config{
				Extractors: extractors(), Stats: stats.NoopCollector{}, ScanRoots: scalibr.RealFSScanRoots(root), SkipDirRegex: regexp.MustCompile(`(^|/)(node_modules|\.git)$`),
			})
			if err != nil {
				t.Fatal(err)
			}
			var packages []string
			for _, p := range inv.Packages {
				d := newDependency(p, p.Location.PathOrEmpty())
				packages = append(packages, fmt.Sprintf("%s %s%s", at(d.path, d.line), d.purl, d.allows))
			}
			r := scanApp(t, sdktest.Request{Root: root, Config: fmt.Sprintf(`{"database": %q}`, sampleDir(t))})
			same(t, "packages", packages, components(t, r))
			same(t, "vulnerabilities", matched(t, local, inv), reported(r, from))
		})
	}
}

// at leaves the line out where the engine takes any one of several: those of a
// package that npm installs twice.
func at(path string, line int) string {
	if filepath.Base(path) == "package-lock.json" {
		return path
	}
	return fmt.Sprintf("%s:%d", path, line)
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	for _, l := range []*[]string{&want, &got} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d %s, the engine has %d (-engine +ours):\n%s", len(got), what, len(want), diff)
	}
}

func components(t *testing.T, r sdktest.Result) []string {
	t.Helper()
	var bom cdx.BOM
	if err := json.Unmarshal(sbom(t, r), &bom); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range *bom.Components {
		allows := ""
		if c.Properties != nil {
			allows = (*c.Properties)[0].Value
		}
		for _, o := range *c.Evidence.Occurrences {
			line := 0
			if o.Line != nil {
				line = *o.Line
			}
			out = append(out, fmt.Sprintf("%s %s%s", at(o.Location, line), c.PackageURL, allows))
		}
	}
	return out
}

// osvDirectory is a directory of advisories as the engine's matcher wants it: a
// zip for each ecosystem. Where one is missing it gives up on all packages.
func osvDirectory(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range append(slices.Clone(ecosystems), "ConanCenter", "GIT", "GitHub Actions", "Julia") {
		path := filepath.Join(dir, "osv-scalibr", e, "all.zip")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		zipOf(t, filepath.Join(from, e), f)
		f.Close()
	}
	return dir
}

// matched is what the engine's matcher finds in packages that it can look up.
func matched(t *testing.T, local string, inv inventory.Inventory) []string {
	t.Helper()
	e, err := osvlocal.New(&config.PluginConfig{
		ClientFactories: config.NewDefaultClientFactories("test"),
		ProtoConfig: &cpb.PluginConfig{PluginSpecific: []*cpb.PluginSpecificConfig{{
			Config: &cpb.PluginSpecificConfig_Osvlocal{Osvlocal: &cpb.OSVLocalConfig{LocalPath: local}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	versioned := func(p *extractor.Package) bool {
		return newDependency(p, "").version != "" // it takes those without one for vulnerable
	}
	inv.Packages = slices.DeleteFunc(slices.Clone(inv.Packages), func(p *extractor.Package) bool { return !versioned(p) })
	if err := e.Enrich(context.WithoutCancel(t.Context()), nil, &inv); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range inv.PackageVulns {
		d := newDependency(v.Package, v.Package.Location.PathOrEmpty())
		out = append(out, fmt.Sprintf("%s %s %s", at(d.path, d.line), d.name, v.Vulnerability.GetId()))
	}
	return out
}

// reported has a line for each advisory that a finding stands for.
func reported(r sdktest.Result, from string) []string {
	var out []string
	for _, f := range r.Findings {
		for _, id := range known(f, from) {
			out = append(out, fmt.Sprintf("%s %s %s", at(f.At.Path, f.At.StartLine), f.Properties["package"], id))
		}
	}
	return out
}

// known is those of the ids of a finding that are advisories of the directory.
func known(f sdktest.Finding, from string) []string {
	ids := append(strings.Split(f.Properties["aliases"], ","), f.Properties["id"])
	return slices.DeleteFunc(ids, func(id string) bool {
		info, err := os.Stat(filepath.Join(from, f.Properties["ecosystem"], id+".json"))
		return err != nil || !info.Mode().IsRegular()
	})
}
