package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/host/ratelimit"
	"github.com/securetaghq/securetag/host/redisstream"
)

// limited is an env whose requests are counted by a clock that stands still.
func limited(t testing.TB, p host.Plan, l api.Limits, change ...func(*api.Deps)) (e *env, pass func(time.Duration)) {
	t.Helper()
	var mu sync.Mutex
	now := time.Unix(1_800_000_000, 0)
	counted, err := ratelimit.NewLocal(ratelimit.LocalConfig{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	if err != nil {
		t.Fatal(err)
	}
	change = append([]func(*api.Deps){func(d *api.Deps) { d.Limiter = counted }}, change...)
	e = newEnvPlan(t, api.Config{Limits: l}, maxArchive, p, change...)
	return e, func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
}

func perMinute(n int) host.Rate { return host.Rate{Count: n, Per: time.Minute} }

// standing is what the header says of the limits.
type standing struct {
	status                    int
	policy, limit, retryAfter string
}

func standingOf(h http.Header, status int) standing {
	return standing{status, h.Get("RateLimit-Policy"), h.Get("RateLimit"), h.Get("Retry-After")}
}

// TestBurstOnThreeHosts: of 1,000 requests at once to three hosts that share a
// Redis, as many pass as the plan says; each is told what is left behind it.
func TestBurstOnThreeHosts(t *testing.T) {
	t.Parallel()
	server, err := redisstream.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	now := time.Unix(1_800_000_000, 0)
	limiter := func(e *env) host.RateLimiter {
		c, reader, err := redisstream.Connect(server.Server())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); reader.Close() })
		shared, err := redisstream.NewRates(c, redisstream.RatesConfig{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		l, err := ratelimit.New(shared, ratelimit.Config{Timeout: time.Minute}, host.NoMeter{}, e.deps.Log)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	e := newEnv(t, api.Config{})
	var mu sync.Mutex
	got := map[standing]int{}
	burst := func(n int) {
		var wg sync.WaitGroup
		for range 3 {
			deps := e.deps
			deps.Limiter, deps.Plans = limiter(e), host.FixedPlan{RequestRate: perMinute(100)}
			h, err := api.New(deps, api.Config{})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 { // clients
				wg.Go(func() {
					for range n / 30 {
						r := httptest.NewRequest(http.MethodGet, "/scans", nil)
						r.Header.Set("X-API-Key", e.keys["alice"])
						w := httptest.NewRecorder()
						h.ServeHTTP(w, r)
						mu.Lock()
						got[standingOf(w.Header(), w.Code)]++
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
	}
	burst(1000)
	want := map[standing]int{{429, `"read";q=100;w=60`, `"read";r=0;t=1`, "1"}: 890}
	for i := range 100 {
		want[standing{200, `"read";q=100;w=60`, fmt.Sprintf(`"read";r=%d;t=1`, i), ""}] = 1
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(standing{})); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	clear(got)
	now = now.Add(time.Minute) // the window is over, and it is one bucket
	burst(300)
	passed := 0
	for s, n := range got {
		if s.status == http.StatusOK {
			passed += n
		}
	}
	if passed != 100 {
		t.Errorf("%d passed a minute later, want 100", passed)
	}
}

// TestEveryRouteHasAPolicy: a tenant's requests are counted by what they do, each
// class by itself.
func TestEveryRouteHasAPolicy(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, host.Plan{RequestRate: perMinute(1000), UploadRate: perMinute(10)}, api.Limits{AddressRate: perMinute(100)})
	e.do(t, "alice", http.MethodGet, "/scans", "", nil) // from now on the key is known
	left := map[string]int{"read": 998, "write": 999, "upload": 9}
	for path, methods := range routes(t, e) {
		for _, method := range methods {
			policy, quota := "write", 1000
			switch {
			case method == http.MethodGet:
				policy = "read"
			case strings.HasSuffix(path, "/upload"), strings.HasSuffix(path, "/sarif"), strings.HasPrefix(path, "/scans/") && !strings.Contains(path, "{"):
				policy, quota = "upload", 10
			}
			resp, _ := e.do(t, "alice", method, strings.ReplaceAll(path, "{id}", string(host.NewScanID())), "", nil)
			want := standing{0, fmt.Sprintf(`"%s";q=%d;w=60`, policy, quota), fmt.Sprintf(`"%s";r=%d;t=%d`, policy, left[policy], (60+quota-1)/quota), ""}
			left[policy]--
			got := standingOf(resp.Header, 0)
			if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusAccepted {
				got.retryAfter = ""
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(standing{})); diff != "" {
				t.Errorf("%s %s answered %d (-want +got):\n%s", method, path, resp.StatusCode, diff)
			}
		}
	}
}

// TestRateLimited: what a refusal says, that it holds, and what it leaves alone.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	e, pass := limited(t, host.Plan{RequestRate: perMinute(100), UploadRate: perMinute(5)}, api.Limits{})
	for range 5 {
		e.upload(t, client.UploadOptions{})
	}
	stored := e.stored(t)
	endless, end := io.Pipe() // who is over the rate is told before the archive is read
	resp, body := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", "multipart/form-data; boundary=x", endless)
	end.Close()
	p := problem(t, resp, body)
	want := client.Problem{
		Type: "https://securetag.dev/problems/rate_limited", Title: "Too many requests", Status: 429, Code: "rate_limited",
		Detail:    `The policy "upload" allows each tenant 5 requests a minute, and this one is over that. Try again in 12 seconds.`,
		RequestID: p.RequestID, Violated: []string{"upload"},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if got, want := standingOf(resp.Header, 0), (standing{0, `"upload";q=5;w=60`, `"upload";r=0;t=12`, "12"}); got != want {
		t.Errorf("header %+v, want %+v", got, want)
	}
	if n := e.stored(t); n != stored {
		t.Errorf("%d files of a refused upload are kept", n-stored)
	}
	for _, other := range []struct{ who, method, path string }{
		{"alice", http.MethodGet, "/scans"}, {"alice", http.MethodPost, "/scans/" + string(host.NewScanID()) + "/cancel"}, {"bob", http.MethodPost, "/codeaudit/upload"},
	} {
		if resp, _ := e.do(t, other.who, other.method, other.path, "", nil); resp.StatusCode == http.StatusTooManyRequests {
			t.Errorf("%+v was refused", other)
		}
	}
	pass(12*time.Second - time.Microsecond)
	if resp, _ := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", "", nil); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a moment too early: %d", resp.StatusCode)
	}
	pass(time.Microsecond)
	e.upload(t, client.UploadOptions{})
}

// TestNoRate: a plan without rates limits nothing, and the header says nothing.
func TestNoRate(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, host.Plan{}, api.Limits{})
	for range 200 {
		resp, _ := e.do(t, "alice", http.MethodGet, "/scans", "", nil)
		if got := standingOf(resp.Header, resp.StatusCode); got != (standing{status: 200}) {
			t.Fatalf("%+v", got)
		}
	}
}

// TestAddressRate: who has no good key is counted by address, and takes nothing
// from those at the same address who have one, seen here before or not.
func TestAddressRate(t *testing.T) {
	t.Parallel()
	e, pass := limited(t, host.Plan{}, api.Limits{AddressRate: perMinute(6)})
	e.operator(t, "ann", nil)
	e.operator(t, "eve", nil)
	e.keys["nobody"] = strings.Repeat("x", 64)
	e.keys["guesser"], _ = apikey.New()
	ask := func(who, path string) standing {
		resp, _ := e.do(t, who, http.MethodGet, path, "", nil)
		return standingOf(resp.Header, resp.StatusCode)
	}
	const policy = `"address";q=6;w=60`
	for i, tt := range []struct {
		who, path string
		status    int
	}{
		{"guesser", "/scans", 401}, {"guesser", "/admin/queue", 401}, {"nobody", "/scans", 401}, {"", "/nowhere", 404}, {"nobody", "/admin/queue", 401}, {"", "/openapi.json", 200},
	} {
		want := standing{tt.status, policy, fmt.Sprintf(`"address";r=%d;t=10`, 5-i), ""}
		if got := ask(tt.who, tt.path); got != want {
			t.Errorf("%s asks for %s: %+v, want %+v", tt.who, tt.path, got, want)
		}
		if i == 2 { // in between
			for who, path := range map[string]string{"alice": "/scans", "ann": "/admin/queue"} {
				if got, want := ask(who, path), (standing{status: 200}); got != want {
					t.Errorf("%s asks for %s: %+v, want %+v", who, path, got, want)
				}
			}
		}
	}
	over := standing{429, policy, `"address";r=0;t=10`, "10"}
	for _, tt := range []struct {
		who, path string
		want      standing
	}{
		{"bob", "/scans", standing{status: 200}}, // good, and nobody here knows that yet
		{"eve", "/admin/queue", standing{status: 200}},
		{"alice", "/scans", standing{status: 200}},
		{"ann", "/admin/queue", standing{status: 200}},
		{"revoked", "/scans", over},
		{"guesser", "/scans", over},
		{"guesser", "/admin/queue", over},
		{"nobody", "/scans", over},
		{"", "/scans", over},
		{"alice", "/admin/queue", over}, // a tenant's key is none there
		{"", "/healthz", standing{status: 200}},
		{"", "/readyz", standing{status: 200}},
	} {
		for range 3 {
			if got := ask(tt.who, tt.path); got != tt.want {
				t.Errorf("%s asks for %s when the address is over its rate: %+v, want %+v", tt.who, tt.path, got, tt.want)
			}
		}
	}
	pass(10 * time.Second)
	if got, want := ask("nobody", "/scans"), (standing{401, policy, `"address";r=0;t=10`, ""}); got != want {
		t.Errorf("nobody asks again: %+v, want %+v", got, want)
	}
	e.api.SetLimits(api.Limits{})
	if got, want := ask("nobody", "/scans"), (standing{status: 401}); got != want {
		t.Errorf("without a rate: %+v, want %+v", got, want)
	}
}

// TestAddressBehindProxies: each client behind a proxy that is trusted is
// counted by itself, IPv6 by its network, and nobody can be another.
func TestAddressBehindProxies(t *testing.T) {
	t.Parallel()
	e, _ := limited(t, host.Plan{}, api.Limits{
		AddressRate: perMinute(2),
		Proxies:     api.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	ask := func(forwarded string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/scans", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", forwarded)
		resp, _ := e.send(t, req)
		return resp.StatusCode
	}
	var got []int
	for _, client := range []string{
		"198.51.100.1", "198.51.100.1", "198.51.100.1", "203.0.113.9, 198.51.100.1", "198.51.100.1, 198.51.100.2",
		"2001:db8::1", "[2001:db8::2]:80", "2001:db8::3", "2001:db8:0:1::1",
	} {
		got = append(got, ask(client))
	}
	if diff := cmp.Diff([]int{401, 401, 429, 429, 401, 401, 401, 429, 401}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if log := e.log.String(); !strings.Contains(log, `"client":"198.51.100.2"`) {
		t.Error("the log does not say where requests come from")
	}
}

// refusals is a meter that counts them.
type refusals struct {
	answers
	mu sync.Mutex
	by map[string]int
}

func (r *refusals) RateLimited(policy string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[policy]++
}

func TestMeterHearsRefusals(t *testing.T) {
	t.Parallel()
	m := &refusals{by: map[string]int{}}
	e, _ := limited(t, host.Plan{RequestRate: perMinute(1)}, api.Limits{AddressRate: perMinute(2)}, func(d *api.Deps) { d.Meter = m })
	for range 3 {
		e.do(t, "alice", http.MethodGet, "/scans", "", nil)
		e.do(t, "", http.MethodGet, "/scans", "", nil)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(map[string]int{"read": 2, "address": 1}, m.by); diff != "" {
		t.Errorf("refusals by policy (-want +got):\n%s", diff)
	}
}
