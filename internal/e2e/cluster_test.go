package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api/client"
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
	const root = "../.."
	for _, b := range []struct {
		path *string
		dir  string
		args []string
	}{
		{&bin.securetag, root, []string{"-race", "./cmd/securetag"}},
		{&bin.plain, root, []string{"./cmd/securetag"}},
		{&bin.gate, root, []string{"./internal/e2e/gate"}},
		{&bin.hostile, root, []string{"./host/executor/internal/hostile"}},
		{&bin.noop, root, []string{"./plugins/noop"}},
		{&bin.secrets, root + "/plugins/secrets", []string{"."}},
		{&bin.gitleaks, root + "/plugins/secrets", []string{"github.com/zricethezav/gitleaks/v8"}},
	} {
		*b.path = filepath.Join(dir, strconv.Itoa(len(b.args))+filepath.Base(b.args[len(b.args)-1]))
		if b.dir != root {
			*b.path = filepath.Join(dir, filepath.Base(b.dir)+filepath.Base(b.args[0]))
		}
		cmd := exec.Command("go", append([]string{"build", "-o", *b.path}, b.args...)...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %v: %v\n%s", b.args, err, out)
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
	env      []string
	postgres string
	redis    *testserver.RedisServer // nil when embedded
	hosts    []*hostProcess
	keys     map[string]string // tenant -> key
}

// settings change the configuration of a cluster.
type settings struct {
	slots       int
	archiveSize string
	plainBinary bool
	grace       string
}

// start starts the hosts of a place with two tenants, "a" and "b".
func start(t *testing.T, p place, s settings) *cluster {
	t.Helper()
	c := &cluster{t: t, place: p, dir: t.TempDir(), keys: map[string]string{}}
	c.gateFile = filepath.Join(c.dir, "gate-is-open")
	c.config = filepath.Join(c.dir, "securetag.hcl")
	c.env = append(os.Environ(), "GORACE=halt_on_error=1 exitcode=66")
	if p.real {
		c.postgres = testserver.Postgres(t)
		c.redis = testserver.StartRedis(t)
	}
	if err := os.WriteFile(c.config, []byte(c.hcl(s)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"a", "b"} {
		c.command(t, "tenant", "create", tenant)
		c.keys[tenant] = strings.TrimSpace(c.command(t, "key", "create", "--tenant", tenant, "--name", "e2e"))
	}
	for range p.hosts {
		h := &hostProcess{cluster: c, listen: freeAddress(t), binary: bin.securetag}
		if s.plainBinary {
			h.binary = bin.plain
		}
		h.start(t)
		c.hosts = append(c.hosts, h)
	}
	t.Cleanup(func() {
		for _, h := range c.hosts {
			h.stop()
		}
		if t.Failed() {
			for i, h := range c.hosts {
				t.Logf("log of host %d:\n%s", i, h.log.tail(60))
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
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir = %q\n", filepath.Join(c.dir, "data"))
	if c.place.real {
		fmt.Fprintf(&b, "database { url = %q }\nredis { url = %q }\n", c.postgres, "redis://"+c.redis.Addr())
	}
	fmt.Fprintf(&b, `
server { shutdown_grace = %q }
worker {
  slots     = %d
  lease     = "3s"
  heartbeat = "200ms"
}
limits {
  archive_size  = %q
  unpacked_size = "2GiB"
  file_size     = "2GiB"
}
plugin "secrets" { command = %q }
plugin "gate" {
  command      = %q
  cancel_grace = "1s"
  env          = { E2E = %q }
  config { open = %q }
}
plugin "noop" {
  command = %q
  isolation = "shared"
  standby = 0
}
plugin "hostile" {
  command      = %q
  args         = ["json-on-stderr", %q]
  standby      = 0
  max_silence  = "2s"
  cancel_grace = "500ms"
}
scan "gate" {
  input   = "archive"
  plugins = ["gate"]
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
scan "two" {
  input    = "archive"
  plugins  = ["hostile", "secrets"]
  attempts = 1
}
`, grace, slots, size, bin.secrets, bin.gate, c.dir, c.gateFile, bin.noop, bin.hostile, c.dir)
	return b.String()
}

// command runs a CLI verb on the cluster's configuration.
func (c *cluster) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin.plain, append([]string{"--config", c.config}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("securetag %v: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// api is a client of host i for a tenant.
func (c *cluster) api(i int, tenant string) *client.Client {
	c.t.Helper()
	api, err := client.New("http://"+c.hosts[i%len(c.hosts)].listen, c.keys[tenant], client.Options{MinWait: 20 * time.Millisecond, MaxWait: 200 * time.Millisecond})
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

// hostProcess is one `securetag serve`.
type hostProcess struct {
	cluster *cluster
	listen  string
	binary  string
	cmd     *exec.Cmd
	log     *logBuffer
	exited  chan error
}

func (h *hostProcess) start(t *testing.T) {
	t.Helper()
	h.cmd = exec.Command(h.binary, "--config", h.cluster.config, "serve", "--listen", h.listen)
	h.cmd.Env = h.cluster.env
	h.cmd.Dir = h.cluster.dir
	if h.log == nil {
		h.log = &logBuffer{}
	}
	stderr, err := h.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.exited = make(chan error, 1)
	go func() {
		h.log.follow(stderr, serving)
		h.exited <- h.cmd.Wait()
	}()
	select {
	case <-serving:
	case err := <-h.exited:
		h.exited <- err
		t.Fatalf("the host ended at its start: %v\n%s", err, h.log.tail(40))
	case <-time.After(60 * time.Second):
		t.Fatalf("the host did not serve within a minute:\n%s", h.log.tail(40))
	}
}

// kill is kill -9.
func (h *hostProcess) kill(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-h.exited; err == nil {
		t.Error("a killed host ended well")
	}
	h.cmd = nil
}

// terminate sends SIGTERM and returns how the host ended and after how long.
func (h *hostProcess) terminate(t *testing.T) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-h.exited
	h.cmd = nil
	return time.Since(began), err
}

// stop ends the host at the end of a test and fails it on a data race.
func (h *hostProcess) stop() {
	if h.cmd == nil {
		return
	}
	t := h.cluster.t
	if _, err := h.terminate(t); err != nil {
		t.Errorf("the host ended with %v", err)
	}
}

// logBuffer keeps a host's log.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
}

// follow reads a log to its end and says when the host serves.
func (l *logBuffer) follow(r io.Reader, serving chan<- struct{}) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		l.mu.Lock()
		if !strings.Contains(sc.Text(), `"method":"GET"`) { // the tests' polling
			l.lines = append(l.lines, sc.Text())
		}
		l.mu.Unlock()
		var entry struct {
			Message string `json:"@message"`
		}
		if json.Unmarshal(sc.Bytes(), &entry) == nil && entry.Message == "serving" && serving != nil {
			close(serving)
			serving = nil
		}
	}
}

func (l *logBuffer) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
