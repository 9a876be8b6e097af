package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		test func(*testing.T, place)
	}{
		{"findings are those of gitleaks", testFindings},
		{"kill -9 in the middle of a scan", testHostKilled},
		{"plugin faults", testPluginFaults},
		{"partial", testPartial},
		{"refused archives", testRefusedArchives},
		{"tenants", testTenants},
		{"cancel", testCancel},
		{"time-out", testTimeout},
		{"SIGTERM", testTerminate},
		{"a scan type without a plugin", testNoPlugin},
	}
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					t.Parallel()
					tt.test(t, p)
				})
			}
			if !p.real || p.hosts > 1 { // what one host does, and what several
				t.Run("webhooks", func(t *testing.T) {
					t.Parallel()
					testWebhooks(t, p)
				})
			}
			if p.real { // embedded, Redis dies with its host: "kill -9" above
				t.Run("Redis lost", func(t *testing.T) {
					t.Parallel()
					testRedisLost(t, p)
				})
			}
		})
	}
}

// testFindings scans a real project that is full of planted secrets: the
// sources of gitleaks, whose rules carry their own test cases.
func testFindings(t *testing.T, p place) {
	project := planted(t)
	want := project.want
	if len(want) < 100 {
		t.Fatalf("gitleaks finds only %d secrets in its own sources; the comparison would prove little", len(want))
	}
	c := start(t, p, settings{})
	scan := c.wait(c.upload(0, "codeaudit", project.archive, "").ID)
	if scan.State != client.StateSucceeded {
		t.Fatalf("scan = %s, jobs %+v", scan.State, scan.Jobs)
	}
	got := map[string]int{}
	for _, f := range c.findings(scan.ID) {
		got[fmt.Sprintf("%s:%d %s", f.Location.Path, f.Location.StartLine, f.RuleID)]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings differ from those of gitleaks itself (-gitleaks +ours):\n%s", diff)
	}
	total := scan.Counts.Critical + scan.Counts.High + scan.Counts.Medium + scan.Counts.Low + scan.Counts.Info + scan.Counts.Unknown
	if n := sum(got); total != n {
		t.Errorf("the scan counts %d findings and lists %d", total, n)
	}
}

func testHostKilled(t *testing.T, p place) {
	c := start(t, p, settings{})
	scan := c.upload(0, "gate", sample(t), "")
	c.running(scan.ID)
	queued := c.upload(0, "codeaudit", sample(t), "") // may be anywhere between 202 and its end
	for _, h := range c.hosts {
		h.Kill(t)
	}
	waitGone(t, bin.gate, c.dir)
	c.open()
	for _, h := range c.hosts {
		h.Start(t)
	}
	for _, id := range []string{scan.ID, queued.ID} {
		if s := c.wait(id); s.State != client.StateSucceeded {
			t.Errorf("scan %s = %s after the hosts were killed, jobs %+v", id, s.State, s.Jobs)
		}
	}
	if n := len(c.findings(scan.ID)); n != 3 {
		t.Errorf("%d findings are stored, want 3: each once", n)
	}
}

func testPluginFaults(t *testing.T, p place) {
	c := start(t, p, settings{})
	tests := []struct {
		mode     string
		state    client.State
		code     string
		text     string
		attempts int
	}{
		{"", client.StateSucceeded, "", "", 1}, // it has written {"@message":1} to stderr
		{"exit-zero", client.StateFailed, "plugin_crashed", "status 0", 2},
		{"no-completed", client.StateFailed, "plugin_protocol", "Completed", 2},
		{"panic-in-scan", client.StateFailed, "plugin_crashed", "boom in scan", 2},
		{"hang", client.StateFailed, "plugin_hung", "2s", 2},
		{"leave-session", client.StateFailed, "plugin_hung", "2s", 2}, // with a child in a session of its own
		{"crash-with-children", client.StateFailed, "plugin_crashed", "status 9", 2},
		{"oversized", client.StateFailed, "plugin_protocol", "limit", 1},
		{"mixed", client.StatePartial, "partial", "outside the target", 1},
		{"refuse", client.StateFailed, "plugin_refused", "no such option", 1},
	}
	ids := make([]string, len(tests))
	for i, tt := range tests {
		ids[i] = c.upload(i, "hostile", sample(t), hostile(tt.mode)).ID
	}
	for i, tt := range tests {
		s := c.wait(ids[i])
		job := s.Jobs[0]
		if s.State != tt.state || job.State != tt.state || job.Attempt != tt.attempts {
			t.Errorf("%s: scan %s, job %s after %d attempts, want %s after %d", tt.mode, s.State, job.State, job.Attempt, tt.state, tt.attempts)
		}
		if tt.code != "" && (job.Error == nil || job.Error.Code != tt.code || !strings.Contains(job.Error.Message, tt.text)) {
			t.Errorf("%s: error = %+v, want code %s and a message that says %q", tt.mode, job.Error, tt.code, tt.text)
		}
	}
	testSignals(t, c)
	mute := c.wait(c.upload(0, "mute", sample(t), "").ID).Jobs[0]
	if mute.State != client.StateFailed || mute.Error.Code != "plugin_unavailable" || !strings.Contains(mute.Error.Message, "handshake") {
		t.Errorf("1 MiB on stdout without a newline: job = %s, %+v", mute.State, mute.Error)
	}
	if s := c.wait(c.upload(0, "codeaudit", sample(t), "").ID); s.State != client.StateSucceeded {
		t.Errorf("another scan after all that = %s, %+v", s.State, s.Jobs)
	}
	waitGone(t, bin.hostile, c.dir) // no process left over, neither plugins nor their children
}

// testSignals kills and stops plugins from outside; in its own pid namespace a
// plugin can do neither to itself.
func testSignals(t *testing.T, c *cluster) {
	for _, tt := range []struct {
		signal syscall.Signal
		code   string
		text   string
	}{
		{syscall.SIGKILL, "plugin_crashed", "killed by signal 9"},
		{syscall.SIGSTOP, "plugin_hung", "3s"},
	} {
		scan := c.upload(0, "brittle", sample(t), "")
		for attempt := 1; attempt <= 2; attempt++ {
			c.until(scan.ID, "running", func(s client.Scan) bool {
				j := s.Jobs[0]
				return j.Attempt == attempt && j.State == client.StateRunning && j.Progress != nil && j.Progress.Phase == "waiting"
			})
			if !signalAll(bin.gate, c.dir, tt.signal) {
				t.Errorf("no plugin process to send %v to", tt.signal)
			}
		}
		job := c.wait(scan.ID).Jobs[0]
		if job.State != client.StateFailed || job.Error.Code != tt.code || !strings.Contains(job.Error.Message, tt.text) {
			t.Errorf("%v: job = %s, %+v, want failed, %s, %q", tt.signal, job.State, job.Error, tt.code, tt.text)
		}
	}
}

// hostile makes the options that tell the hostile plugin what to do.
func hostile(mode string) string { return fmt.Sprintf(`{"hostile":{"Mode":%q}}`, mode) }

func testPartial(t *testing.T, p place) {
	c := start(t, p, settings{})
	s := c.wait(c.upload(0, "two", sample(t), hostile("exit-zero")).ID)
	if s.State != client.StatePartial {
		t.Errorf("scan = %s, want partial: one engine crashed, the other delivered", s.State)
	}
	states := map[string]client.State{}
	for _, j := range s.Jobs {
		states[j.Plugin] = j.State
	}
	want := map[string]client.State{"hostile": client.StateFailed, "secrets": client.StateSucceeded}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	if n := len(c.findings(s.ID)); n != 2 {
		t.Errorf("%d findings, want the 2 of the engine that delivered", n)
	}
}

func testRefusedArchives(t *testing.T, p place) {
	c := start(t, p, settings{archiveSize: "1MiB"})
	good := sample(t)
	canary := filepath.Join(c.dir, "canary")
	if err := os.WriteFile(canary, []byte("sings"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		archive []byte
		status  int
		code    string
	}{
		{"not an archive", []byte("#!/bin/sh\necho hello\n"), http.StatusUnprocessableEntity, "archive_unknown_format"},
		{"empty", nil, http.StatusUnprocessableEntity, "archive_empty"},
		{"truncated", good[:len(good)/2], http.StatusUnprocessableEntity, "archive_truncated"},
		{"path escape", tarGz(t, map[string]string{"../../canary": "dead"}), http.StatusUnprocessableEntity, "archive_path_escape"},
		{"too deep", tarGz(t, map[string]string{strings.Repeat("d/", 80) + "f": "x"}), http.StatusRequestEntityTooLarge, "archive_too_deep"},
		{"bomb", bomb(t), http.StatusRequestEntityTooLarge, "archive_ratio"},
		{"over the limit", bytes.Repeat([]byte("x"), 2<<20), http.StatusRequestEntityTooLarge, "archive_too_large"},
	}
	for _, tt := range tests {
		_, err := c.api(0, "a").Upload(t.Context(), bytes.NewReader(tt.archive), client.UploadOptions{Filename: "x.zip", Type: "codeaudit"})
		var problem *client.Error
		if !errors.As(err, &problem) {
			t.Errorf("%s: upload = %v, want a problem", tt.name, err)
			continue
		}
		if problem.StatusCode != tt.status || problem.Code != tt.code {
			t.Errorf("%s: problem %d %s (%s), want %d %s", tt.name, problem.StatusCode, problem.Code, problem.Detail, tt.status, tt.code)
		}
	}
	scans, err := c.api(0, "a").Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(scans.Items) != 0 {
		t.Errorf("scans = %v, %v, want none", scans.Items, err)
	}
	left := filesBelow(t, filepath.Join(c.dir, "data", "blobs"))
	left = slices.DeleteFunc(left, func(name string) bool { return filepath.Base(name) == "origin" }) // the host's own
	if len(left) != 0 {
		t.Errorf("refused archives left %v", left)
	}
	if b, err := os.ReadFile(canary); err != nil || string(b) != "sings" {
		t.Errorf("the canary outside the workspace = %q, %v", b, err)
	}
}

func testTenants(t *testing.T, p place) {
	c := start(t, p, settings{})
	scan := c.wait(c.upload(0, "codeaudit", sample(t), "").ID)

	b := c.api(0, "b")
	_, errScan := b.Scan(t.Context(), scan.ID)
	_, errFindings := b.Findings(t.Context(), scan.ID, client.FindingsQuery{})
	_, errCancel := b.Cancel(t.Context(), scan.ID)
	for what, err := range map[string]error{"scan": errScan, "findings": errFindings, "cancel": errCancel} {
		if got := status(err); got != http.StatusNotFound {
			t.Errorf("another tenant's %s: status %d (%v), want 404", what, got, err)
		}
	}
	if page, err := b.Scans(t.Context(), client.ScansQuery{}); err != nil || len(page.Items) != 0 {
		t.Errorf("the other tenant's list = %v, %v, want none", page.Items, err)
	}

	c.keys["b"] = strings.TrimSpace(c.command(t, "key", "create", "--tenant", "b", "--name", "doomed"))
	doomed := c.api(0, "b")
	if _, err := doomed.Scans(t.Context(), client.ScansQuery{}); err != nil {
		t.Fatalf("a new key: %v", err)
	}
	var id string
	for _, line := range strings.Split(c.command(t, "key", "list", "--tenant", "b"), "\n") {
		if strings.Contains(line, "doomed") {
			id, _, _ = strings.Cut(line, " ")
		}
	}
	c.command(t, "key", "revoke", "--tenant", "b", id)
	// A host remembers for a second that a key was good.
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for {
		_, err := doomed.Scans(ctx, client.ScansQuery{})
		if status(err) == http.StatusUnauthorized {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("a revoked key: %v, want 401", err)
		}
	}
	for name, key := range map[string]string{"wrong": "stag_" + strings.Repeat("a", 59), "missing": ""} {
		c.keys["b"] = key
		if _, err := c.api(0, "b").Scans(t.Context(), client.ScansQuery{}); status(err) != http.StatusUnauthorized {
			t.Errorf("a %s key: %v, want 401", name, err)
		}
	}
}

func testCancel(t *testing.T, p place) {
	c := start(t, p, settings{slots: 1})
	scan := c.upload(0, "gate", sample(t), "")
	c.running(scan.ID)
	if _, err := c.api(1, "a").Cancel(t.Context(), scan.ID); err != nil {
		t.Fatalf("cancel: %v", err)
	}
	if s := c.wait(scan.ID); s.State != client.StateCanceled || s.Jobs[0].State != client.StateCanceled {
		t.Errorf("scan = %s, job %s, want canceled", s.State, s.Jobs[0].State)
	}
	if _, err := c.api(0, "a").Cancel(t.Context(), scan.ID); err != nil {
		t.Errorf("cancel again: %v", err)
	}
	c.open()
	done := c.wait(c.upload(0, "gate", sample(t), "").ID)
	if _, err := c.api(0, "a").Cancel(t.Context(), done.ID); status(err) != http.StatusConflict {
		t.Errorf("cancel of a scan that succeeded: %v, want 409", err)
	}
}

func testTimeout(t *testing.T, p place) {
	c := start(t, p, settings{})
	s := c.wait(c.upload(0, "brief", sample(t), "").ID)
	job := s.Jobs[0]
	if s.State != client.StateTimedOut || job.State != client.StateTimedOut || job.Attempt != 1 {
		t.Errorf("scan = %s, job %s after %d attempts, want timed_out after one", s.State, job.State, job.Attempt)
	}
	if job.Error == nil || job.Error.Code != "timed_out" || !strings.Contains(job.Error.Message, `1s that scan type "brief" allows`) {
		t.Errorf("error = %+v, want the time that was allowed", job.Error)
	}
	waitGone(t, bin.gate, c.dir)
}

func testTerminate(t *testing.T, p place) {
	c := start(t, p, settings{grace: "11s"}) // 1s for running jobs, 10s to stop plugins
	scan := c.upload(0, "gate", sample(t), "")
	c.running(scan.ID)
	for _, h := range c.hosts {
		took, err := h.Terminate(t)
		if err != nil {
			t.Errorf("the host ended with %v", err)
		}
		if took.Seconds() > 30 {
			t.Errorf("stopping took %v, want 30s at most", took)
		}
	}
	waitGone(t, bin.gate, c.dir)
	if left := filesBelow(t, filepath.Join(c.dir, "data", "work")); len(left) > 1 { // the lock file
		t.Errorf("workspaces are left: %v", left)
	}
	c.open()
	for _, h := range c.hosts {
		h.Start(t)
	}
	s := c.wait(scan.ID)
	if s.State != client.StateSucceeded || s.Jobs[0].Error != nil {
		t.Errorf("scan = %s, error %+v, want succeeded without one", s.State, s.Jobs[0].Error)
	}
	if s.Jobs[0].Attempt != 1 {
		t.Errorf("%d attempts: a host that stops must give the attempt back", s.Jobs[0].Attempt)
	}
}

func testNoPlugin(t *testing.T, p place) {
	c := start(t, p, settings{})
	_, err := c.api(0, "a").StartURL(t.Context(), "https://example.com/", client.StartOptions{})
	var problem *client.Error
	if !errors.As(err, &problem) || problem.Code != "no_plugin" || problem.StatusCode != http.StatusNotImplemented {
		t.Errorf("a web scan without a plugin for it = %v, want a clear problem", err)
	}
}

// testRedisLost: whatever happens to Redis, an accepted scan completes.
func testRedisLost(t *testing.T, p place) {
	c := start(t, p, settings{slots: 1})
	var ids []string
	submit := func(n int) {
		for i := range n {
			ids = append(ids, c.upload(i, "gate", sample(t), "").ID)
		}
	}
	submit(2)
	c.redis.Kill()
	submit(2) // accepted while Redis is down
	r, err := c.api(0, "a").Readiness(t.Context())
	if err != nil || r.Status != client.Degraded {
		t.Errorf("readiness without Redis = %+v, %v, want degraded", r, err)
	}
	c.redis.Start()
	submit(1)
	flush(t, c.redis.Addr())
	submit(1)
	c.open()
	for _, id := range ids {
		if s := c.wait(id); s.State != client.StateSucceeded {
			t.Errorf("scan %s = %s, %+v", id, s.State, s.Jobs)
		}
		if n := len(c.findings(id)); n != 3 {
			t.Errorf("scan %s has %d findings, want 3: each once", id, n)
		}
	}
	for i, h := range c.hosts {
		if n := h.Logged("cannot reach Redis"); n > 2 {
			t.Errorf("host %d logged the outage %d times", i, n)
		}
	}
}

func status(err error) int {
	var problem *client.Error
	if errors.As(err, &problem) {
		return problem.StatusCode
	}
	return 0
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}
