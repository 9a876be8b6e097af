package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/config"
)

// loadText loads a securetag.hcl with that text in dir.
func loadText(t *testing.T, dir, text string, environ ...string) *config.Loaded {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, config.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, config.Options{Dir: dir, Path: config.FileName, Environ: environ})
	if err != nil {
		t.Fatal(report(t, err))
	}
	return l
}

// TestEverySettingSaysWhatAReloadDoes: a setting without the tag would silently
// need a restart.
func TestEverySettingSaysWhatAReloadDoes(t *testing.T) {
	t.Parallel()
	for _, path := range config.Untagged() {
		t.Errorf(`%s does not say what a reload does with it: give the field, or that of its block, the tag reload:"yes" if a running host takes a change (then see to it that one does, in cmd/securetag/reload.go), else reload:"no"`, path)
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := loadText(t, dir, `
data_dir = "/a"
limits { entries = 10 }
redis { url = env("ONE") }
scan "codeaudit" { timeout = "1m" }
plugin "secrets" {
  limits { memory = "1GiB" }
}
plugin "gone" { dev = true }
scan "gone" {}
`, "ONE=redis://:s3cret@one/0")
	next := loadText(t, dir, `
data_dir = "/b"
limits { entries = 20 }
redis { url = env("TWO") }
scan "codeaudit" {
  timeout = "2m"
  plugins = ["secrets", "new"]
}
scan "fresh" { plugins = ["new"] }
plugin "secrets" {
  limits { memory = "2GiB" }
  config { deep = true }
}
plugin "new" { dev = true }
`, "TWO=redis://:s3cret@two/0", "SECURETAG_LOG__LEVEL=debug", "SECURETAG_LOG__FORMAT=json")
	got, changes := old.Take(next, "")
	want := []config.Change{
		{Action: config.Changed, Path: "data_dir", Old: `"/a"`, New: `"/b"`, Source: "securetag.hcl:2", Restart: true},
		{Action: config.Changed, Path: "redis.url", Old: "(sensitive)", New: "(sensitive)", Source: "securetag.hcl:4", Restart: true},
		{Action: config.Changed, Path: "limits.entries", Old: "10", New: "20", Source: "securetag.hcl:3"},
		{Action: config.Changed, Path: "log.level", Old: `"info"`, New: `"debug"`, Source: "env SECURETAG_LOG__LEVEL"},
		{Action: config.Changed, Path: "log.format", Old: `"auto"`, New: `"json"`, Source: "env SECURETAG_LOG__FORMAT", Restart: true},
		{Action: config.Changed, Path: "scan.codeaudit.plugins", Old: `["gosec", "secrets", "iac", "dependencies"]`, New: `["secrets", "new"]`, Source: "securetag.hcl:7", Restart: true, Because: `plugin "new" needs one`},
		{Action: config.Changed, Path: "scan.codeaudit.timeout", Old: `"1m"`, New: `"2m"`, Source: "securetag.hcl:6"},
		{Action: config.Added, Path: "scan.fresh", Source: "securetag.hcl:9", Restart: true},
		{Action: config.Removed, Path: "scan.gone", Source: "securetag.hcl:10", Restart: true},
		{Action: config.Removed, Path: "plugin.gone", Source: "securetag.hcl:9", Restart: true},
		{Action: config.Added, Path: "plugin.new", Source: "securetag.hcl:14", Restart: true},
		{Action: config.Changed, Path: "plugin.secrets.config", Old: "{}", New: "{ deep = (sensitive) }", Source: "securetag.hcl:12"},
		{Action: config.Changed, Path: "plugin.secrets.limits.memory", Old: `"1GiB"`, New: `"2GiB"`, Source: "securetag.hcl:11"},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	c := got.Config
	if c.DataDir != "/a" || c.Limits.Entries != 20 || c.Log.Level != "debug" || c.Log.Format != "auto" || !c.Redis.URL.Equal(old.Config.Redis.URL) {
		t.Errorf("in force: data_dir %s, entries %d, log %+v", c.DataDir, c.Limits.Entries, c.Log)
	}
	if p := c.Plugins["secrets"]; p.Limits.Memory != 2*config.GiB || p.Places["deep"] != "securetag.hcl:12" {
		t.Errorf("plugin secrets in force: %+v", p)
	}
	if diff := cmp.Diff(config.Default().Scans["codeaudit"].Plugins, c.Scans["codeaudit"].Plugins); diff != "" {
		t.Errorf("plugins of codeaudit (-want +got):\n%s", diff)
	}
	for _, name := range []string{"gone", "web", "codeaudit"} {
		if _, ok := c.Scans[name]; !ok {
			t.Errorf("scan type %q is gone before a restart", name)
		}
	}
	if _, ok := c.Plugins["new"]; ok || len(c.Scans) != 4 || len(c.Plugins) != len(config.Default().Plugins)+1 {
		t.Errorf("a new block is in force before a restart: %d scan types, %d plugins", len(c.Scans), len(c.Plugins))
	}
	if got.Source("data_dir") != "securetag.hcl:2" || got.Source("log.format") != "default" || got.Source("scan.codeaudit.timeout") != "securetag.hcl:6" {
		t.Errorf("sources: %s, %s, %s", got.Source("data_dir"), got.Source("log.format"), got.Source("scan.codeaudit.timeout"))
	}
	// What waits is still listed by the next reload, and nothing else.
	_, again := got.Take(next, "")
	for _, c := range again {
		if !c.Restart {
			t.Errorf("the same file again changes %s", c.Path)
		}
	}
	if len(next.Config.Scans["codeaudit"].Plugins) != 2 || len(next.Config.Plugins) != len(config.Default().Plugins)+1 {
		t.Error("Take changed what it was given")
	}
}

func TestTakeOfPluginsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := loadText(t, dir, "limits { entries = 1 }\n")
	next := loadText(t, dir, "limits { entries = 2 }\nplugin \"secrets\" { standby = 3 }\n")
	got, changes := old.Take(next, "plugin.")
	if len(changes) != 1 || changes[0].Path != "plugin.secrets.standby" {
		t.Errorf("changes: %+v", changes)
	}
	if got.Config.Limits.Entries != 1 || got.Config.Plugins["secrets"].Standby != 3 {
		t.Errorf("in force: entries %d, standby %d", got.Config.Limits.Entries, got.Config.Plugins["secrets"].Standby)
	}
}

func TestDiffOfEqualFilesIsEmpty(t *testing.T) {
	t.Parallel()
	const text = "database { url = \"postgres://a:${env(\"ONE\")}@db/x\" }\nplugin \"secrets\" {\n  env = { A = \"b\" }\n  config { x = [1] }\n}\n"
	dir := t.TempDir()
	if changes := loadText(t, dir, text, "ONE=s3cret").Diff(loadText(t, dir, "# moved\n"+text, "ONE=s3cret")); len(changes) > 0 {
		t.Errorf("changes: %+v", changes)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	one := func(path string) config.Reference {
		t.Helper()
		refs, err := config.Explain(path)
		if err != nil {
			t.Fatal(err)
		}
		return refs[0]
	}
	if r := one("plugin.x.limits.memory"); r.Path != "plugin.x.limits.memory" || r.Default != `"512MiB"` || r.Type != "size" || r.Unit == "" ||
		r.Env != "SECURETAG_PLUGIN__X__LIMITS__MEMORY" || r.Reload != "reload" || r.Allowed != "a size with a unit between 64MiB and 1TiB" {
		t.Errorf("plugin.x.limits.memory: %+v", r)
	}
	if r := one("plugin.secrets.sandbox"); r.Default != `"best_effort"` {
		t.Errorf("plugin.secrets.sandbox: %+v", r)
	}
	if r := one("SECURETAG_SERVER__LISTEN"); r.Path != "server.listen" || r.Reload != "restart" {
		t.Errorf("by its variable: %+v", r)
	}
	refs, err := config.Explain("scan")
	if err != nil || refs[0].Path != "scan.<name>" || !refs[0].Block || refs[0].Reload != "restart" || refs[1].Path != "scan.<name>.input" || len(refs) != 8 {
		t.Errorf("scan: %+v, %v", refs, err)
	}
	for path, want := range map[string]string{
		"sever.listen":           `did you mean "server.listen"?`,
		"plugin.x.limts.memory":  `did you mean "plugin.x.limits.memory"?`,
		"entries":                "there is limits.entries",
		"plugin.x.entries":       "there is limits.entries",
		"server.listen.port":     "server.listen is a setting, with nothing below it",
		"plugin.x.config.deep":   "securetag plugin schema",
		"":                       "at the top there is data_dir",
		"log.quite_different":    "in log there is level, format",
		strings.Repeat("x", 999): "there is no setting",
	} {
		if _, err := config.Explain(path); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
			t.Errorf("%.40q: want %q in: %v", path, want, err)
		}
	}
}

// TestReferencesAreWhole: what the page, the schema and explain show is there.
func TestReferencesAreWhole(t *testing.T) {
	t.Parallel()
	for _, r := range config.References() {
		if r.Doc == "" || !r.Block && (r.Type == "" || r.Allowed == "" || r.Default == "" || r.Env == "" || r.Reload == "") {
			t.Errorf("%+v", r)
		}
		refs, err := config.Explain(r.Path)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(r, refs[0]); diff != "" {
			t.Errorf("explain %s (-reference +explained):\n%s", r.Path, diff)
		}
	}
}
