package telemetry_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMeter(t *testing.T, cfg telemetry.Config) *telemetry.Meter {
	t.Helper()
	m, err := telemetry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape gives the series of this program, by name with labels.
func scrape(t *testing.T, m *telemetry.Meter) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics: %d: %s", w.Code, w.Body)
	}
	out := map[string]string{}
	for sc := bufio.NewScanner(w.Body); sc.Scan(); {
		if series, value, ok := strings.Cut(sc.Text(), " "); ok && strings.HasPrefix(series, "securetag_") {
			out[series] = value
		}
	}
	return out
}

// want compares some series; those that are not named may be anything.
func want(t *testing.T, m *telemetry.Meter, want map[string]string) {
	t.Helper()
	all, got := scrape(t, m), map[string]string{}
	for name := range want {
		got[name] = all[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{Plugins: []string{"secrets", "deps"}, Slots: 4, Layers: map[string]bool{"root": true, "uid": false}})
	want(t, m, map[string]string{`securetag_sandbox_layer{layer="root"}`: "1", `securetag_sandbox_layer{layer="uid"}`: "0"})
	ends := []host.JobEnd{
		{State: host.StateSucceeded, Ran: 2 * time.Second},
		{State: host.StateQueued, Code: host.CodePluginCrashed, Ran: time.Second},
		{State: host.StateFailed, Code: host.CodePluginCrashed},
		{State: host.StateFailed, Code: "made-up"},
		{}, // lost
	}
	for _, e := range ends {
		m.JobStarted("secrets", 20*time.Millisecond)
		m.JobEnded("secrets", e)
	}
	m.JobStarted("secrets", -time.Second) // a clock that was set
	m.JobStarted("unheard-of", time.Second)
	m.LeasesExpired(3)
	m.DoorbellsRung(5)
	m.DoorbellsHeard(4)
	m.EventsDropped(7)
	want(t, m, map[string]string{
		`securetag_slots`:                                                         "4",
		`securetag_slots_busy`:                                                    "2",
		`securetag_jobs_claimed_total{plugin="secrets"}`:                          "6",
		`securetag_jobs_claimed_total{plugin="deps"}`:                             "0",
		`securetag_jobs_claimed_total{plugin="other"}`:                            "1",
		`securetag_jobs_running{plugin="secrets"}`:                                "1",
		`securetag_jobs_requeued_total{plugin="secrets"}`:                         "1",
		`securetag_jobs_ended_total{plugin="secrets",state="succeeded"}`:          "1",
		`securetag_jobs_ended_total{plugin="secrets",state="failed"}`:             "2",
		`securetag_jobs_ended_total{plugin="secrets",state="canceled"}`:           "0",
		`securetag_attempts_failed_total{code="plugin_crashed",plugin="secrets"}`: "2",
		`securetag_attempts_failed_total{code="other",plugin="secrets"}`:          "1",
		`securetag_leases_lost_total{plugin="secrets"}`:                           "1",
		`securetag_leases_expired_total`:                                          "3",
		`securetag_job_wait_seconds_count{plugin="secrets"}`:                      "6",
		`securetag_job_wait_seconds_bucket{plugin="secrets",le="0.01"}`:           "1",
		`securetag_job_run_seconds_count{plugin="secrets"}`:                       "4",
		`securetag_job_run_seconds_sum{plugin="secrets"}`:                         "3",
		`securetag_doorbells_rung_total`:                                          "5",
		`securetag_events_dropped_total`:                                          "7",
		`securetag_doorbells_heard_total`:                                         "4",
		`securetag_retention_last_run_timestamp_seconds{task="retention"}`:        "0",
	})
}

// TestWebhooks: the outbox is asked when somebody scrapes, and while it does not
// answer there are no such series.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken error
		m := newMeter(t, telemetry.Config{Outbox: func(context.Context) (host.OutboxStats, error) {
			return host.OutboxStats{Pending: 3, Oldest: 90 * time.Second}, broken
		}})
		for _, s := range []host.DeliveryState{host.DeliveryDelivered, host.DeliveryPending, host.DeliveryPending, "lost"} {
			m.WebhookTried(s)
		}
		want(t, m, map[string]string{
			`securetag_webhook_attempts_total{result="delivered"}`: "1",
			`securetag_webhook_attempts_total{result="again"}`:     "2",
			`securetag_webhook_attempts_total{result="failed"}`:    "0",
			`securetag_webhook_deliveries_pending`:                 "3",
			`securetag_webhook_oldest_due_seconds`:                 "90",
		})
		broken = host.ErrUnavailable
		want(t, m, map[string]string{`securetag_webhook_deliveries_pending`: "3"})
		time.Sleep(time.Minute)
		if v, there := scrape(t, m)[`securetag_webhook_deliveries_pending`]; there {
			t.Errorf("while the store is away: %s", v)
		}
	})
}

func TestPluginStatus(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{PluginStatus: func() []host.PluginStatus {
		return []host.PluginStatus{
			{Name: "secrets", State: "ready", Standby: 2, Starts: 9, Failed: 1, Restarts: 3, DataUpdated: time.Unix(1_700_000_000, 0), Egress: host.Egress{Connections: 4, Refused: 2, Sent: 100, Received: 200}},
			{Name: "broken", State: "quarantined", Failed: 3},
		}
	}})
	want(t, m, map[string]string{
		`securetag_plugin_state{plugin="secrets",state="ready"}`:            "1",
		`securetag_plugin_state{plugin="secrets",state="quarantined"}`:      "0",
		`securetag_plugin_state{plugin="broken",state="quarantined"}`:       "1",
		`securetag_plugin_processes_waiting{plugin="secrets"}`:              "2",
		`securetag_plugin_starts_total{plugin="secrets"}`:                   "9",
		`securetag_plugin_start_failures_total{plugin="broken"}`:            "3",
		`securetag_plugin_restarts_total{plugin="secrets"}`:                 "3",
		`securetag_plugin_data_updated_timestamp_seconds{plugin="secrets"}`: "1.7e+09",

		`securetag_plugin_egress_connections_total{plugin="secrets"}`:                "4",
		`securetag_plugin_egress_refused_total{plugin="secrets"}`:                    "2",
		`securetag_plugin_egress_bytes_total{direction="sent",plugin="secrets"}`:     "100",
		`securetag_plugin_egress_bytes_total{direction="received",plugin="secrets"}`: "200",
	})
	if _, there := scrape(t, m)[`securetag_plugin_data_updated_timestamp_seconds{plugin="broken"}`]; there {
		t.Error("a plugin that does not say how old its data is has an age")
	}
}

func TestRequestsAndSweeps(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{Version: "1.2.3"})
	m.Answered("/scans/{id}", 200, time.Millisecond)
	m.Answered("/scans/{id}", 404, time.Millisecond)
	m.Answered("", 404, time.Millisecond)
	m.Answered("/scans", 0, time.Millisecond)
	m.Answered("/scans", 999, time.Millisecond)
	m.Swept(host.Swept{Task: host.SweepRetention, Scans: 2, Findings: 9, Archives: 3, Blobs: 4, Bytes: 1000})
	m.Swept(host.Swept{Task: host.SweepOrphans, Blobs: 1, Bytes: 10, Failed: true})
	m.Swept(host.Swept{Task: "unheard-of", Blobs: 1})
	want(t, m, map[string]string{
		`securetag_http_requests_total{route="/scans/{id}",status="2xx"}`: "1",
		`securetag_http_requests_total{route="/scans/{id}",status="4xx"}`: "1",
		`securetag_http_requests_total{route="other",status="4xx"}`:       "1",
		`securetag_http_requests_total{route="/scans",status="other"}`:    "2",
		`securetag_http_request_seconds_count{route="/scans/{id}"}`:       "2",
		`securetag_retention_scans_total`:                                 "2",
		`securetag_retention_findings_total`:                              "9",
		`securetag_retention_archives_total`:                              "3",
		`securetag_retention_blobs_total{task="retention"}`:               "4",
		`securetag_retention_bytes_total{task="retention"}`:               "1000",
		`securetag_retention_errors_total{task="retention"}`:              "0",
		`securetag_retention_blobs_total{task="orphans"}`:                 "1",
		`securetag_retention_errors_total{task="orphans"}`:                "1",
	})
	all := scrape(t, m)
	if all[`securetag_retention_last_run_timestamp_seconds{task="orphans"}`] == "0" {
		t.Error("a sweep left no time")
	}
	built := false
	for name := range all {
		built = built || strings.HasPrefix(name, `securetag_build_info{go="go`) && strings.Contains(name, `version="1.2.3"`)
	}
	if !built {
		t.Error("no build info")
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{})
	want(t, m, map[string]string{`securetag_rate_limits_alone`: "0"})
	m.RateLimited("upload")
	m.RateLimited("upload")
	m.LimitsAlone(true)
	want(t, m, map[string]string{`securetag_rate_limited_total{policy="upload"}`: "2", `securetag_rate_limits_alone`: "1"})
	m.LimitsAlone(false)
	want(t, m, map[string]string{`securetag_rate_limits_alone`: "0"})
}

// TestUp: a server is asked once in a while, whoever scrapes, and one that
// hangs holds nobody up.
func TestUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, down := 0, errors.New("down")
		var answer error
		m := newMeter(t, telemetry.Config{Checks: map[string]func(context.Context) error{
			"database": func(context.Context) error { asked++; return answer },
			"queue":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}})
		const database, queue = `securetag_up{server="database"}`, `securetag_up{server="queue"}`
		began := time.Now()
		want(t, m, map[string]string{database: "1", queue: "0"})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("a scrape beside a server that hangs took %v", took)
		}
		answer = down
		for range 10 {
			want(t, m, map[string]string{database: "1"})
		}
		if asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
		time.Sleep(5 * time.Second)
		want(t, m, map[string]string{database: "0"})
	})
}

// TestBounded: whatever plugins are named, the number of series stays.
func TestBounded(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{Plugins: []string{"secrets"}})
	before := len(scrape(t, m))
	for i := range 100 {
		name := fmt.Sprint("plugin-", i)
		m.JobStarted(name, 0)
		m.JobEnded(name, host.JobEnd{State: host.State(name), Code: host.ErrorCode(name)})
	}
	if after := len(scrape(t, m)); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

// TestNoAllocations of what is on the path of every job: it costs a look into a
// map and some atomic additions.
func TestNoAllocations(t *testing.T) { // not parallel: it counts what the process allocates
	m := newMeter(t, telemetry.Config{Plugins: []string{"secrets"}})
	n := testing.AllocsPerRun(100, func() {
		m.JobStarted("secrets", time.Millisecond)
		m.JobEnded("secrets", host.JobEnd{State: host.StateFailed, Code: host.CodePluginCrashed, Ran: time.Second})
		m.DoorbellsRung(1)
		m.DoorbellsHeard(1)
	})
	if n != 0 {
		t.Errorf("counting one job allocates %v times", n)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{Plugins: []string{"secrets"}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				m.JobStarted("secrets", time.Millisecond)
				m.Answered("/scans", 200, time.Millisecond)
				m.JobEnded("secrets", host.JobEnd{State: host.StateSucceeded})
			}
		})
	}
	wg.Go(func() { // while they count
		for range 20 {
			scrape(t, m)
		}
	})
	wg.Wait()
	want(t, m, map[string]string{
		`securetag_jobs_ended_total{plugin="secrets",state="succeeded"}`: "800",
		`securetag_http_requests_total{route="/scans",status="2xx"}`:     "800",
		`securetag_slots_busy`: "0",
	})
}

func TestServe(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l, hclog.NewNullLogger()) }()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/metrics", 200},
		{http.MethodHead, "/metrics", 200},
		{http.MethodPost, "/metrics", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/debug/pprof/", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+l.Addr().String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.status)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := m.Serve(t.Context(), closed, hclog.NewNullLogger()); err == nil {
		t.Error("a listener that broke ended Serve without an error")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.New(telemetry.Config{Slots: -1}); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("New = %v", err)
	}
}

func BenchmarkJob(b *testing.B) {
	m, err := telemetry.New(telemetry.Config{Plugins: []string{"secrets"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m.JobStarted("secrets", time.Millisecond)
		m.JobEnded("secrets", host.JobEnd{State: host.StateSucceeded, Ran: time.Second})
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fails error
		m := newMeter(t, telemetry.Config{Plugins: []string{"secrets", "idle"}, Queue: func(context.Context) (host.QueueStats, error) {
			asked++
			return host.QueueStats{Groups: []host.QueueGroup{
				{Plugin: "secrets", ScanType: "a", Ready: 1, Waiting: 2, Out: 3, Running: 4, Dead: 5, OldestReady: time.Minute},
				{Plugin: "secrets", ScanType: "b", Ready: 10, OldestReady: time.Second},
				{Plugin: "gone", ScanType: "a", Dead: 9},
			}}, fails
		}})
		all := map[string]string{
			`securetag_queue_jobs{plugin="secrets",state="ready"}`:   "11",
			`securetag_queue_jobs{plugin="secrets",state="waiting"}`: "2",
			`securetag_queue_jobs{plugin="secrets",state="out"}`:     "3",
			`securetag_queue_jobs{plugin="secrets",state="running"}`: "4",
			`securetag_queue_jobs{plugin="secrets",state="dead"}`:    "5",
			`securetag_queue_jobs{plugin="idle",state="ready"}`:      "0",
			`securetag_queue_jobs{plugin="other",state="dead"}`:      "9",
			`securetag_queue_oldest_ready_seconds{plugin="secrets"}`: "60",
			`securetag_queue_oldest_ready_seconds{plugin="idle"}`:    "0",
		}
		want(t, m, all)
		fails = errors.New("down")
		want(t, m, all) // as of a moment ago
		if asked != 1 {
			t.Errorf("counted %d times within a second", asked)
		}
		time.Sleep(15 * time.Second)
		if v, there := scrape(t, m)[`securetag_queue_jobs{plugin="secrets",state="ready"}`]; there || asked != 2 {
			t.Errorf("asked %d times; says %s of a queue that it cannot count", asked, v)
		}
	})
}

func TestDeletions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fails error
		m := newMeter(t, telemetry.Config{Deletions: func(context.Context) (host.PendingDeletions, error) {
			return host.PendingDeletions{Deletions: 2, Scans: 30, Oldest: time.Minute}, fails
		}})
		all := map[string]string{"securetag_deletions_pending": "2", "securetag_deletions_pending_scans": "30", "securetag_deletions_oldest_seconds": "60"}
		want(t, m, all)
		fails = errors.New("down")
		want(t, m, all) // as of a moment ago
		time.Sleep(15 * time.Second)
		if v, there := scrape(t, m)["securetag_deletions_pending"]; there {
			t.Errorf("it says %s of what it cannot count", v)
		}
	})
}

func TestReloads(t *testing.T) {
	t.Parallel()
	m := newMeter(t, telemetry.Config{})
	const taken, failed = `securetag_config_reloads_total{result="taken"}`, `securetag_config_reloads_total{result="failed"}`
	const good, waiting = "securetag_config_last_reload_successful", "securetag_config_waiting_settings"
	want(t, m, map[string]string{taken: "0", failed: "0", good: "1", waiting: "0"})
	m.Reloaded(2)
	m.ReloadFailed()
	want(t, m, map[string]string{taken: "1", failed: "1", good: "0", waiting: "2"})
	m.Reloaded(0)
	want(t, m, map[string]string{taken: "2", failed: "1", good: "1", waiting: "0"})
}
