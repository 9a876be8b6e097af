package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/securetaghq/securetag/config"
)

var update = flag.Bool("update", false, "write the golden files and docs/configuration.md")

// load loads with nothing of this machine in it.
func load(t *testing.T, opts config.Options) (*config.Loaded, error) {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.Executable = filepath.Join(opts.Dir, "bin", "securetag")
	opts.BuiltIn = []string{"secrets", "dependencies", "iac", "gosec", "web", "sarif"}
	return config.Load(opts)
}

// write puts a securetag.hcl into a new directory.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// report is what a person sees of an error.
func report(t *testing.T, err error) string {
	t.Helper()
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a *config.Error", err)
	}
	var b bytes.Buffer
	if err := e.Write(&b, false, 78); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestValid(t *testing.T) {
	t.Parallel()
	for _, path := range inputs(t, "valid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			l, err := load(t, config.Options{Path: filepath.Base(path), Dir: dir, Environ: environ()})
			if err != nil {
				t.Fatal(report(t, err))
			}
			var b bytes.Buffer
			if err := l.Show(&b); err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(b.String(), dir, "/srv")
			got = regexp.MustCompile(` +#`).ReplaceAllString(got, "  #") // the column depends on dir
			for _, secret := range []string{"s3cret", "hunter2"} {
				if strings.Contains(got, secret) {
					t.Errorf("the secret %q is shown", secret)
				}
			}
			golden(t, goldenOf(path), got)
		})
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, path := range inputs(t, "invalid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			_, err = load(t, config.Options{Path: filepath.Base(path), Dir: dir, Environ: environOf(t, path)})
			got := strings.ReplaceAll(report(t, err), dir, "/srv")
			for _, secret := range []string{"s3cret", "hunter2"} {
				if strings.Contains(got, secret) || strings.Contains(err.Error(), secret) {
					t.Errorf("the secret %q is shown", secret)
				}
			}
			golden(t, goldenOf(path), got)
		})
	}
}

func TestNoFileGivesTheDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := load(t, config.Options{Dir: dir})
	if err != nil {
		t.Fatal(report(t, err))
	}
	want := config.Default()
	want.DataDir = filepath.Join(dir, "securetag-data")
	want.PluginDir = filepath.Join(dir, "bin", "plugins")
	for name, p := range want.Plugins {
		p.Places, p.Literals = map[string]string{}, map[string]bool{}
		p.Command = filepath.Join(want.PluginDir, p.Command)
		want.Plugins[name] = p
	}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.File != "" || l.Source("server.listen") != "default" {
		t.Errorf("File %q, Source %q", l.File, l.Source("server.listen"))
	}
}

func TestShippedFileIsTheDefaults(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := load(t, config.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(report(t, err))
	}
	l, err := load(t, config.Options{Dir: root, Path: config.FileName})
	if err != nil {
		t.Fatal(report(t, err))
	}
	var got, want bytes.Buffer
	if err := errors.Join(l.Show(&got), defaults.Show(&want)); err != nil {
		t.Fatal(err)
	}
	// Values are compared as shown, paths by their last part, because the
	// two were loaded in different directories.
	for i, line := range strings.Split(got.String(), "\n") {
		path, value, _ := strings.Cut(line, "=")
		value, source, _ := strings.Cut(value, "#")
		_, other, _ := strings.Cut(strings.Split(want.String(), "\n")[i], "=")
		other, _, _ = strings.Cut(other, "#")
		if filepath.Base(strings.TrimSpace(value)) != filepath.Base(strings.TrimSpace(other)) {
			t.Errorf("%s is %s in securetag.hcl and %s by default", path, value, other)
		}
		if path != "" && !strings.HasPrefix(strings.TrimSpace(source), config.FileName) {
			t.Errorf("%s is missing in securetag.hcl", path)
		}
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	dir := write(t, `
data_dir = "data"
server {
  listen         = ":1"
  shutdown_grace = "1s"
}
worker { slots = 1 }
scan "code-audit" {}
plugin "fast" {
  args = ["a"]
  dev  = true
}
`)
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlag(fs, "listen", "server.listen")
	config.AddFlag(fs, "slots", "worker.slots")
	config.AddFlag(fs, "redis-tls", "redis.tls")
	config.AddFlag(fs, "log-level", "log.level")
	fs.String("unrelated", "x", "")
	if err := fs.Parse([]string{"--listen=:3", "--unrelated=y", "--log-level", "debug"}); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, config.Options{Dir: dir, Flags: fs, KnownEnv: []string{"SECURETAG_API_KEY"}, Environ: []string{
		"SECURETAG_SERVER__LISTEN=:2", "SECURETAG_WORKER__SLOTS=2", "SECURETAG_SCAN__CODE_AUDIT__TIMEOUT=90s",
		"SECURETAG_PLUGIN__FAST__ARGS=b, c", `SECURETAG_PLUGIN__FAST__CONFIG={"deep": {"x": 1}}`,
		"SECURETAG_PLUGIN__FAST__ENV=A=1,B=x=y", "SECURETAG_API_KEY=k", "PATH=/bin",
	}})
	if err != nil {
		t.Fatal(report(t, err))
	}
	type row struct{ Value, Source any }
	c := l.Config
	got := map[string]row{
		"data_dir":                {c.DataDir, l.Source("data_dir")},
		"server.listen":           {c.Server.Listen, l.Source("server.listen")},
		"server.shutdown_grace":   {c.Server.ShutdownGrace.String(), l.Source("server.shutdown_grace")},
		"server.request_timeout":  {c.Server.RequestTimeout.String(), l.Source("server.request_timeout")},
		"worker.slots":            {c.Worker.Slots, l.Source("worker.slots")},
		"log.level":               {c.Log.Level, l.Source("log.level")},
		"redis.tls":               {c.Redis.TLS, l.Source("redis.tls")},
		"scan.code-audit.timeout": {c.Scans["code-audit"].Timeout.String(), l.Source("scan.code-audit.timeout")},
		"scan.code-audit.input":   {c.Scans["code-audit"].Input, l.Source("scan.code-audit.input")},
		"plugin.fast.args":        {strings.Join(c.Plugins["fast"].Args, "|"), l.Source("plugin.fast.args")},
		"plugin.fast.config":      {string(c.Plugins["fast"].Config), l.Source("plugin.fast.config")},
		"plugin.fast.env":         {c.Plugins["fast"].Env["B"], l.Source("plugin.fast.env")},
		"plugin.fast.command":     {c.Plugins["fast"].Command, l.Source("plugin.fast.command")},
	}
	want := map[string]row{
		"data_dir":                {filepath.Join(dir, "data"), "securetag.hcl:2"},
		"server.listen":           {":3", "flag --listen"},
		"server.shutdown_grace":   {"1s", "securetag.hcl:5"},
		"server.request_timeout":  {"30s", "default"},
		"worker.slots":            {2, "env SECURETAG_WORKER__SLOTS"},
		"log.level":               {"debug", "flag --log-level"},
		"redis.tls":               {false, "default"},
		"scan.code-audit.timeout": {"1m30s", "env SECURETAG_SCAN__CODE_AUDIT__TIMEOUT"},
		"scan.code-audit.input":   {"archive", "default"},
		"plugin.fast.args":        {"b|c", "env SECURETAG_PLUGIN__FAST__ARGS"},
		"plugin.fast.config":      {`{"deep":{"x":1}}`, "env SECURETAG_PLUGIN__FAST__CONFIG"},
		"plugin.fast.env":         {"x=y", "env SECURETAG_PLUGIN__FAST__ENV"},
		"plugin.fast.command":     {filepath.Join(dir, "bin", "plugins", "fast"), "default"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPassedEnvironment(t *testing.T) {
	t.Parallel()
	l, err := load(t, config.Options{
		Dir:     write(t, "plugin \"secrets\" {\n  env      = { A = \"own\" }\n  env_pass = [\"A\", \"B\", \"C\"]\n}\n"),
		Environ: []string{"A=host's", "B=host's", "D=host's"},
	})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if diff := cmp.Diff(map[string]string{"A": "own", "B": "host's"}, l.Config.Plugins["secrets"].Env); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistakesOfSettings(t *testing.T) {
	t.Parallel()
	l, err := load(t, config.Options{Dir: write(t, `
plugin "secrets" {
  config {
    max_size = "s3cret"
    rule "aws" {
    }
  }
}
`)})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if diff := cmp.Diff(map[string]string{"max_size": "securetag.hcl:4", "rule": "securetag.hcl:5"}, l.Config.Plugins["secrets"].Places); diff != "" {
		t.Errorf("Places (-want +got):\n%s", diff)
	}
	err = l.Mistakes([]config.SettingMistake{
		{Plugin: "secrets", Setting: "url", Text: "is required. Where to ask."},
		{Plugin: "secrets", Setting: "max_size", Text: "must be a number, got a string"},
	})
	golden(t, filepath.Join("testdata", "settings.golden"), report(t, err))

	// What a variable overrides has no place in the file.
	l, err = load(t, config.Options{Dir: write(t, "plugin \"secrets\" {\n  config {\n    a = 1\n  }\n}\n"), Environ: []string{"SECURETAG_PLUGIN__SECRETS__CONFIG={}"}})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if got := l.Config.Plugins["secrets"].Places; len(got) > 0 {
		t.Errorf("Places: %v, want none", got)
	}
	if got := report(t, l.Mistakes([]config.SettingMistake{{Plugin: "secrets", Setting: "a", Text: "is wrong"}})); !strings.Contains(got, "variable SECURETAG_PLUGIN__SECRETS__CONFIG") {
		t.Error(got)
	}
}

func TestPluginConfigIsJSON(t *testing.T) {
	t.Parallel()
	l, err := load(t, config.Options{Dir: "testdata/valid", Path: "plugins.hcl", Environ: environ()})
	if err != nil {
		t.Fatal(report(t, err))
	}
	const want = `{"allow":["test/**"],"entropy":{"min":3.5},"max_size":2097152,"rule":{"aws-key":{"severity":"high"}}}`
	if got := string(l.Config.Plugins["secrets"].Config); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := l.Config.Plugins["deps"].Env["SLOTS"]; got != "6" || len(l.Config.Plugins["deps"].Env) != 1 {
		t.Errorf("what deps inherits: %v", l.Config.Plugins["deps"].Env)
	}
	if got := string(l.Config.Plugins["deps"].Config); got != "{}" {
		t.Errorf("without a config block: got %s", got)
	}
	_, err = load(t, config.Options{Dir: write(t, "plugin \"secrets\" {\n  config {\n    max = 1/0\n  }\n}\n")})
	if got := report(t, err); !strings.Contains(got, "max cannot be handed to a plugin") {
		t.Error(got)
	}
}

func TestFlagsAreTiedToSettings(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlag(fs, "redis-tls", "redis.tls")
	config.AddFlag(fs, "timeout", "scan.codeaudit.timeout")
	if err := fs.Parse([]string{"--redis-tls", "--timeout", "1h"}); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, config.Options{Flags: fs, Dir: write(t, "redis { addresses = [\"a:1\"] }")})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if !l.Config.Redis.TLS || l.Config.Scans["codeaudit"].Timeout != time.Hour || l.Source("redis.tls") != "flag --redis-tls" {
		t.Errorf("got %+v, %+v", l.Config.Redis, l.Config.Scans["codeaudit"])
	}
	for _, path := range []string{"", "server", "server.lisen", "plugin.secrets.config"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("AddFlag for %q did not panic", path)
				}
			}()
			config.AddFlag(fs, "x", path)
		}()
	}
}

func TestMistakesInVariablesAndFlags(t *testing.T) {
	t.Parallel()
	dir := write(t, "worker {\n  heartbeat = \"20s\"\n}\n")
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlag(fs, "listen", "server.listen")
	config.AddFlag(fs, "archive-size", "limits.archive_size")
	if err := fs.Parse([]string{"--listen=nonsense", "--archive-size=50 apples"}); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, config.Options{Dir: dir, Flags: fs, Environ: []string{
		"SECURETAG_SERVER_LISTEN=:2", "SECURETAG_WORKER__SLOTS=many", "SECURETAG_LOG__LEVEL=inof", "SECURETAG_SCAN__CODEAUDTI__TIMEOUT=1m",
		"SECURETAG_DATABASE__URL=mysql://root:s3cret@db/x", "SECURETAG_COMPLETELY_DIFFERENT=1", "SECURETAG_SCAN__WEB__PLUGINS=secrets,zap",
		`SECURETAG_PLUGIN__SECRETS__CONFIG=[1]`, "SECURETAG_PLUGIN__SECRETS__ENV=A-B=s3cret", "SECURETAG_REDIS__TLS=perhaps",
	}})
	got := report(t, err)
	if strings.Contains(got, "s3cret") {
		t.Error("a secret is shown")
	}
	golden(t, filepath.Join("testdata", "overlay.golden"), got)
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "dir.hcl"), 0o700),
		os.WriteFile(filepath.Join(dir, "big.hcl"), bytes.Repeat([]byte("# comment\n"), 200_000), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"missing.hcl": "no such file", "dir.hcl": "no file *.hcl", "big.hcl": "over the limit of 1MiB", "/dev/zero": "not a regular file",
	} {
		_, err := load(t, config.Options{Dir: dir, Path: path})
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: want %q in: %v", path, want, err)
		}
	}
}

func TestFileFunction(t *testing.T) {
	t.Parallel()
	dir := write(t, `database { url = trimspace(file("secret")) }`)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("postgres://a:s3cret@db/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, config.Options{Dir: dir})
	if err != nil {
		t.Fatal(report(t, err))
	}
	if got := l.Config.Database.URL.Reveal(); got != "postgres://a:s3cret@db/x" {
		t.Errorf("got %q", got)
	}
	for text, want := range map[string]string{
		strings.Repeat("x", 65<<10): "over the limit of 64KiB", "\xff": "not UTF-8",
	} {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := load(t, config.Options{Dir: dir})
		if got := report(t, err); !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

func TestDeepFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"lists":     "data_dir = " + strings.Repeat("[", 100_000),
		"blocks":    strings.Repeat("server {\n", 100_000),
		"unary":     "data_dir = " + strings.Repeat("!", 100_000) + "true",
		"sums":      "data_dir = 1" + strings.Repeat("+1", 100_000),
		"indexes":   "data_dir = [1]" + strings.Repeat("[0]", 100_000),
		"templates": "data_dir = " + strings.Repeat(`"${`, 100_000),
	} {
		_, err := load(t, config.Options{Dir: write(t, text)})
		if got := report(t, err); !strings.Contains(got, "too deeply nested") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestColourOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	_, err := load(t, config.Options{Dir: write(t, "serve {}\n")})
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var plain, colour bytes.Buffer
	if err := errors.Join(e.Write(&plain, false, 0), e.Write(&colour, true, 0)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(colour.String(), "\x1b[1;31mError:") {
		t.Errorf("plain:\n%q\ncolour:\n%q", plain.String(), colour.String())
	}
	if want := `securetag.hcl:1: Unsupported block type: There is no block "serve" at the top of the file. Did you mean "server"?`; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

// TestServiceLinks: in a pod beside a service called "securetag" Kubernetes
// sets variables with our prefix.
func TestServiceLinks(t *testing.T) {
	t.Parallel()
	_, err := load(t, config.Options{Dir: t.TempDir(), Environ: []string{
		"SECURETAG_SERVICE_HOST=10.0.0.1", "SECURETAG_SERVICE_PORT=8080", "SECURETAG_SERVICE_PORT_HTTP=8080",
		"SECURETAG_PORT=tcp://10.0.0.1:8080", "SECURETAG_PORT_8080_TCP=tcp://10.0.0.1:8080", "SECURETAG_PORT_8080_TCP_ADDR=10.0.0.1",
	}})
	if err != nil {
		t.Errorf("Load = %v, want the service links overlooked", err)
	}
	if _, err := load(t, config.Options{Dir: t.TempDir(), Environ: []string{"SECURETAG_PORTS=1"}}); err == nil {
		t.Error("Load takes a variable that is no service link and no setting")
	}
}
