package property_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
)

const repository = "../.."

// hcl lets requests come as fast as they are made, from addresses that they
// name, and has a plugin for each input.
const hcl = `
data_dir = %q
server {
  address_rate    = 0
  request_timeout = "2s"
  trusted_proxies = ["127.0.0.1"]
}
plan "default" {
  request_rate = 0
  upload_rate  = 0
}
plugin "noop" {
  command   = %q
  dev       = true
  isolation = "shared"
}
scan "codeaudit" { plugins = ["noop"] }
scan "web"       { plugins = ["noop"] }
`

// More of them find more, and take longer.
var (
	examples = flag.String("examples", "5", "how many requests to make up for each operation")
	seed     = flag.String("seed", "1", "what they are made up from")
)

// TestDocument: with the key of a tenant, and then with that of an operator, who
// may do more harm. The seed is fixed unless another is given, so that a failure
// comes again.
func TestDocument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	host := &testhost.Process{Binary: filepath.Join(dir, "securetag"), Config: filepath.Join(dir, "securetag.hcl"), Listen: testhost.FreeAddress(t)}
	noop := filepath.Join(dir, "noop")
	for out, of := range map[string]string{host.Binary: "./cmd/securetag", noop: "./plugins/noop"} {
		if err := testhost.Build(repository, out, of); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(host.Config, fmt.Appendf(nil, hcl, filepath.Join(dir, "data"), noop), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) string {
		return strings.TrimSpace(testhost.Command(t, host.Binary, append([]string{"--config", host.Config}, args...)...))
	}
	command("tenant", "create", "property")
	tenant := command("key", "create", "--tenant", "property", "--name", "property", "--scopes", scopes(t, host.Binary))
	operator := command("operator", "create", "--name", "property")
	host.Start(t)
	t.Cleanup(func() {
		host.Stop(t)
		if t.Failed() {
			t.Logf("log of the host:\n%s", host.Log(40))
		}
	})
	deps, err := output("sh", repository+"/scripts/kit-deps.sh", "python", "internal/property/requirements.txt")
	if err != nil {
		t.Fatalf("install schemathesis: %v", err)
	}
	operatorOf, err := client.New("http://"+host.Listen, operator, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := operatorOf.Keys(t.Context(), "property")
	if err != nil || len(keys) != 1 {
		t.Fatalf("the tenant has %d keys: %v", len(keys), err)
	}
	for _, run := range []struct{ name, key, filter, paths string }{
		{"tenant", tenant, "--exclude-path-regex", "^/admin|/events$"}, // a stream may have no end
		{"operator", operator, "--include-path-regex", "^/admin"},
	} {
		cmd := exec.CommandContext(t.Context(), "python3", "-B", "-m", "schemathesis.cli", "run", "http://"+host.Listen+"/openapi.json",
			run.filter, run.paths, "--header", "X-API-Key: "+run.key, "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
			"--max-examples", *examples, "--seed", *seed, "--suppress-health-check", "all", "--no-color", "--continue-on-failure", "--warnings", "off")
		cmd.Dir = t.TempDir() // it leaves files where it runs
		here, err := filepath.Abs(".")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "PYTHONPATH="+deps+":"+here, "SCHEMATHESIS_HOOKS=hooks", "SELF="+keys[0].ID, "PYTHONDONTWRITEBYTECODE=1")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil {
			t.Errorf("as %s: %v\n%s", run.name, err, &said)
		}
		ran := regexp.MustCompile(`(?m)^  (\d+) generated`).FindStringSubmatch(said.String())
		if ran == nil || len(ran[1]) < 3 {
			t.Errorf("as %s it tried next to nothing:\n%s", run.name, &said)
		}
	}
}

// scopes are all that there are, as the CLI names them.
func scopes(t *testing.T, binary string) string {
	t.Helper()
	found := regexp.MustCompile(`what the key may do, of ([a-z: ]*[a-z])`).FindStringSubmatch(testhost.Command(t, binary, "key", "create", "--help"))
	if found == nil {
		t.Fatal("the help of key create names no scopes")
	}
	return strings.ReplaceAll(found[1], " ", ",")
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
