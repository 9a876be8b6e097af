package e2e_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/redisstream"
)

var halves = place{"halves", true, 2}

// TestRoles: a host that takes requests and one that runs jobs do together what
// one host does. Their heartbeat is so slow that no test waits for one: what
// the worker hears, it hears through Redis.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := start(t, halves, settings{roles: []string{"api", "worker"}, lease: "10m", heartbeat: "3m"})
	worker := c.hosts[1]

	scan := c.upload(0, "gate", sample(t), "")
	c.inPlugin(scan.ID)
	if _, err := c.api(0, "a").Cancel(t.Context(), scan.ID); err != nil {
		t.Fatalf("cancel: %v", err)
	}
	if s := c.wait(scan.ID); s.State != client.StateCanceled || s.Jobs[0].State != client.StateCanceled || s.Jobs[0].Attempt != 1 {
		t.Errorf("scan = %s, job %+v, want canceled in its first attempt", s.State, s.Jobs[0])
	}
	waitGone(t, bin.gate, c.dir)

	c.open()
	scan = c.wait(c.upload(0, "gate", sample(t), "").ID)
	if n := len(c.findings(scan.ID)); scan.State != client.StateSucceeded || n != 3 {
		t.Errorf("scan = %s with %d findings, want succeeded with 3", scan.State, n)
	}
	if diff := cmp.Diff([]host.EventKind{host.EventStarted, host.EventEnded}, c.eventKinds(scan.ID)); diff != "" {
		t.Errorf("its events (-want +got):\n%s", diff)
	}
	if c.hosts[0].Logged("plugin ready") != 0 || worker.Logged("plugin ready") == 0 {
		t.Error("the host of role api started plugins, or the worker none")
	}

	if _, err := worker.Terminate(t); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if names := c.consumers("gate"); len(names) != 0 {
		t.Errorf("Redis still has the listeners %v of a host that left", names)
	}
	waiting := c.upload(0, "gate", sample(t), "")
	worker.Start(t)
	if s := c.wait(waiting.ID); s.State != client.StateSucceeded {
		t.Errorf("a scan that waited for a worker = %s, %+v", s.State, s.Jobs)
	}
}

// TestWorkerTakesNoRequests: whatever the key.
func TestWorkerTakesNoRequests(t *testing.T) {
	t.Parallel()
	c := start(t, place{"worker", true, 1}, settings{roles: []string{"worker"}})
	for _, tt := range []struct {
		method, path string
		status       int
		says         string
	}{
		{http.MethodGet, "/healthz", http.StatusOK, "ok"},
		{http.MethodGet, "/readyz", http.StatusOK, "ready"},
		{http.MethodPost, "/readyz", http.StatusMethodNotAllowed, "GET"},
		{http.MethodGet, "/scans", http.StatusNotFound, "role is api or all"},
		{http.MethodGet, "/openapi.json", http.StatusNotFound, "role is api or all"},
		{http.MethodPost, "/codeaudit/upload", http.StatusNotFound, "role is api or all"},
		{http.MethodPost, "/scans/web", http.StatusNotFound, "role is api or all"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+c.hosts[0].Listen+tt.path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", c.keys["a"])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s %s = %d %s, want %d and %q", tt.method, tt.path, resp.StatusCode, body, tt.status, tt.says)
		}
	}
}

// inPlugin waits until a scan's plugin runs, without the progress that a slow
// heartbeat would bring.
func (c *cluster) inPlugin(id string) {
	c.t.Helper()
	c.until(id, "running in its plugin", func(s client.Scan) bool {
		return s.State == client.StateRunning && len(processes(bin.gate, c.dir)) > 0
	})
}

// eventKinds reads a scan's events to their end.
func (c *cluster) eventKinds(id string) (kinds []host.EventKind) {
	c.t.Helper()
	server := redisstream.Server{URL: "redis://" + c.redis.Addr()}
	one, other, err := redisstream.Connect(server)
	if err != nil {
		c.t.Fatal(err)
	}
	defer one.Close()
	defer other.Close()
	events, err := redisstream.NewEvents(one, other, redisstream.EventsConfig{})
	if err != nil {
		c.t.Fatal(err)
	}
	for after := host.EventID(""); ; {
		page, err := events.Read(c.t.Context(), host.Feed{Scan: host.ScanID(id)}, after, 10, time.Minute)
		if err != nil || len(page) == 0 {
			c.t.Fatalf("events after %v: %v", kinds, err)
		}
		for _, e := range page {
			kinds, after = append(kinds, e.Kind), e.ID
			if e.Kind == host.EventEnded {
				return kinds
			}
		}
	}
}

// consumers are the hosts that Redis knows as listeners for a plugin.
func (c *cluster) consumers(plugin string) (names []string) {
	c.t.Helper()
	r := redis.NewClient(&redis.Options{Addr: c.redis.Addr()})
	defer r.Close()
	all, err := r.XInfoConsumers(c.t.Context(), "{securetag}:doorbell:"+plugin, "hosts").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, one := range all {
		names = append(names, one.Name)
	}
	return names
}
