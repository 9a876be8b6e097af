package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/plugin"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// names has one file name for each extractor, in their order.
var names = []string{
	"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock",
	"requirements.txt", "poetry.lock", "Pipfile.lock", "pdm.lock", "uv.lock", "pylock.toml",
	"go.mod", "pom.xml", "gradle.lockfile", "verification-metadata.xml", "libs.versions.toml",
	"Cargo.lock", "Gemfile.lock", "composer.lock",
	"x.csproj", "Directory.Packages.props", "packages.config", "packages.lock.json", "paket.lock",
	"Package.resolved", "Podfile.lock",
	"pubspec.lock", "mix.lock", "cabal.project.freeze", "stack.yaml.lock", "renv.lock", "conan.lock", "Manifest.toml",
}

// place is where the tool of a lockfile keeps it.
func place(name string) string {
	if name == "verification-metadata.xml" || name == "libs.versions.toml" {
		return "gradle/" + name
	}
	return name
}

func TestEveryExtractorHasAFile(t *testing.T) {
	t.Parallel()
	all := extractors()
	if len(all) != len(names) {
		t.Fatalf("%d extractors, %d names", len(all), len(names))
	}
	for i, e := range all {
		for _, size := range []int64{1, 1 << 40} { // how large it may be is for max_file_size to say
			if !e.FileRequired(candidate{sdk.File{Path: place(names[i]), Size: size}}) {
				t.Errorf("%s does not want %s of %d bytes", e.Name(), names[i], size)
			}
		}
	}
}

// Every extractor that the engine has for a language is among ours, or left out for
// a reason: a release with one more lockfile must not pass unseen.
func TestEveryExtractorOfTheEngine(t *testing.T) {
	t.Parallel()
	const (
		manifest  = "its ranges are no versions; the lockfile beside it is read"
		installed = "it reads what was installed or vendored, of which a lockfile tells"
		artifact  = "it reads what was built"
		code      = "it is none, but code of others"
		twin      = "another reads the same file"
	)
	left := map[string]string{
		"dart/packageconfig": installed, "golang/vendormodules": installed, "python/condameta": installed, "python/ipythoninstall": "it reads commands in notebooks",
		"python/wheelegg": installed, "ruby/gem": installed, "dotnet/projectassetsjson": installed, "javascript/packagejson": manifest, "javascript/denojson": manifest,
		"dotnet/paketdependencies": manifest, "gleam/gleamtoml": manifest, "julia/projecttoml": manifest, "lua/luarocks": manifest, "nim/nimble": manifest,
		"ocaml/opam": manifest, "perl/cpan": manifest, "python/pyprojecttoml": manifest, "python/setup": manifest, "ruby/gemspec": manifest, "rust/cargotoml": manifest,
		"javascript/denotssource": "it reads imports in code", "dotnet/depsjson": artifact, "dotnet/dotnetpe": artifact, "golang/gobinary": artifact, "java/archive": artifact,
		"javascript/electronasar": artifact, "javascript/vsix": artifact, "rust/cargoauditable": artifact, "erlang/mixlock": twin,
		"dotnet/common": code, "golang/purl": code, "java/groupid": code, "java/javalockfile": code, "java/purl": code, "javascript/denohelper": code,
		"javascript/denometadata": code, "javascript/internal": code, "javascript/metadata": code, "javascript/purl": code, "php/purl": code,
		"python/pypipurl": code, "swift/swiftutils": code,
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "extractor", "filesystem", "language")
	all, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(all) < 50 {
		t.Fatal(all, err)
	}
	ours := map[string]bool{}
	for _, e := range extractors() {
		kind := reflect.TypeOf(e)
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		_, name, _ := strings.Cut(kind.PkgPath(), "/language/")
		ours[name] = true
	}
	for _, path := range all {
		name := filepath.ToSlash(strings.TrimPrefix(path, dir+string(filepath.Separator)))
		if (left[name] != "") == ours[name] {
			t.Errorf("%s: used: %t, left out because %q", name, ours[name], left[name])
		}
	}
}

// Whatever is in a lockfile, the process lives, and what was not read is said.
func TestHostile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, text := range bombs() {
		for _, name := range names {
			path := filepath.Join(dir, what, place(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := scanApp(t, sdktest.Request{Root: dir, Config: `{"file_timeout": "30s", "database": "` + sampleDir(t) + `"}`})
	if r.Status != sdktest.Partial {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	for _, n := range r.Notes {
		if strings.Contains(n, errSlow.Error()) {
			t.Error(n)
		}
	}
}

// bombs are what was made to take a parser's time, memory or stack.
func bombs() map[string]string {
	const n = 12_000 // above maxDepth
	return map[string]string{
		"brackets":  strings.Repeat("[", n),
		"braces":    strings.Repeat("{", n),
		"objects":   strings.Repeat(`{"a":`, n/5),
		"packages":  `{"lockfileVersion":1,"dependencies":{` + strings.Repeat(`"a":{"version":"1","dependencies":{`, 2000),
		"tags":      strings.Repeat("<a>", n),
		"project":   "<project>" + strings.Repeat("<dependencies><dependency>", n/30),
		"entities":  `<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><project><name>&c;</name></project>`,
		"aliases":   "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f]\n",
		"indents":   strings.Repeat(" ", 5000) + "x:\n" + strings.Repeat("- ", 5000),
		"toml":      "a = " + strings.Repeat("[", n),
		"dotted":    strings.Repeat("a.", 20_000) + "b = 1\n",
		"tables":    strings.Repeat("[[package]]\n", n/12),
		"line":      strings.Repeat("x==1;", n/5),
		"backslash": strings.Repeat("x\\\n", n/3),
		"include":   strings.Repeat("-r requirements.txt\n-r a/../requirements.txt\n", 500),
		"nul":       strings.Repeat("\x00", n),
		"not utf-8": strings.Repeat("\xff\xfe", n/2),
		"number":    `{"version": 1e999999, "packages": [` + strings.Repeat("9", n) + `]}`,
		"version":   "GEM\n  specs:\n    rack (" + strings.Repeat("9", n) + ")\n",
		"null":      "null",
		"wrong":     `{"packages": [{"name": 1}], "dependencies": "x", "lockfileVersion": {}}`,
		"npm alias": `{"lockfileVersion":1,"dependencies":{"a":{"version":"npm:x"}}}`,
		"parent":    "<project><parent><groupId>a</groupId><artifactId>b</artifactId><version>1</version><relativePath>../../../../../../etc</relativePath></parent></project>",
		"properties": "<project><properties>" + strings.Repeat("<a>${b}${b}</a><b>${a}${a}</b>", 200) +
			"</properties><dependencies><dependency><groupId>${a}</groupId><artifactId>x</artifactId><version>${b}</version></dependency></dependencies></project>",
	}
}

// A lockfile that is a link or a pipe is none.
func TestLinks(t *testing.T) {
	t.Parallel()
	outside := writeFiles(t, map[string]string{"requirements.txt": "requests==2.31.0\n"})
	root := writeFiles(t, map[string]string{"requirements.txt": "-r link.txt\n"})
	for name, to := range map[string]string{"link.txt": filepath.Join(outside, "requirements.txt"), "yarn.lock": "/etc/passwd", "other": outside} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := scanApp(t, sdktest.Request{Root: root})
	if r.Status != sdktest.Partial || strings.Contains(string(sbom(t, r)), "requests") {
		t.Errorf("%s: %s\n%s", r.Status, r.Reason, sbom(t, r))
	}
}

// fake is an extractor that does what a test says.
type fake func(ctx context.Context) (inventory.Inventory, error)

func (fake) Name() string                         { return "fake" }
func (fake) Version() int                         { return 0 }
func (fake) Requirements() *plugin.Capabilities   { return nil }
func (fake) FileRequired(filesystem.FileAPI) bool { return true }
func (f fake) Extract(ctx context.Context, _ *filesystem.ScanInput) (inventory.Inventory, error) {
	return f(ctx)
}

func TestSlowAndCrashing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(writeFiles(t, map[string]string{"a": "x"}), "a")
	with := func(f fake) lockfile {
		return lockfile{extractor: f, file: sdk.File{Path: "a", Size: 1}, timeout: time.Minute,
			tree: &tree{open: func(string) (*os.File, error) { return os.Open(path) }, max: 100}}
	}
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		hang := with(func(context.Context) (inventory.Inventory, error) { <-over; return inventory.Inventory{}, nil })
		if _, err := hang.read(t.Context()); !errors.Is(err, errSlow) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := hang.read(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		crashing := with(func(context.Context) (inventory.Inventory, error) { panic("at the disco") })
		var c *crash
		if _, err := crashing.read(t.Context()); !errors.As(err, &c) || strings.Contains(err.Error(), "disco") || len(c.stack) == 0 {
			t.Error(err)
		}
	})
}

// What an extractor may open: regular files of the tree, within the bounds.
func TestTree(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(writeFiles(t, map[string]string{"a/b": "hello", "large": strings.Repeat("x", 101)}))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tr := &tree{open: root.Open, stat: root.Stat, max: 100}
	if b, err := fs.ReadFile(tr, "a/../a/b"); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"../x", "/etc/passwd", "large", "gone"} {
		if _, err := tr.Open(name); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	if i, err := tr.Stat("a"); err != nil || !i.IsDir() {
		t.Error(i, err)
	}
	if _, err := tr.ReadDir("a"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	for range maxOpens {
		_, _ = tr.Open("a/b")
	}
	if _, err := tr.Open("a/b"); err == nil || len(tr.missed) == 0 {
		t.Error("no end of files")
	}
}

// FuzzLockfile reads anything with any extractor: nothing may take the process
// down, and what comes out is what the host takes.
func FuzzLockfile(f *testing.F) {
	for i, name := range names {
		for _, pattern := range []string{"testdata/app/*/" + name, "testdata/app/*/*/" + name} {
			files, err := filepath.Glob(pattern)
			if err != nil {
				f.Fatal(err)
			}
			for _, path := range files {
				b, err := os.ReadFile(path)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(uint8(i), b)
			}
		}
		f.Add(uint8(i), []byte(`{"packages": {"": {}}}`))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		if len(text) > 16<<10 {
			return
		}
		i := int(which) % len(names)
		path := place(names[i])
		root, err := os.OpenRoot(writeFiles(t, map[string]string{path: string(text)}))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		l := lockfile{extractor: extractors()[i], file: sdk.File{Path: path, Size: int64(len(text))}, timeout: time.Minute, tree: &tree{open: root.Open, stat: root.Stat, max: 1 << 20}}
		packages, err := l.read(t.Context())
		if errors.Is(err, errSlow) {
			t.Fatal(err)
		}
		for _, p := range packages {
			d := newDependency(p, path)
			if d.purl == "" || d.path == "" || d.line < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}
