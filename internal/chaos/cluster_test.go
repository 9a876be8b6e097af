package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
	"github.com/securetaghq/securetag/internal/testserver"
)

const lease = 3 * time.Second // the least that may be configured

// settings of a cluster; the zero value takes the defaults.
type settings struct {
	binary   string   // default: the race-built one
	hosts    int      // default 3
	slots    int      // default 4
	tenants  int      // default 3
	embedded bool     // SQLite and a Redis in the host, of which there is one
	plans    []string // of the tenants, in turn; default: none
	more     string   // that the configuration says
	redis    func(addr string) string
	postgres func(host int, url string) string
}

// cluster is some hosts and what they share.
type cluster struct {
	t        *testing.T
	settings settings
	dir      string // short: the sockets of plugins are in it
	memory   string // where archives are unpacked in memory
	config   string
	postgres string
	redis    *testserver.RedisServer
	db       *pgxpool.Pool // the witness's own connections
	hosts    []*node
	keys     []string // one for each tenant
	guard    *guard
	ended    map[string]time.Time // when each run of a host ended, by its name
}

// node is one host. Every run of it has a name of its own, which the database
// sees as the name of the application.
type node struct {
	*testhost.Process
	index, runs int
	name        string
	postgres    string // where it finds the database
	down        bool
	paused      bool
}

func start(t *testing.T, s settings) *cluster {
	t.Helper()
	if s.binary == "" {
		s.binary = bin.securetag
	}
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&s.hosts, 3)
	def(&s.slots, 4)
	def(&s.tenants, 3)
	c := &cluster{t: t, settings: s, ended: map[string]time.Time{}, guard: newGuard(t)}
	c.dir, c.memory = tempDir(t, "", "chaos-"), tempDir(t, "/dev/shm", "chaos-")
	c.config = filepath.Join(c.dir, "securetag.hcl")
	if err := os.Mkdir(c.gates(), 0o755); err != nil {
		t.Fatal(err)
	}
	var url []byte
	if !s.embedded {
		c.postgres = testserver.StartPostgres(t).URL()
		c.redis = testserver.StartRedis(t)
		url = []byte(c.postgres)
	}
	// A configuration has its secrets by reference only.
	if err := errors.Join(os.WriteFile(filepath.Join(c.dir, "database.url"), url, 0o600),
		os.WriteFile(c.config, []byte(c.hcl()), 0o600)); err != nil {
		t.Fatal(err)
	}
	for i := range s.tenants {
		name, plan := tenantName(i), "default"
		if len(s.plans) > 0 {
			plan = s.plans[i%len(s.plans)]
		}
		testhost.Command(t, s.binary, "--config", c.config, "tenant", "create", name, "--plan", plan)
		c.keys = append(c.keys, strings.TrimSpace(testhost.Command(t, s.binary, "--config", c.config, "key", "create", "--tenant", name, "--name", "chaos")))
	}
	if !s.embedded {
		var err error
		if c.db, err = pgxpool.New(t.Context(), withName(c.postgres, "witness")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.db.Close)
		c.witness()
	}
	for i := range s.hosts {
		h := &node{index: i, down: true, postgres: c.postgres,
			Process: &testhost.Process{Binary: s.binary, Config: c.config, Listen: testhost.FreeAddress(t)}}
		if s.postgres != nil {
			h.postgres = s.postgres(i, c.postgres)
		}
		c.hosts = append(c.hosts, h)
	}
	t.Cleanup(func() {
		for _, h := range c.hosts {
			c.resume(h)
			if !h.down {
				h.Stop(t)
			}
		}
		c.keepEvidence()
	})
	for _, h := range c.hosts {
		c.startHost(h)
	}
	return c
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%d", i) }

// tempDir makes a directory and removes it at the end.
func tempDir(t *testing.T, parent, pattern string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// withName names the application to the database.
func withName(rawURL, name string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set("application_name", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func (c *cluster) hcl() string {
	plugin := func(name string) string {
		return fmt.Sprintf(`
plugin %q {
  command       = %q
  dev           = true
  args          = [%q]
  env           = { CHAOS = %q }
  read          = [%q]
  max_silence   = "3s"
  cancel_grace  = "500ms"
  start_timeout = "30s"
  restart { # the storm also kills processes that only wait
    max_failures = 1000
    window       = "1s"
  }
}`, name, bin.flaky, name, c.dir, c.gates())
	}
	servers := ""
	if !c.settings.embedded {
		addr := c.redis.Addr()
		if c.settings.redis != nil {
			addr = c.settings.redis(addr)
		}
		servers = fmt.Sprintf("database { url = file(\"database.url\") }\nredis { url = \"redis://%s\" }", addr)
	}
	return fmt.Sprintf(`
data_dir = %q
%s
server { shutdown_grace = "12s" }
worker {
  slots      = %d
  lease      = %q
  heartbeat  = "300ms"
  memory_dir = %q
}
scan "one" {
  input    = "archive"
  plugins  = ["flaky"]
  attempts = 5
  backoff  = "100ms..500ms"
  timeout  = "10m"
}
scan "two" {
  input    = "archive"
  plugins  = ["flaky", "other"]
  attempts = 5
  backoff  = "100ms..500ms"
  timeout  = "10m"
}
`, filepath.Join(c.dir, "data"), servers, c.settings.slots, lease, c.memory) + plugin("flaky") + plugin("other") + "\n" + c.settings.more
}

// startHost starts a host that is down, under a new name.
func (c *cluster) startHost(h *node) {
	c.t.Helper()
	h.runs++
	h.name = fmt.Sprintf("host-%d-%d", h.index, h.runs)
	h.Env = []string{"GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=100"}
	if h.postgres != "" {
		h.Env = append(h.Env, "SECURETAG_DATABASE__URL="+withName(h.postgres, h.name))
	}
	h.Start(c.t)
	h.down, h.paused = false, false
	c.guard.watch(h.PID())
}

// killHost is kill -9.
func (c *cluster) killHost(h *node) {
	c.t.Helper()
	pid := h.PID()
	h.Kill(c.t)
	c.over(h, pid)
}

// endHost is SIGTERM, and waits.
func (c *cluster) endHost(h *node) {
	c.t.Helper()
	pid := h.PID()
	if _, err := h.Terminate(c.t); err != nil {
		c.t.Errorf("%s ended with %v:\n%s", h.name, err, h.Log(30))
	}
	c.over(h, pid)
}

func (c *cluster) over(h *node, pid int) {
	c.guard.forget(pid)
	c.ended[h.name], h.down, h.paused = time.Now(), true, false
}

// pause freezes a host and not its plugins.
func (c *cluster) pause(h *node) {
	c.t.Helper()
	if err := syscall.Kill(h.PID(), syscall.SIGSTOP); err != nil {
		c.t.Fatalf("stop %s: %v", h.name, err)
	}
	h.paused = true
}

func (c *cluster) resume(h *node) {
	c.t.Helper()
	if h.down || !h.paused {
		return
	}
	if err := syscall.Kill(h.PID(), syscall.SIGCONT); err != nil {
		c.t.Errorf("continue %s: %v", h.name, err)
	}
	h.paused = false
}

// api is a client of a host for a tenant.
func (c *cluster) api(host, tenant int) *client.Client {
	c.t.Helper()
	api, err := client.New("http://"+c.hosts[host%len(c.hosts)].Listen, c.keys[tenant%len(c.keys)],
		client.Options{MinWait: 20 * time.Millisecond, MaxWait: 200 * time.Millisecond, Retries: -1})
	if err != nil {
		c.t.Fatal(err)
	}
	return api
}

// poll asks until the answer is yes or the time is over.
func poll(t *testing.T, limit time.Duration, yes func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !yes() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond): // polling outside processes
		}
	}
	return true
}
