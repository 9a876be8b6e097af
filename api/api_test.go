package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// routes lists method and path of every documented operation that wants a
// tenant's key; those of operators are in admin_test.go.
func routes(t *testing.T, e *env) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for path, item := range loadDoc(t, e.api).raw["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if op.(map[string]any)["security"] != nil && !strings.HasPrefix(path, "/admin") {
				out[path] = append(out[path], strings.ToUpper(method))
			}
		}
	}
	if len(out) < 6 {
		t.Fatalf("only %d protected paths documented: %v", len(out), out)
	}
	return out
}

// TestEveryRouteWantsAKey takes the routes from the document, so that a new one
// cannot be forgotten.
func TestEveryRouteWantsAKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	alice, bob := e.keys["alice"], e.keys["bob"]
	for path, methods := range routes(t, e) {
		for _, method := range methods {
			for name, header := range map[string]http.Header{
				"no key":           {},
				"no such key":      {"X-Api-Key": {strings.Repeat("x", 64)}},
				"mistyped key":     {"X-Api-Key": {alice[:63] + "!"}},
				"revoked key":      {"X-Api-Key": {e.keys["revoked"]}},
				"revoked bearer":   {"Authorization": {"Bearer " + e.keys["revoked"]}},
				"two keys":         {"X-Api-Key": {alice}, "Authorization": {"Bearer " + bob}},
				"one header twice": {"X-Api-Key": {alice, bob}},
				"basic":            {"Authorization": {"Basic " + alice}},
				"key and basic":    {"X-Api-Key": {alice}, "Authorization": {"Basic " + alice}},
				"empty bearer":     {"Authorization": {"Bearer "}},
			} {
				req, err := http.NewRequestWithContext(t.Context(), method, e.url+strings.ReplaceAll(path, "{id}", scan.ID), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = header
				resp, body := e.send(t, req)
				want := client.Problem{
					Type: "https://securetag.dev/problems/unauthorized", Title: "Unauthorized", Status: 401, Code: "unauthorized",
					Detail:    "A valid API key is required, as X-API-Key or as Authorization: Bearer.",
					RequestID: resp.Header.Get("X-Request-Id"),
				}
				if diff := cmp.Diff(want, problem(t, resp, body)); diff != "" || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s with %s (-want +got):\n%s", method, path, name, diff)
				}
			}
		}
	}
	if s, err := e.client(t, "alice").Scan(t.Context(), scan.ID); err != nil || s.State != client.StateQueued {
		t.Errorf("after all that the scan is %+v, %v", s, err)
	}
}

func TestBothHeadersWork(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	alice := e.keys["alice"]
	for _, header := range []http.Header{
		{"X-Api-Key": {alice}},
		{"Authorization": {"Bearer " + alice}},
		{"Authorization": {"bearer " + alice}},
		{"X-Api-Key": {alice}, "Authorization": {"Bearer " + alice}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/scans", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		if resp, body := e.send(t, req); resp.StatusCode != http.StatusOK {
			t.Errorf("%v: %d %s", header, resp.StatusCode, body)
		}
	}
}

func TestScanLife(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	c := e.client(t, "alice")
	scan, err := c.StartURL(t.Context(), "https://example.com/", client.StartOptions{
		Type: "dast", Project: "shop", Options: []byte(`{"probe": {"depth": 3}}`),
	})
	if err != nil || scan.URL != "https://example.com/" || string(scan.Options) != `{"probe":{"depth":3}}` {
		t.Fatalf("StartURL = %+v, %v", scan, err)
	}
	resp, _ := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID, "", nil)
	if resp.Header.Get("Retry-After") != "1" {
		t.Error("a running scan has no Retry-After")
	}
	e.finish(t, scan.ID, []host.Finding{{
		ID: host.NewFindingID(), Plugin: "probe", RuleID: "xss", Title: "Reflected input", Severity: host.SeverityHigh,
		Confidence: host.ConfidenceLow, Location: host.Location{URL: "https://example.com/?q=1"}, Fingerprint: "v1:aa",
		CWE: []int{79}, Tags: []string{"web"}, References: []string{"https://example.org"}, Properties: []byte(`{"param":"q"}`),
	}})
	got, err := c.Scan(t.Context(), scan.ID)
	if err != nil || got.State != client.StateSucceeded || got.Counts.High != 1 || got.Jobs[0].Progress.Done != 3 || got.FinishedAt == nil {
		t.Errorf("Scan = %+v, %v", got, err)
	}
	resp, _ = e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID, "", nil)
	if resp.Header.Get("Retry-After") != "" {
		t.Error("a finished scan has a Retry-After")
	}
	findings, err := c.Findings(t.Context(), scan.ID, client.FindingsQuery{})
	if err != nil || len(findings.Items) != 1 || findings.Items[0].RuleID != "xss" || findings.Items[0].CWE[0] != 79 || findings.NextPageToken != "" {
		t.Errorf("Findings = %+v, %v", findings, err)
	}
	_, err = c.Cancel(t.Context(), scan.ID)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusConflict || refused.Code != "conflict" {
		t.Errorf("Cancel of a finished scan: %v, want 409", err)
	}
	if n := len(e.canceled); n != 0 {
		t.Errorf("%d cancels were passed on that were not stored", n)
	}
	other := e.upload(t, client.UploadOptions{})
	for range 2 {
		if s, err := c.Cancel(t.Context(), other.ID); err != nil || s.State != client.StateCanceled {
			t.Errorf("Cancel = %+v, %v", s, err)
		}
		if s := <-e.canceled; s.ID != host.ScanID(other.ID) || s.State != host.StateCanceled {
			t.Errorf("passed on: scan %s, %s", s.ID, s.State)
		}
	}
}

// TestPriority: a scan shows the one that it was given, and normal without one.
func TestPriority(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	c := e.client(t, "alice")
	for given, want := range map[client.Priority]client.Priority{
		"": client.PriorityNormal, client.PriorityHigh: client.PriorityHigh,
		client.PriorityNormal: client.PriorityNormal, client.PriorityLow: client.PriorityLow,
	} {
		started, err := c.StartURL(t.Context(), "https://example.com/", client.StartOptions{Type: "dast", Priority: given})
		if err != nil {
			t.Fatal(err)
		}
		for how, s := range map[string]client.Scan{"JSON": started, "form": e.upload(t, client.UploadOptions{Priority: given})} {
			got, err := c.Scan(t.Context(), s.ID)
			if err != nil || got.Priority != want || s.Priority != want {
				t.Errorf("%s with %q: accepted as %q, shown as %q, %v; want %q", how, given, s.Priority, got.Priority, err, want)
			}
		}
	}
	list, err := c.Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(list.Items) != 8 {
		t.Fatalf("Scans = %d, %v", len(list.Items), err)
	}
	for _, s := range list.Items {
		if s.Priority == "" {
			t.Errorf("scan %s is listed without its priority", s.ID)
		}
	}
}

func TestStartURLRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       string
		pointers   []string
	}{
		"no plugin":        {"/scans/web", `{"url":"https://example.com"}`, 501, "no_plugin", nil},
		"unknown type":     {"/scans/nope", `{"url":"https://example.com"}`, 404, "unknown_scan_type", nil},
		"archive type":     {"/scans/codeaudit", `{"url":"https://example.com"}`, 415, "unsupported_media_type", nil},
		"no such upload":   {"/nope/upload", `{}`, 404, "unknown_scan_type", nil},
		"no body":          {"/scans/dast", ``, 400, "malformed", nil},
		"not JSON":         {"/scans/dast", `{"url":`, 400, "malformed", []string{"#"}},
		"not an object":    {"/scans/dast", `[]`, 422, "invalid", []string{"#"}},
		"no URL":           {"/scans/dast", `{}`, 422, "invalid", []string{"#"}},
		"unknown member":   {"/scans/dast", `{"url":"https://example.com","uri":1}`, 422, "invalid", []string{"#/uri"}},
		"file URL":         {"/scans/dast", `{"url":"file:///etc/passwd"}`, 422, "invalid", []string{"#/url"}},
		"password":         {"/scans/dast", `{"url":"https://u:hunter2@example.com"}`, 422, "invalid", []string{"#/url"}},
		"number URL":       {"/scans/dast", `{"url":5}`, 422, "invalid", []string{"#/url"}},
		"bad project":      {"/scans/dast", `{"url":"https://example.com","project":"a b"}`, 422, "invalid", []string{"#/project"}},
		"unknown priority": {"/scans/dast", `{"url":"https://example.com","priority":"urgent"}`, 422, "invalid", []string{"#/priority"}},
		"number priority":  {"/scans/dast", `{"url":"https://example.com","priority":1}`, 422, "invalid", []string{"#/priority"}},
		"options no obj.":  {"/scans/dast", `{"url":"https://example.com","options":[1]}`, 422, "invalid", []string{"#/options"}},
		"options NUL":      {"/scans/dast", `{"url":"https://example.com","options":{"a":"\u0000"}}`, 422, "invalid", []string{"#/options"}},
		"two mistakes":     {"/scans/dast", `{"url":5,"project":"a b"}`, 422, "invalid", []string{"#/url", "#/project"}},
		"huge":             {"/scans/dast", `{"url":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too_large", nil},
	} {
		resp, body := e.do(t, "alice", http.MethodPost, c.path, "application/json", strings.NewReader(c.body))
		p := problem(t, resp, body)
		if p.Status != c.status || p.Code != c.code {
			t.Errorf("%s: %+v, want %d %s", name, p, c.status, c.code)
		}
		got := map[string]bool{}
		for _, e := range p.Errors {
			got[e.Pointer] = true
		}
		for _, want := range c.pointers {
			if !got[want] {
				t.Errorf("%s: errors %+v, want one at %s", name, p.Errors, want)
			}
		}
		if strings.Contains(body, "hunter2") {
			t.Errorf("%s: the answer repeats the password", name)
		}
	}
	resp, body := e.do(t, "alice", http.MethodPost, "/scans/dast", "text/yaml", strings.NewReader("url: x"))
	if p := problem(t, resp, body); p.Status != 415 || p.Code != "unsupported_media_type" {
		t.Errorf("YAML: %+v, want 415", p)
	}
}

func TestQueryRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for query, pointer := range map[string]string{
		"limit=0": "query.limit", "limit=201": "query.limit", "limit=x": "query.limit", "state=done": "query.state",
		"project=a%20b": "query.project", "colour=red": "query.colour", "page_token=x": "query.page_token",
		"page_token=" + strings.Repeat("A", 300): "query.page_token",
	} {
		resp, body := e.do(t, "alice", http.MethodGet, "/scans?"+query, "", nil)
		p := problem(t, resp, body)
		if p.Status != 422 || len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%.40s: %+v, want 422 at %s", query, p, pointer)
		}
	}
}

func TestRoutingProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{http.MethodGet, "/", 404, ""},
		{http.MethodGet, "//scans", 404, ""},
		{http.MethodGet, "/scans/", 404, ""},
		{http.MethodGet, "/scans/a/../b", 404, ""},
		{http.MethodGet, "/doc", 404, ""},
		{http.MethodDelete, "/scans", 405, "GET, HEAD"},
		{http.MethodGet, "/codeaudit/upload", 405, "POST"},
		{http.MethodPut, "/scans/dast", 405, "POST"},
		{http.MethodOptions, "/healthz", 405, "GET, HEAD"},
	} {
		resp, body := e.do(t, "", c.method, c.path, "", nil)
		p := problem(t, resp, body)
		if p.Status != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %+v, Allow %q; want %d, %q", c.method, c.path, p, resp.Header.Get("Allow"), c.status, c.allow)
		}
	}
	resp, body := e.do(t, "alice", http.MethodHead, "/scans", "", nil)
	if resp.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD /scans: %d, body %q", resp.StatusCode, body)
	}
}

func TestFaultsBecomeProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	path := "/scans/" + e.upload(t, client.UploadOptions{}).ID
	secret := "pg: password authentication failed"
	for name, c := range map[string]struct {
		change     func(*faulty)
		status     int
		code       string
		retryAfter string
		logged     string
	}{
		"panic":              {func(f *faulty) { f.panics = true }, 500, "internal", "", "out of cheese"},
		"unknown error":      {func(f *faulty) { f.scanErr = errors.New(secret) }, 500, "internal", "", secret},
		"store down":         {func(f *faulty) { f.scanErr = fmt.Errorf("%s: %w", secret, host.ErrUnavailable) }, 503, "unavailable", "5", secret},
		"store down at auth": {func(f *faulty) { f.keyErr = host.ErrUnavailable }, 503, "unavailable", "5", "look up API key"},
		"store broken, auth": {func(f *faulty) { f.keyErr = errors.New("boom") }, 500, "internal", "", "boom"},
	} {
		e.store.set(c.change)
		who := "alice"
		if strings.Contains(name, "auth") {
			who = "bob" // whose key nobody has looked up yet
		}
		resp, body := e.do(t, who, http.MethodGet, path, "", nil)
		e.store.set(func(f *faulty) { f.panics, f.scanErr, f.keyErr = false, nil, nil })
		p := problem(t, resp, body)
		if p.Status != c.status || p.Code != c.code || resp.Header.Get("Retry-After") != c.retryAfter {
			t.Errorf("%s: %+v, Retry-After %q", name, p, resp.Header.Get("Retry-After"))
		}
		if strings.Contains(body, secret) || strings.Contains(body, "cheese") {
			t.Errorf("%s: the answer shows the inside: %s", name, body)
		}
		if !strings.Contains(e.log.String(), c.logged) || !strings.Contains(e.log.String(), p.RequestID) {
			t.Errorf("%s: the log does not say %q for request %s", name, c.logged, p.RequestID)
		}
	}
	if resp, _ := e.do(t, "alice", http.MethodGet, path, "", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for given, kept := range map[string]bool{
		"": false, "trace-1_2.3": true, "a b": false, "x\"y": false, strings.Repeat("a", 65): false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/scans", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", given)
		resp, _ := e.send(t, req)
		if got := resp.Header.Get("X-Request-Id"); got == "" || (got == given) != kept {
			t.Errorf("request id %q was answered with %q", given, got)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// TestLogKeepsSecrets: nothing that a client sends in confidence is logged.
func TestLogKeepsSecrets(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{Filename: "private-name.zip", Options: []byte(`{"secrets":{"token":"hunter2"}}`)})
	e.do(t, "revoked", http.MethodGet, "/scans/"+scan.ID+"?token=hunter2", "", nil)
	log := e.log.String()
	for _, secret := range []string{e.keys["alice"], e.keys["revoked"], "hunter2", "private-name"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if !strings.Contains(log, `"route":"/scans/{id}"`) || !strings.Contains(log, `"status":401`) {
		t.Errorf("the log lacks the request:\n%s", log)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store, queue error
		drain        bool
		status       int
		want         string
	}{
		"ready":    {nil, nil, false, 200, client.Ready},
		"degraded": {nil, host.ErrUnavailable, false, 200, client.Degraded},
		"no store": {host.ErrUnavailable, nil, false, 503, client.Unavailable},
		"draining": {nil, nil, true, 503, client.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, api.Config{})
			e.queue.err = c.queue
			e.store.set(func(f *faulty) { f.pingErr = c.store })
			if c.drain {
				e.api.Drain()
			}
			resp, body := e.do(t, "", http.MethodGet, "/readyz", "", nil)
			if resp.StatusCode != c.status || !strings.Contains(body, `"status":"`+c.want+`","checks"`) {
				t.Errorf("/readyz: %d %s, want %d %s", resp.StatusCode, body, c.status, c.want)
			}
			if resp, body := e.do(t, "", http.MethodGet, "/healthz", "", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("/healthz: %d %s", resp.StatusCode, body)
			}
		})
	}
}

func TestDrainRefusesNewScans(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	e.api.Drain()
	_, upErr := e.client(t, "alice").Upload(t.Context(), strings.NewReader("PK"), client.UploadOptions{})
	_, urlErr := e.client(t, "alice").StartURL(t.Context(), "https://example.com", client.StartOptions{Type: "dast"})
	for _, err := range []error{upErr, urlErr} {
		var refused *client.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable || refused.RetryAfter == 0 {
			t.Errorf("a new scan while draining: %v, want 503 with Retry-After", err)
		}
	}
	if _, err := e.client(t, "alice").Scan(t.Context(), scan.ID); err != nil {
		t.Errorf("reading while draining: %v", err)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{Version: "1.2.3"})
	resp, body := e.do(t, "", http.MethodGet, "/openapi.json", "", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		`"openapi":"3.1.0"`, `"version":"1.2.3"`, `"/codeaudit/upload"`, `"/scans/web"`, `"/scans/{id}/findings"`,
		`"multipart/form-data"`, `"X-API-Key"`, `"application/problem+json"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the document lacks %s", want)
		}
	}
	for _, never := range []string{"ErrorModel", "unpkg", `"array","null"`} {
		if strings.Contains(body, never) {
			t.Errorf("the document holds %s", never)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := api.New(api.Deps{}, api.Config{}); err == nil {
		t.Error("New without anything to talk to")
	}
	if srv := api.Server(http.NotFoundHandler(), hclog.NewNullLogger()); srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("Server without limits: %+v", srv)
	}
}

// FuzzPageToken: a token that the host did not make is refused, whatever it is.
func FuzzPageToken(f *testing.F) {
	e := newEnv(f, api.Config{TokenKey: bytes.Repeat([]byte("k"), 32)})
	e.upload(f, client.UploadOptions{})
	e.upload(f, client.UploadOptions{})
	page, err := e.client(f, "alice").Scans(f.Context(), client.ScansQuery{Limit: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.NextPageToken)
	f.Add("AAAA")
	f.Add(strings.Repeat("A", 43))
	f.Add("!")
	f.Fuzz(func(t *testing.T, token string) {
		req := httptest.NewRequest(http.MethodGet, "/scans", nil)
		q := req.URL.Query()
		q.Set("page_token", token)
		req.URL.RawQuery = q.Encode()
		req.Header.Set("X-API-Key", e.keys["alice"])
		w := httptest.NewRecorder()
		e.api.ServeHTTP(w, req)
		body, _ := io.ReadAll(w.Body)
		if want := map[bool]int{true: 200, false: 422}[token == page.NextPageToken || token == ""]; w.Code != want {
			t.Errorf("page_token=%q: %d, want %d: %s", token, w.Code, want, body)
		}
	})
}
