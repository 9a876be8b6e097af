package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/host/watch"
)

// watched is a host's API with live events.
type watched struct {
	*env
	t      *testing.T
	events host.Events
	hub    *watch.Hub
	stop   func()
	plain  *http.Client // validates nothing: a stream has no end to wait for
}

func newWatched(t *testing.T, cfg api.Config, wc watch.Config, change ...func(*api.Deps)) *watched {
	t.Helper()
	srv, err := redisstream.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	client, reader, err := redisstream.Connect(srv.Server())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); reader.Close() })
	events, err := redisstream.NewEvents(client, reader, redisstream.EventsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, events: events, plain: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(w.plain.CloseIdleConnections)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil // for who stops it again
	}
	w.env = newEnvMax(t, cfg, maxArchive, func(d *api.Deps) {
		for _, f := range change {
			f(d)
		}
		if w.hub, err = watch.New(events, d.Store, wc, hclog.NewNullLogger()); err != nil {
			t.Fatal(err)
		}
		d.Watch = w.hub
	})
	go func() { ended <- w.hub.Run(ctx) }()
	t.Cleanup(w.stop) // before the server waits for its streams
	return w
}

func (w *watched) publish(events ...host.Event) {
	w.t.Helper()
	if err := w.events.Publish(w.t.Context(), events); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) row(id string) host.Scan {
	w.t.Helper()
	s, err := w.store.Scan(w.t.Context(), w.tenants["alice"], host.ScanID(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// event is news of a scan's only job.
func (w *watched) event(id string, kind host.EventKind, state host.State, findings int) host.Event {
	w.t.Helper()
	s := w.row(id)
	return host.Event{Scan: s.ID, Tenant: s.TenantID, Kind: kind, Job: s.Jobs[0].ID, Plugin: s.Jobs[0].Plugin, Attempt: 1, State: state, Findings: findings}
}

// open begins to watch over plain HTTP.
func (w *watched) open(who, path string, header ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", w.keys[who])
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.plain.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// next reads up to the next empty line.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("read the stream: %v, after %q", err, b.String())
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// frame is one event as the document describes it.
func frame(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		out[name] = value
		if name == "data" {
			var data any
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				t.Errorf("data of %q: %v", text, err)
			}
			out[name] = data
		}
	}
	return out
}

func (w *watched) documented(path string, frames ...map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(frames)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := loadDoc(w.t, w.api).validate(http.MethodGet, path, http.StatusOK, "text/event-stream", body); err != nil {
		w.t.Errorf("not as documented: %v\n%s", err, body)
	}
}

func names(frames []map[string]any) (out []string) {
	for _, f := range frames {
		name, _ := f["event"].(string)
		out = append(out, name)
	}
	return out
}

// TestWatchScan: from the snapshot to the end, as it is on the wire and in the
// document; resumed from the middle, and from the end.
func TestWatchScan(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{RequestTimeout: time.Second, Heartbeat: time.Hour}, watch.Config{})
	id := w.upload(t, client.UploadOptions{}).ID
	path := "/scans/" + id + "/events"
	resp := w.open("alice", path)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r := bufio.NewReader(resp.Body)
	if got := next(t, r); got != "retry: 3000\n" {
		t.Errorf("it begins with %q", got)
	}
	frames := []map[string]any{frame(t, next(t, r))}
	if frames[0]["id"] != "0" {
		t.Errorf("the place before all events is %q", frames[0]["id"])
	}
	w.publish(w.event(id, host.EventStarted, host.StateRunning, 0))
	frames = append(frames, frame(t, next(t, r)))
	e := w.event(id, host.EventProgress, host.StateRunning, 2)
	e.Progress = host.Progress{Phase: "<reading>\n\nid: 7", Done: 1, Total: 3, Unit: "files"}
	w.publish(e, host.Event{Scan: host.ScanID(id), Kind: host.EventChanged})
	frames = append(frames, frame(t, next(t, r)), frame(t, next(t, r)))
	w.finish(t, id, []host.Finding{finding("high")})
	w.publish(w.event(id, host.EventEnded, host.StateSucceeded, 1))
	frames = append(frames, frame(t, next(t, r)), frame(t, next(t, r)))
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("behind the end: %q, %v", rest, err)
	}
	want := []string{"scan.snapshot", "job.started", "job.progress", "scan.changed", "job.ended", "scan.ended"}
	if diff := cmp.Diff(want, names(frames)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.documented(path, frames...)
	last, _ := frames[5]["data"].(map[string]any)
	if last["state"] != "succeeded" || frames[5]["id"] != "end" {
		t.Errorf("the last event is %v", frames[5])
	}

	seen, _ := frames[2]["id"].(string)
	for name, resp := range map[string]*http.Response{
		"header": w.open("alice", path, "Last-Event-ID", seen), "query": w.open("alice", path+"?last_event_id="+seen),
		"both": w.open("alice", path+"?last_event_id=1-1", "Last-Event-ID", seen),
	} {
		r, again := bufio.NewReader(resp.Body), []map[string]any{}
		for next(t, r); len(again) < 3; {
			again = append(again, frame(t, next(t, r)))
		}
		if diff := cmp.Diff(frames[3:], again); diff != "" {
			t.Errorf("%s: resumed, it differs (-before +now):\n%s", name, diff)
		}
	}
	if resp, body := w.do(t, "alice", http.MethodGet, path+"?last_event_id=end", "", nil); resp.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("resumed at the end: %d %q, want 204", resp.StatusCode, body)
	}
	resp, body := w.do(t, "alice", http.MethodHead, path, "", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || body != "" {
		t.Errorf("HEAD: %d %v %q", resp.StatusCode, resp.Header, body)
	}
}

func finding(severity string) host.Finding {
	return host.Finding{ID: host.NewFindingID(), RuleID: "r", Title: "t", Severity: host.Severity(severity), Fingerprint: "f"}
}

// TestWatchTenant: all of a tenant's scans, and nothing of another's.
func TestWatchTenant(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{}, watch.Config{})
	id := w.upload(t, client.UploadOptions{}).ID
	r := bufio.NewReader(w.open("alice", "/events").Body)
	theirs := bufio.NewReader(w.open("bob", "/events").Body)
	next(t, r)
	next(t, theirs)
	frames := []map[string]any{frame(t, next(t, r))}
	next(t, theirs)
	accepted := w.event(id, host.EventAccepted, "", 0)
	accepted.ScanState = host.StateQueued
	w.publish(accepted, w.event(id, host.EventStarted, host.StateRunning, 0), w.event(id, host.EventProgress, host.StateRunning, 1))
	w.finish(t, id, nil)
	w.publish(w.event(id, host.EventEnded, host.StateSucceeded, 0), host.Event{Scan: host.NewScanID(), Tenant: w.tenants["bob"], Kind: host.EventChanged})
	for range 3 {
		frames = append(frames, frame(t, next(t, r)))
	}
	want := []string{"scans.snapshot", "scan.accepted", "job.started", "job.ended"}
	if diff := cmp.Diff(want, names(frames)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.documented("/events", frames...)
	if data, _ := frames[3]["data"].(map[string]any); data["scan_state"] != "succeeded" {
		t.Errorf("the end of the only job: %v, want how the scan stands", data)
	}
	if got := frame(t, next(t, theirs)); got["event"] != "scan.changed" {
		t.Errorf("another tenant heard of %v", got)
	}
}

// TestWatchRefused: what is not one's own is not there, and there is room for so
// many.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{}, watch.Config{Readers: 2, TenantReaders: 1})
	id := w.upload(t, client.UploadOptions{}).ID
	for _, tt := range []struct {
		who, path string
		status    int
		code      string
	}{
		{"bob", "/scans/" + id + "/events", 404, "not_found"},
		{"bob", "/scans/" + id + "/events?last_event_id=1-1", 404, "not_found"},
		{"alice", "/scans/" + string(host.NewScanID()) + "/events", 404, "not_found"},
		{"alice", "/scans/x/events", 404, "not_found"},
		{"revoked", "/scans/" + id + "/events", 401, "unauthorized"},
		{"revoked", "/events", 401, "unauthorized"},
		{"alice", "/events?last_event_id=" + strings.Repeat("1", 65), 422, "invalid"},
	} {
		resp, body := w.do(t, tt.who, http.MethodGet, tt.path, "", nil)
		if p := problem(t, resp, body); resp.StatusCode != tt.status || p.Code != tt.code {
			t.Errorf("%s %s: %d %s, want %d %s", tt.who, tt.path, resp.StatusCode, p.Code, tt.status, tt.code)
		}
	}
	w.open("alice", "/scans/"+id+"/events")
	resp, body := w.do(t, "alice", http.MethodGet, "/events", "", nil)
	if p := problem(t, resp, body); resp.StatusCode != http.StatusTooManyRequests || p.Code != "too_many_streams" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("too many of a tenant: %d %+v", resp.StatusCode, p)
	}
	w.open("bob", "/events")
	resp, body = w.do(t, "bob", http.MethodGet, "/events", "", nil)
	if p := problem(t, resp, body); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("too many of another: %d %+v", resp.StatusCode, p)
	}
	w2 := newWatched(t, api.Config{}, watch.Config{Readers: 1})
	w2.open("alice", "/events")
	resp, body = w2.do(t, "bob", http.MethodGet, "/events", "", nil)
	if p := problem(t, resp, body); resp.StatusCode != http.StatusServiceUnavailable || p.Code != "unavailable" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("too many at all: %d %+v", resp.StatusCode, p)
	}
	for _, line := range strings.Split(w2.log.String(), "\n") {
		if strings.Contains(line, `"@level":"error"`) {
			t.Errorf("a full host is no error of its own: %s", line)
		}
	}
	w3 := newEnv(t, api.Config{})
	if resp, _ := w3.do(t, "alice", http.MethodGet, "/events", "", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a host without events: %d", resp.StatusCode)
	}
}

// TestWatchGoesOn: a stream outlives the time of a request, and ends when its
// key is revoked.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{RequestTimeout: 2 * time.Second, Heartbeat: 100 * time.Millisecond}, watch.Config{})
	r := bufio.NewReader(w.open("alice", "/events").Body)
	next(t, r)
	next(t, r)
	for range 25 { // takes longer than a request may
		if got := next(t, r); got != ":\n" {
			t.Fatalf("it says %q, want a comment", got)
		}
	}
	keys, err := w.store.Keys(t.Context(), w.tenants["alice"])
	if err == nil {
		err = w.store.RevokeKey(t.Context(), w.tenants["alice"], keys[0].ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || strings.Trim(string(rest), ":\n") != "" {
		t.Errorf("its key is revoked: %q, %v, want the stream's end", rest, err)
	}
}

// TestWatchStops: a host that stops sends its clients away at once, and takes no
// more.
func TestWatchStops(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{}, watch.Config{})
	r := bufio.NewReader(w.open("alice", "/events").Body)
	next(t, r)
	next(t, r)
	w.stop()
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "retry: 500\n\n" {
		t.Errorf("a host that stops says %q, %v", rest, err)
	}
	resp, body := w.do(t, "alice", http.MethodGet, "/events", "", nil)
	if p := problem(t, resp, body); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("then: %d %+v", resp.StatusCode, p)
	}
}

// TestWatchDeadClient: one that reads nothing and does not hang up either is
// noticed.
func TestWatchDeadClient(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{StreamWrite: 50 * time.Millisecond}, watch.Config{Buffer: 4})
	id := w.upload(t, client.UploadOptions{}).ID
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := io.WriteString(conn, "GET /scans/"+id+"/events HTTP/1.1\r\nHost: x\r\nX-API-Key: "+w.keys["alice"]+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for w.hub.Readers() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("it never began")
		}
	}
	batch := make([]host.Event, 50)
	for i := range batch {
		batch[i] = w.event(id, host.EventProgress, host.StateRunning, i)
		batch[i].Progress.Message = strings.Repeat("x", 3<<10)
	}
	for w.hub.Readers() > 0 {
		w.publish(batch...)
	}
}

// TestClientWatches: the Go client, over the real thing.
func TestClientWatches(t *testing.T) {
	t.Parallel()
	w := newWatched(t, api.Config{}, watch.Config{})
	c, err := client.New(w.url, w.keys["alice"], client.Options{HTTPClient: w.plain})
	if err != nil {
		t.Fatal(err)
	}
	id := w.upload(t, client.UploadOptions{}).ID
	var got []client.EventType
	for e, err := range c.Watch(t.Context(), id, client.WatchOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Type); e.Type == client.EventSnapshot {
			w.publish(w.event(id, host.EventStarted, host.StateRunning, 0))
			w.finish(t, id, nil)
			w.publish(w.event(id, host.EventEnded, host.StateSucceeded, 0))
		}
	}
	if diff := cmp.Diff([]client.EventType{"scan.snapshot", "job.started", "job.ended", "scan.ended"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var states []client.State
	id = w.upload(t, client.UploadOptions{}).ID
	s, err := c.Wait(t.Context(), id, func(s client.Scan) {
		if states = append(states, s.State); len(states) == 1 {
			w.publish(w.event(id, host.EventStarted, host.StateRunning, 0))
			w.finish(t, id, []host.Finding{finding("low")})
			w.publish(w.event(id, host.EventEnded, host.StateSucceeded, 1))
		}
	})
	if err != nil || s.State != client.StateSucceeded || s.Counts.Low != 1 || len(s.Jobs) != 1 {
		t.Errorf("wait = %+v, %v", s, err)
	}
	if diff := cmp.Diff([]client.State{"queued", "running", "succeeded", "succeeded"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	var refused *client.Error
	for _, err := range c.Watch(t.Context(), string(host.NewScanID()), client.WatchOptions{}) {
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound {
			t.Errorf("watch what is not there: %v", err)
		}
	}
	n, stop := 0, errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	for e, err := range c.WatchAll(ctx, client.WatchOptions{}) {
		if n++; n == 1 && e.Type == client.EventScans {
			cancel(stop)
		} else if !errors.Is(err, stop) {
			t.Errorf("event %d: %+v, %v", n, e, err)
		}
	}
	if n != 2 {
		t.Errorf("a tenant's watch gave %d events", n)
	}
	if bytes.Contains([]byte(w.log.String()), []byte(w.keys["alice"])) {
		t.Error("the log shows the key")
	}
}
