package archtest_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/securetaghq/securetag"

// A rule says what the packages below From may import of this module.
type rule struct {
	from    string   // package path below the module, with all below it
	may     []string // the same for what it may import; itself always
	because string
}

// The first rule whose from fits a package is the one that counts.
var rules = []rule{
	{"sdk/egress", nil, "what calls addresses of strangers knows no scan, so that it can be read by itself, and the host can use it"},
	{"sdk", nil, "plugin authors get the contract and nothing of the host with it"},
	{"plugins", []string{"sdk"}, "a built-in scanner has no privilege over a third party's"},
	{"api/client", nil, "API clients import no server"},
	{"api/export", []string{"host", "api/client", "internal/safetext"}, "a report is made of what a client sees, so that the CLI can make it without a server"},
	{"api", []string{"host", "api/client", "api/export", "host/intake", "host/apikey", "host/control", "host/watch", "host/permission"}, "the API talks to ports, so that no driver leaks into an answer"},
	{"config", nil, "settings are read the same whatever they configure"},
	{"migrations", nil, "schema is data"},
	{"host/storetest", []string{"host"}, "one suite, whatever it runs against"},
	{"host/queuetest", []string{"host"}, "one suite, whatever it runs against"},
	{"host/intake", []string{"host"}, "intake talks to ports"},
	{"host/control", []string{"host"}, "operators' control talks to ports"},
	{"host/dispatch", []string{"host"}, "dispatch talks to ports"},
	{"host/ratelimit", []string{"host"}, "rates are counted through a port, and without its server as well"},
	{"host/telemetry", []string{"host"}, "counting knows what is counted and not who counts"},
	{"host/tracking", []string{"host", "host/internal"}, "tracking talks to a port"},
	{"host/retention", []string{"host", "host/internal"}, "retention talks to ports"},
	{"host/watch", []string{"host"}, "who watches is told through ports, whatever carries the events"},
	{"host/secretbox", []string{"host"}, "sealing knows whose a box is, and neither where it is kept nor what is in it"},
	{"host/permission", []string{"host"}, "who may scan what is decided on ports, and what may be reached is given"},
	{"host/webhook", []string{"host", "host/internal"}, "delivering talks to ports, and is given what may be reached"},
	{"host/identity", nil, "which finding is which depends on nothing but the findings"},
	{"host/postgres", []string{"host", "host/identity", "host/internal", "migrations"}, "an adapter knows its port and never another adapter"},
	{"host/sqlite", []string{"host", "host/identity", "host/internal", "migrations"}, "an adapter knows its port and never another adapter"},
	{"host/internal", []string{"host", "host/identity"}, "what adapters share knows the domain and no adapter"},
	{"host/executor/conformance", []string{"host", "host/executor", "host/internal", "sdk"}, "the kit tests plugins through the host's own launcher, and nothing of the host depends on it"},
	{"host/executor/proxy", []string{"sdk/egress"}, "the way out of a plugin keeps to the rules that plugins keep to themselves, written once, and knows nothing of scans"},
	{"host/executor/sandbox", nil, "what confines a process knows nothing of scans, so that it can be read by itself"},
	{"host/executor", []string{"host", "host/internal", "internal/spread", "sdk"}, "an adapter knows its port and the contract, never another adapter"},
	{"host/workspace", []string{"host", "host/internal", "internal/spread"}, "unpacking knows whose a tree is, and what the disk is like"},
	{"host/blob", []string{"host", "internal/spread"}, "an adapter knows its port, and what the disk is like"},
	{"host", []string{"host"}, "adapters know the domain; the domain knows nobody"},
	{"cmd", []string{""}, "the only place that knows every package"},
	{"internal/safetext", nil, "text is made harmless the same way whoever reads it"},
	{"internal/spread", nil, "a disk is the same whatever is put on it"},
	{"internal", []string{""}, "tests and tools"},
	{"examples/plugins", []string{"sdk"}, "an example is what a third party would write"},
	{"examples/client", []string{"api/client"}, "an example is what a third party would write"},
	{"bench/peers", []string{"api/client", "internal/testserver"}, "the benchmark drives the built binary as it does the peers', from outside"},
}

// Packages that must do no I/O, by what they import themselves.
var pure = map[string][]string{
	"host":          {"net", "net/http", "os", "os/exec", "database/sql"},
	"host/identity": {"net", "net/http", "os", "os/exec", "database/sql", "time"},
}

// Heavy or dangerous dependencies and the one place that may have each.
var confined = map[string]string{
	"github.com/jackc/pgx/v5":           "host/postgres",
	"modernc.org/sqlite":                "host/sqlite",
	"github.com/redis/go-redis/v9":      "host/redisstream",
	"github.com/alicebob/miniredis/v2":  "host/redisstream",
	"github.com/prometheus":             "host/telemetry",
	"github.com/danielgtaylor/huma/v2":  "api",
	"github.com/gorilla/mux":            "api",
	"github.com/rs/cors":                "api",
	"code.dny.dev/ssrf":                 "sdk/egress",
	"github.com/standard-webhooks":      "host/webhook",
	"github.com/landlock-lsm":           "host/executor/sandbox",
	"github.com/elastic/go-seccomp-bpf": "host/executor/sandbox",
	"github.com/hashicorp/hcl/v2":       "config",
	"github.com/spf13/cobra":            "cmd",
	"github.com/zalando/go-keyring":     "cmd",
	"github.com/owenrumney/go-sarif/v3": "api/export",
}

type pkg struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range list(t) {
		r, ok := ruleFor(local(p.ImportPath))
		if !ok {
			t.Errorf("%s has no rule in internal/archtest: add one that says what it may import and why", p.ImportPath)
			continue
		}
		used[r.from] = true
		for _, imp := range p.Imports {
			if ours(imp) && !allowed(r, local(imp)) {
				t.Errorf("%s imports %s, but %s may import only %v: %s", local(p.ImportPath), local(imp), r.from, r.may, r.because)
			}
		}
	}
	for _, r := range rules {
		if !used[r.from] {
			t.Errorf("the rule for %q fits no package: remove it", r.from)
		}
	}
}

// TestHostIsTheDomain: the root package of host imports none of its adapters.
func TestHostIsTheDomain(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, imp := range p.Imports {
			if local(p.ImportPath) == "host" && ours(imp) {
				t.Errorf("host imports %s: the domain knows nobody", local(imp))
			}
		}
		for _, banned := range pure[local(p.ImportPath)] {
			if slices.Contains(p.Imports, banned) {
				t.Errorf("%s imports %s: the domain does no I/O", p.ImportPath, banned)
			}
		}
	}
}

// TestAdaptersApart: no adapter imports another. What is pure is none.
func TestAdaptersApart(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		from := local(p.ImportPath)
		for _, imp := range p.Imports {
			to := local(imp)
			if strings.HasPrefix(from, "host/") && strings.HasPrefix(to, "host/") && top(from) != top(to) && top(to) != "host/internal" && pure[top(to)] == nil {
				t.Errorf("%s imports %s: what lives below host meets only in cmd", from, to)
			}
		}
	}
}

func TestConfinedDependencies(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, imp := range p.Imports {
			for dep, home := range confined {
				if within(imp, dep) && !within(local(p.ImportPath), home) && !within(local(p.ImportPath), "internal") && !within(local(p.ImportPath), "cmd") && !within(local(p.ImportPath), "bench/peers") {
					t.Errorf("%s imports %s, which belongs to %s", local(p.ImportPath), imp, home)
				}
			}
		}
	}
}

// TestPackageComments: every package has exactly one.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		var with []string
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				with = append(with, name)
			}
		}
		generated := strings.HasSuffix(p.ImportPath, "/pluginv1") // its comment is the .proto's
		if len(with) != 1 && !generated {
			t.Errorf("%s has %d package comments (%v), want one", p.ImportPath, len(with), with)
		}
	}
}

// list gives the packages of this module and of the plugins and benchmarks that
// have modules of their own, without tests.
func list(t *testing.T) []pkg {
	t.Helper()
	pkgs := listModule(t, "../..")
	for _, pattern := range []string{"../../plugins/*/go.mod", "../../bench/*/go.mod"} {
		mods, err := filepath.Glob(pattern)
		if err != nil || len(mods) == 0 {
			t.Fatalf("modules %s: %v, %v", pattern, mods, err)
		}
		for _, mod := range mods {
			pkgs = append(pkgs, listModule(t, filepath.Dir(mod))...)
		}
	}
	return pkgs
}

func listModule(t *testing.T, dir string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			pkgs = append(pkgs, p)
		}
	}
	if len(pkgs) == 0 {
		t.Fatalf("go list found no packages in %s; these tests would prove nothing", dir)
	}
	return pkgs
}

func ours(path string) bool    { return within(path, module) }
func local(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

// top is the first folder below host: "host/executor/x" -> "host/executor".
func top(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func ruleFor(path string) (rule, bool) {
	for _, r := range rules {
		if within(path, r.from) {
			return r, true
		}
	}
	return rule{}, false
}

func allowed(r rule, imp string) bool {
	return within(imp, r.from) || slices.ContainsFunc(r.may, func(m string) bool {
		if m == "host" && r.from != "host" {
			return imp == "host" // the domain, not its adapters
		}
		return within(imp, m)
	})
}
