package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
	"github.com/securetaghq/securetag/internal/testserver"
)

// place is where the suite runs.
type place struct {
	name  string
	real  bool // on PostgreSQL and Redis, else embedded
	hosts int
}

var places = []place{
	{"embedded", false, 1},
	{"servers", true, 1},
	{"two hosts", true, 2},
}

// Set by TestMain.
var bin struct{ securetag, plain, gate, hostile, noop, secrets, gitleaks string }

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const root, secrets = "../..", "../../plugins/secrets"
	for _, b := range []struct {
		path      *string
		name, dir string
		args      []string
	}{
		{&bin.securetag, "securetag-race", root, []string{"-race", "./cmd/securetag"}},
		{&bin.plain, "securetag", root, []string{"./cmd/securetag"}},
		{&bin.gate, "gate", root, []string{"./internal/e2e/gate"}},
		{&bin.hostile, "hostile", root, []string{"./host/executor/internal/hostile"}},
		{&bin.noop, "noop", root, []string{"./plugins/noop"}},
		{&bin.secrets, "secrets", secrets, []string{"."}},
		{&bin.gitleaks, "gitleaks", secrets, []string{"github.com/zricethezav/gitleaks/v8"}},
	} {
		*b.path = filepath.Join(dir, b.name)
		if err := testhost.Build(b.dir, *b.path, b.args...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// cluster is the hosts of one test and what they share.
type cluster struct {
	t        *testing.T
	place    place
	dir      string
	gateFile string
	config   string
	postgres string
	redis    *testserver.RedisServer // nil when embedded
	hosts    []*testhost.Process
	keys     map[string]string // tenant -> key
}

// settings change the configuration of a cluster.
type settings struct {
	slots       int
	archiveSize string
	plainBinary bool
	grace       string
	lease       string
	heartbeat   string
	roles       []string // of the hosts in turn; nil: all
}

// start starts the hosts of a place with two tenants, "a" and "b".
func start(t *testing.T, p place, s settings) *cluster {
	t.Helper()
	c := &cluster{t: t, place: p, dir: t.TempDir(), keys: map[string]string{}}
	c.gateFile = filepath.Join(c.dir, "gate-is-open")
	c.config = filepath.Join(c.dir, "securetag.hcl")
	if p.real {
		c.postgres = testserver.Postgres(t)
		c.redis = testserver.StartRedis(t)
	}
	// A configuration has its secrets by reference only.
	if err := os.WriteFile(filepath.Join(c.dir, "database.url"), []byte(c.postgres), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.config, []byte(c.hcl(s)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"a", "b"} {
		c.command(t, "tenant", "create", tenant)
		c.keys[tenant] = strings.TrimSpace(c.command(t, "key", "create", "--tenant", tenant, "--name", "e2e"))
	}
	binary := bin.securetag
	if s.plainBinary {
		binary = bin.plain
	}
	for i := range p.hosts {
		// A data race ends the host with a code of its own, which fails the test.
		h := &testhost.Process{Binary: binary, Config: c.config, Listen: testhost.FreeAddress(t), Env: []string{"GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=100"}}
		if len(s.roles) > 0 {
			h.Args = []string{"--role", s.roles[i]}
		}
		h.Start(t)
		c.hosts = append(c.hosts, h)
	}
	t.Cleanup(func() {
		for _, h := range c.hosts {
			h.Stop(t)
		}
		if t.Failed() || testing.Verbose() {
			for i, h := range c.hosts {
				t.Logf("log of host %d:\n%s", i, h.Log(60))
			}
		}
	})
	return c
}

func (c *cluster) hcl(s settings) string {
	size, slots, grace := "50MiB", 4, "12s"
	if s.archiveSize != "" {
		size = s.archiveSize
	}
	if s.slots > 0 {
		slots = s.slots
	}
	if s.grace != "" {
		grace = s.grace
	}
	lease, heartbeat := "3s", "200ms"
	if s.lease != "" {
		lease, heartbeat = s.lease, s.heartbeat
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir = %q\n", filepath.Join(c.dir, "data"))
	if c.place.real {
		fmt.Fprintf(&b, "database { url = file(\"database.url\") }\nredis { url = %q }\n", "redis://"+c.redis.Addr())
	}
	fmt.Fprintf(&b, `
server { shutdown_grace = %q }
egress { # the receivers of webhooks are here
  allow_networks = ["127.0.0.0/8"]
  ports          = ["80", "443", "1024-65535"]
}
worker {
  slots     = %d
  lease     = %q
  heartbeat = %q
}
limits {
  archive_size  = %q
  unpacked_size = "2GiB"
  file_size     = "2GiB"
}
scan "codeaudit" {
  plugins = ["secrets"]
}
plugin "secrets" {
  command = %q
  dev     = true
}
plugin "gate" {
  command      = %q
  dev          = true
  standby      = 0
  max_silence  = "3s"
  cancel_grace = "1s"
  sandbox      = "off" # it waits for a file that no confined plugin sees
  env          = { E2E = %q }
  config { open = %q }
}
plugin "noop" {
  command = %q
  dev     = true
  isolation = "shared"
}
plugin "hostile" {
  command      = %q
  dev          = true
  args         = ["json-on-stderr", %q]
  standby      = 0
  max_silence  = "2s"
  cancel_grace = "500ms"
}
plugin "mute" {
  command = %q
  dev     = true
  args    = ["megabyte-on-stdout", %q]
  standby = 0
}
scan "mute" {
  input    = "archive"
  plugins  = ["mute"]
  attempts = 2
  backoff  = "100ms..100ms"
}
scan "gate" {
  input   = "archive"
  plugins = ["gate"]
}
scan "brittle" {
  input    = "archive"
  plugins  = ["gate"]
  attempts = 2
  backoff  = "100ms..100ms"
}
scan "brief" {
  input   = "archive"
  plugins = ["gate"]
  timeout = "1s"
}
scan "noop" {
  input   = "archive"
  plugins = ["noop"]
}
scan "hostile" {
  input    = "archive"
  plugins  = ["hostile"]
  attempts = 2
  backoff  = "100ms..100ms"
}
scan "web" {
  input   = "url"
  plugins = []
}
scan "two" {
  input    = "archive"
  plugins  = ["hostile", "secrets"]
  attempts = 1
}
`, grace, slots, lease, heartbeat, size, bin.secrets, bin.gate, c.dir, c.gateFile, bin.noop, bin.hostile, c.dir, bin.hostile, c.dir)
	return b.String()
}

// command runs a CLI verb on the cluster's configuration.
func (c *cluster) command(t *testing.T, args ...string) string {
	t.Helper()
	return testhost.Command(t, bin.plain, append([]string{"--config", c.config}, args...)...)
}

// api is a client of host i for a tenant.
func (c *cluster) api(i int, tenant string) *client.Client {
	c.t.Helper()
	api, err := client.New("http://"+c.hosts[i%len(c.hosts)].Listen, c.keys[tenant], client.Options{MinWait: 20 * time.Millisecond, MaxWait: 200 * time.Millisecond})
	if err != nil {
		c.t.Fatal(err)
	}
	return api
}

// open lets every gate plugin through.
func (c *cluster) open() {
	if err := os.WriteFile(c.gateFile, nil, 0o600); err != nil {
		c.t.Error(err)
	}
}

// upload starts a scan of an archive at host i as tenant a.
func (c *cluster) upload(i int, scanType string, archive []byte, options string) client.Scan {
	c.t.Helper()
	scan, err := c.api(i, "a").Upload(c.t.Context(), bytes.NewReader(archive), client.UploadOptions{
		Filename: "project.tar.gz", Type: scanType, Options: json.RawMessage(options),
	})
	if err != nil {
		c.t.Fatalf("upload: %v", err)
	}
	return scan
}

// wait waits for a scan's end, asking whichever host answers: one may be down.
func (c *cluster) wait(id string) client.Scan {
	c.t.Helper()
	return c.until(id, "final", func(s client.Scan) bool { return s.State.Final() })
}

// until waits for a scan to be as the test wants it.
func (c *cluster) until(id, what string, ok func(client.Scan) bool) client.Scan {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 90*time.Second)
	defer cancel()
	var last client.Scan
	for i := 0; ctx.Err() == nil; i++ {
		s, err := c.api(i, "a").Scan(ctx, id)
		if err == nil {
			if last = s; ok(s) {
				return s
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Millisecond): // polling an outside process
		}
	}
	c.t.Fatalf("scan %s never became %s; last seen: %+v", id, what, last)
	return last
}

func (c *cluster) running(id string) client.Scan {
	c.t.Helper()
	return c.until(id, "running in its plugin", func(s client.Scan) bool {
		return len(s.Jobs) == 1 && s.Jobs[0].Progress != nil && s.Jobs[0].Progress.Phase == "waiting"
	})
}

// findings reads all findings of a scan.
func (c *cluster) findings(id string) []client.Finding {
	c.t.Helper()
	var out []client.Finding
	for f, err := range c.api(0, "a").AllFindings(c.t.Context(), id, client.FindingsQuery{Limit: 7}) {
		if err != nil {
			c.t.Fatalf("findings: %v", err)
		}
		out = append(out, f)
	}
	return out
}
