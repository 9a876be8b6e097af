package composetest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/securetaghq/securetag/internal/testhost"
)

const root = "../.."

// compose is what the tests below look at.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image, Build, Restart string
	Command               []string
	Environment           map[string]string
	Volumes, Ports        []string
	DependsOn             map[string]struct{ Condition string } `yaml:"depends_on"`
	StopGrace             string                                `yaml:"stop_grace_period"`
	SecurityOpt           []string                              `yaml:"security_opt"`
	CapDrop               []string                              `yaml:"cap_drop"`
	Privileged            bool
	User                  string
	NetworkMode           string `yaml:"network_mode"`
	Healthcheck           struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal(read(t, root, "docker-compose.yml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "compose-spec.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("compose.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("compose.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchema(t *testing.T) {
	t.Parallel()
	s := schema(t)
	var good, bad any
	text := read(t, root, "docker-compose.yml")
	if err := errors.Join(yaml.Unmarshal(text, &good),
		yaml.Unmarshal([]byte(strings.Replace(string(text), "healthcheck:", "healthchekc:", 1)), &bad)); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(good); err != nil {
		t.Error(err)
	}
	if s.Validate(bad) == nil {
		t.Error("the schema does not see a misspelt key, so it proves nothing")
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	c := load(t)
	for name, want := range map[string]struct{ image, data string }{
		"postgres": {`^postgres:17(\.\d+)?(-alpine)?$`, "/var/lib/postgresql/data"},
		"redis":    {`^redis:7(\.\d+)*(-alpine)?$`, "/data"},
	} {
		s := c.Services[name]
		if !regexp.MustCompile(want.image).MatchString(s.Image) {
			t.Errorf("%s is %q, want %s", name, s.Image, want.image)
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s publishes %v: nobody outside needs it", name, s.Ports)
		}
		if len(s.Healthcheck.Test) == 0 {
			t.Errorf("%s has no healthcheck, and the host waits for one", name)
		}
		if _, declared := c.Volumes[name]; !declared || !slices.Equal(s.Volumes, []string{name + ":" + want.data}) {
			t.Errorf("%s keeps its data in %v, want a declared volume at %s", name, s.Volumes, want.data)
		}
	}
	redis := strings.Join(c.Services["redis"].Command, " ")
	for _, option := range []string{"--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"} {
		if !strings.Contains(redis, option) {
			t.Errorf("redis is started without %s: %s", option, redis)
		}
	}
	if pg := c.Services["postgres"].Environment["POSTGRES_PASSWORD"]; !strings.HasPrefix(pg, "${POSTGRES_PASSWORD:?") {
		t.Errorf("POSTGRES_PASSWORD is %q: it must be asked for and have no default", pg)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	c := load(t)
	for name, s := range c.Services {
		if s.Restart != "unless-stopped" {
			t.Errorf("%s restarts %q", name, s.Restart)
		}
		if s.Privileged || s.NetworkMode != "" || strings.Contains(strings.Join(s.Volumes, " "), "docker.sock") {
			t.Errorf("%s has more of the machine than it needs", name)
		}
	}
	s := c.Services["securetag"]
	for _, server := range []string{"postgres", "redis"} {
		if got := s.DependsOn[server].Condition; got != "service_healthy" {
			t.Errorf("securetag starts when %s is %q", server, got)
		}
	}
	for _, port := range s.Ports {
		if !strings.HasPrefix(port, "127.0.0.1:") {
			t.Errorf("port %s is open to every network: there is no TLS in front of it", port)
		}
	}
	if s.User == "root" || s.User == "0" {
		t.Errorf("securetag runs as %s", s.User)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || !slices.Contains(s.CapDrop, "ALL") {
		t.Errorf("security_opt %v, cap_drop %v", s.SecurityOpt, s.CapDrop)
	}
	if s.Build != "." {
		t.Errorf("securetag is built from %q", s.Build)
	}
}

// TestSettings: each variable of the compose file and of the image is a setting,
// its verbs exist, and a stop has the time that the host takes for it.
func TestSettings(t *testing.T) {
	t.Parallel()
	s, d := load(t).Services["securetag"], dockerfile(t)
	binary := filepath.Join(t.TempDir(), "securetag")
	if err := testhost.Build(root, binary, "./cmd/securetag"); err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range s.Environment {
		env = append(env, name+"="+interpolate(value))
	}
	env = append(env, strings.Fields(d.one(t, "ENV"))...)
	cmd := exec.CommandContext(t.Context(), binary, "--config", filepath.Join(root, "securetag.hcl"), "config", "show")
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("config show with %v: %v\n%s", env, err, out)
	}
	if !regexp.MustCompile(`server\.listen.*0\.0\.0\.0:8080`).Match(out) || !strings.Contains(string(out), "SECURETAG_DATABASE__URL") {
		t.Errorf("the variables do not arrive:\n%s", out)
	}
	grace := regexp.MustCompile(`shutdown_grace\W+(\w+)`).FindSubmatch(out)
	if grace == nil || duration(t, s.StopGrace) <= duration(t, string(grace[1])) {
		t.Errorf("Docker kills after %s, and the host takes shutdown_grace, %s", s.StopGrace, grace)
	}

	if h := s.Healthcheck.Test; len(h) < 3 || h[0] != "CMD" || h[1] != "securetag" {
		t.Fatalf("healthcheck %v: the image has no shell, so it must be CMD, securetag, verb", h)
	}
	verbs := []string{s.Healthcheck.Test[2]}
	verbs = append(verbs, regexp.MustCompile(`^\["(\w+)"`).FindStringSubmatch(d.one(t, "CMD"))[1:]...)
	for _, verb := range verbs {
		help := testhost.Command(t, binary, verb, "--help")
		if !strings.Contains(help, "securetag "+verb+" [flags]") {
			t.Errorf("securetag has no verb %q", verb)
		}
	}
}

var variable = regexp.MustCompile(`\$\{\w+(:?[?-][^}]*)?\}`)

func interpolate(s string) string { return variable.ReplaceAllString(s, "x") }

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(fmt.Errorf("stop_grace_period or shutdown_grace: %w", err))
	}
	return d
}
