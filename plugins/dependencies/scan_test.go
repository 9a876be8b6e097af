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
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// The sample has a file of each tool, with known vulnerabilities and without.
func TestSample(t *testing.T) {
	t.Parallel()
	r := scanApp(t, sdktest.Request{Root: "testdata/app", Config: fmt.Sprintf(`{"database": %q}`, sampleDir(t))})
	if r.Status != sdktest.Succeeded {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %v confidence %d\n\t%s\n\t%v\n", f, severityName(f), f.Confidence, f.Message, f.Properties)
	}
	for _, n := range r.Notes {
		b.WriteString("note: " + n + "\n")
	}
	var bom cdx.BOM
	if err := json.Unmarshal(sbom(t, r), &bom); err != nil {
		t.Fatal(err)
	}
	for _, c := range *bom.Components {
		fmt.Fprintf(&b, "component: %s %s %s", c.BOMRef, c.Name, c.Version)
		for _, o := range *c.Evidence.Occurrences {
			line := 0
			if o.Line != nil {
				line = *o.Line
			}
			fmt.Fprintf(&b, " %s:%d", o.Location, line)
		}
		b.WriteString("\n")
	}
	golden(t, "testdata/app.golden", b.String())
}

func severityName(f sdktest.Finding) string {
	return [...]string{"none", "info", "low", "medium", "high", "critical"}[f.Severity]
}

// golden compares; DEPENDENCIES_GOLDEN=write writes.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("DEPENDENCIES_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// The SBOM is valid by the schema that its library has, and the same each time.
func TestSBOMIsValid(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	c := jsonschema.NewCompiler()
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var last []byte
	for range 2 {
		raw := sbom(t, scanApp(t, sdktest.Request{Root: "testdata/app"}))
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Error(err)
		}
		if last != nil && string(last) != string(raw) {
			t.Error("two scans of one tree give two SBOMs")
		}
		last = raw
	}
}

// Nobody may take a list of packages for a list of sound packages.
func TestWithoutDatabase(t *testing.T) {
	t.Parallel()
	r := scanApp(t, sdktest.Request{Root: "testdata/app"})
	if len(r.Findings) != 0 || r.Status != sdktest.Succeeded || !noted(r, "not matched against vulnerabilities: this host has no advisory database") {
		t.Errorf("%s, findings %v, notes %v", r.Status, r.Places(), r.Notes)
	}
	r = scanApp(t, sdktest.Request{Root: "testdata/app", Config: fmt.Sprintf(`{"database": %q}`, t.TempDir())})
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "nobody looked for vulnerabilities") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	if len(sbom(t, r)) == 0 {
		t.Error("no SBOM")
	}
}

func TestOldDatabase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		max  string
		note string
	}{
		{"96h", "the vulnerability database is old: the newest advisory is of 2024-12-06, 4 days ago, so newer vulnerabilities are not found"},
		{"168h", "1 package found; in the vulnerability database the newest advisory is of 2024-12-06"},
	} {
		r := scanApp(t, sdktest.Request{
			Files:  map[string]string{"Gemfile.lock": "GEM\n  specs:\n    rack (2.2.2)\n"},
			Config: fmt.Sprintf(`{"database": %q, "max_age": %q}`, sampleDir(t), c.max),
		})
		if r.Status != sdktest.Succeeded || len(r.Findings) != 1 || !noted(r, c.note) {
			t.Errorf("%s, %v, %v", r.Status, r.Places(), r.Notes)
		}
	}
	config := &Config{Database: sampleDir(t), MaxAge: 96 * time.Hour}
	newest := time.Date(2024, 12, 6, 10, 0, 0, 0, time.UTC)
	if h := health(config, today); !strings.Contains(h.Degraded, "is old") || !h.DataUpdated.Equal(newest) {
		t.Errorf("health %+v", h)
	}
	if h := health(config, newest); h.Degraded != "" || !h.DataUpdated.Equal(newest) {
		t.Errorf("health %+v", h)
	}
	if h := health(&Config{Database: t.TempDir()}, today); !strings.Contains(h.Degraded, "dependencies update") {
		t.Errorf("health %+v", h)
	}
	if h := health(&Config{}, today); h.Degraded != "" || !h.DataUpdated.IsZero() {
		t.Errorf("health %+v", h)
	}
}

// A damaged database is no empty one.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(sampleDir(t), databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"empty": {}, "text": []byte(strings.Repeat("not one\n", 2000)), "zeros": make([]byte, len(raw)), "head only": raw[:4096]} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, databaseFile), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if db, err := openDatabase(dir); err == nil {
			db.close()
			t.Errorf("%s: opened", name)
		}
	}
}

// One that another version made is not read as if it were of this one, and is said
// to be made again.
func TestOldFormat(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(sampleDir(t), databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	now, before := fmt.Appendf(nil, `"format":%d,`, databaseFormat), fmt.Appendf(nil, `"format":%d,`, databaseFormat-1)
	if n := bytes.Count(raw, now); n != 1 {
		t.Fatalf("the database says its format %d times", n)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, databaseFile), bytes.Replace(raw, now, before, 1), 0o644); err != nil {
		t.Fatal(err)
	}
	const want = `make it again with "dependencies update"`
	r := scanApp(t, sdktest.Request{Root: "testdata/app", Config: fmt.Sprintf(`{"database": %q}`, dir)})
	if r.Status != sdktest.Partial || len(sbom(t, r)) == 0 || len(r.Findings) > 0 {
		t.Errorf("%s: %s, %d findings", r.Status, r.Reason, len(r.Findings))
	}
	if h := health(&Config{Database: dir, MaxAge: time.Hour}, today); !strings.Contains(h.Degraded, want) {
		t.Errorf("health %+v", h)
	}
}

// One that ends early, as when copying it was cut off, or has a bad page in the
// middle, is no crash, and what was not looked up is said; what was is there.
func TestCutDatabase(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(sampleDir(t), databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	whole, partial := 0, 0
	try := func(name string, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, databaseFile), b, 0o644); err != nil {
			t.Fatal(err)
		}
		r := scanApp(t, sdktest.Request{Root: "testdata/app", Config: fmt.Sprintf(`{"database": %q}`, dir)})
		switch {
		case len(sbom(t, r)) == 0 || strings.Contains(r.Reason+strings.Join(r.Notes, ""), dir):
			t.Errorf("%s: %s: %s %q", name, r.Status, r.Reason, r.Notes)
		case r.Status == sdktest.Succeeded && len(r.Findings) > 0:
			whole++ // the page has nothing that the sample needs
		case r.Status == sdktest.Partial && strings.Contains(r.Reason, "nobody looked for"):
			partial++
		default:
			t.Errorf("%s: %s: %s, %d findings", name, r.Status, r.Reason, len(r.Findings))
		}
	}
	for at := page; at < len(raw); at += page {
		try(fmt.Sprintf("cut at %d", at), raw[:at])
		try(fmt.Sprintf("zeros at %d", at), slices.Concat(raw[:at], make([]byte, page), raw[at+page:]))
	}
	if whole == 0 || partial < 3 {
		t.Errorf("%d were read whole, %d in part", whole, partial)
	}
}

// The database may have nothing of an ecosystem, as it may be made of some.
func TestMissingEcosystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := (update{from: "testdata/osv/npm", to: dir, ecosystems: ecosystems, log: t.Output()}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := scanApp(t, sdktest.Request{Root: "testdata/app/shop", Config: fmt.Sprintf(`{"database": %q}`, dir)})
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "nothing for Packagist") || !strings.Contains(r.Reason, "nothing for RubyGems") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

// What could not be read is named, and the rest is there.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	good := "GEM\n  specs:\n    rack (2.2.2)\n"
	r := scanApp(t, sdktest.Request{
		Files: map[string]string{
			"good/Gemfile.lock":            good,
			"broken/package-lock.json":     `{"lockfileVersion": 3, "packages": {`,
			"null/package-lock.json":       `null`,
			"large/yarn.lock":              strings.Repeat("# filler\n", 20_000),
			"deep/package-lock.json":       strings.Repeat("[", 20_000),
			"include/requirements.txt":     "-r gone.txt\nrequests==2.31.0\n",
			"node_modules/x/Gemfile.lock":  good,
			"pom/pom.xml":                  "<project><dependencies>",
			"toml/poetry.lock":             "[[package]]\nname = \n",
			"mod/go.mod":                   "module x\nrequire (\n",
			"escape/requirements.txt":      "-r ../../../../../etc/passwd\n",
			"elsewhere/not-a-lockfile.txt": "x",
		},
		Config: `{"max_file_size": "100KiB"}`,
	})
	if r.Status != sdktest.Partial || !strings.HasPrefix(r.Reason, "some lockfiles could not be read") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	var named []string
	for _, n := range r.Notes {
		if path, what, _ := strings.Cut(n, ": "); strings.HasPrefix(what, "could not be read as a lockfile: ") {
			named = append(named, path)
		}
	}
	slices.Sort(named)
	want := []string{
		"broken/package-lock.json", "deep/package-lock.json", "escape/requirements.txt", "include/requirements.txt",
		"large/yarn.lock", "mod/go.mod", "null/package-lock.json", "pom/pom.xml", "toml/poetry.lock",
	}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("%s\n%s", diff, strings.Join(r.Notes, "\n"))
	}
	var bom cdx.BOM
	if err := json.Unmarshal(sbom(t, r), &bom); err != nil {
		t.Fatal(err)
	}
	if got := (*bom.Compositions)[0].Aggregate; got != cdx.CompositionAggregateIncomplete {
		t.Errorf("the SBOM says that it is %s", got)
	}
	var names []string
	for _, c := range *bom.Components {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"rack", "requests"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	r := scanApp(t, sdktest.Request{Files: map[string]string{"main.c": "int main;\n"}})
	if r.Status != sdktest.NotApplicable {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

func TestTooManyPackages(t *testing.T) {
	t.Parallel()
	r := scanApp(t, sdktest.Request{Root: "testdata/app/web", Config: `{"max_packages": 2}`})
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "more than 2 packages") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}
