package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// keyed sends a request with an Idempotency-Key.
func (e *env) keyed(t testing.TB, who, path, key, contentType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-API-Key", e.keys[who])
	req.Header.Set("Idempotency-Key", key)
	return e.send(t, req)
}

// uploadKeyed uploads a form.
func (e *env) uploadKeyed(t testing.TB, who, key string, parts ...part) (*http.Response, string) {
	t.Helper()
	contentType, body := encode(t, parts...)
	return e.keyed(t, who, "/codeaudit/upload", key, contentType, string(body))
}

// TestIdempotencyKey: a request that is sent again gets the answer that it had,
// byte for byte, whatever became of its scan.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file, options := part{"file", "a.zip", "PK1"}, part{"options", "", `{"secrets": {"a": 1, "b": 2}}`}
	gate := part{"gate", "", `{"fail_on": "high"}`}
	first, want := e.uploadKeyed(t, "alice", `"a key, of \"mine\""`, file, options, gate)
	if first.StatusCode != http.StatusAccepted || first.Header.Get("Idempotency-Replayed") != "" || !strings.Contains(want, `"state":"pending"`) {
		t.Fatalf("status %d, %v: %s", first.StatusCode, first.Header, want)
	}
	location := first.Header.Get("Location")
	e.finish(t, strings.TrimPrefix(location, "/scans/"), nil)
	for name, parts := range map[string][]part{
		"as it was":       {file, options, gate},
		"in other words":  {{"options", "", `{"secrets":{"b":2,"a":1}}`}, file, gate},
		"by another name": {{"file", "b.zip", "PK1"}, options, gate},
	} {
		resp, body := e.uploadKeyed(t, "alice", `"a key, of \"mine\""`, parts...)
		if resp.StatusCode != http.StatusAccepted || body != want || resp.Header.Get("Location") != location ||
			resp.Header.Get("Idempotency-Replayed") != "true" || resp.Header.Get("Retry-After") != first.Header.Get("Retry-After") {
			t.Errorf("%s: status %d, %v, %s; want %s at %s", name, resp.StatusCode, resp.Header, body, want, location)
		}
	}
	for name, parts := range map[string][]part{
		"archive": {{"file", "a.zip", "PK2"}, options, gate}, "options": {file, gate}, "project": {file, options, gate, {"project", "", "x"}}, "gate": {file, options},
	} {
		resp, body := e.uploadKeyed(t, "alice", `"a key, of \"mine\""`, parts...)
		if p := problem(t, resp, body); p.Status != 422 || p.Code != "idempotency_key_reused" {
			t.Errorf("another %s: %+v", name, p)
		}
	}
	// Who waits with it is told the end, and what the gate says of that.
	contentType, body := encode(t, file, options, gate)
	header := map[string]string{"Content-Type": contentType, "Idempotency-Key": `"a key, of \"mine\""`, "Prefer": "wait=5"}
	if resp, body := e.ask(t, http.MethodPost, "/codeaudit/upload", header, string(body)); resp.Header.Get("Idempotency-Replayed") != "true" ||
		!strings.Contains(body, `"state":"passed"`) || !strings.Contains(body, `"state":"succeeded"`) {
		t.Errorf("sent again with Prefer: wait: status %d: %s", resp.StatusCode, body)
	}
	// A request that failed has used nothing up, and a key is of a tenant and a
	// route.
	if resp, body := e.uploadKeyed(t, "alice", "k", part{"file", "a.zip", "no zip"}); problem(t, resp, body).Status != 422 {
		t.Errorf("no archive: %s", body)
	}
	ids := map[string]bool{location: true}
	start := `{"url": "https://example.com/"}`
	for name, send := range map[string]func() (*http.Response, string){
		"failed before": func() (*http.Response, string) { return e.uploadKeyed(t, "alice", "k", file) },
		"another route": func() (*http.Response, string) {
			return e.keyed(t, "alice", "/scans/dast", "k", "application/json", start)
		},
		"the other address of uploads": func() (*http.Response, string) {
			contentType, body := encode(t, file)
			return e.keyed(t, "alice", "/scans/codeaudit", "k", contentType, string(body))
		},
		"another tenant": func() (*http.Response, string) { return e.uploadKeyed(t, "bob", "k", file) },
	} {
		resp, body := send()
		if at := resp.Header.Get("Location"); resp.StatusCode != http.StatusAccepted || resp.Header.Get("Idempotency-Replayed") != "" || ids[at] {
			t.Errorf("%s: status %d: %s", name, resp.StatusCode, body)
		} else {
			ids[at] = true
		}
	}
	// Quotes are how it is written.
	if resp, _ := e.keyed(t, "alice", "/scans/dast", `"k"`, "application/json", start); resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("a key in quotes is another one")
	}
	if n := e.stored(t); n != 4 {
		t.Errorf("%d archives are kept, want those of 4 scans", n)
	}
}

// TestReplayWithoutRoom: what was accepted before is answered although there is
// no room for another.
func TestReplayWithoutRoom(t *testing.T) {
	t.Parallel()
	e := newEnvPlan(t, api.Config{}, maxArchive, host.Plan{Quota: host.Quota{QueuedScans: 1}})
	for i, key := range []string{"a", "a", "b"} {
		resp, body := e.uploadKeyed(t, "alice", key, part{"file", "a.zip", "PK"})
		if replayed := resp.Header.Get("Idempotency-Replayed") != ""; replayed != (i == 1) || (resp.StatusCode == http.StatusForbidden) != (i == 2) {
			t.Errorf("request %d: status %d, replayed %v: %s", i, resp.StatusCode, replayed, body)
		}
	}
}

// TestOneKeyAtOnce: of requests with one key that come at the same time one is
// accepted, and the others get its answer: nobody is told to come again.
func TestOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	contentType, body := encode(t, part{"file", "a.zip", "PK"})
	answers := make([]*httptest.ResponseRecorder, 50)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/codeaudit/upload", bytes.NewReader(body))
			req.Header.Set("Content-Type", contentType)
			req.Header.Set("X-API-Key", e.keys["alice"])
			req.Header.Set("Idempotency-Key", `"one"`)
			answers[i] = httptest.NewRecorder()
			e.api.ServeHTTP(answers[i], req)
		})
	}
	wg.Wait()
	fresh := 0
	for _, w := range answers {
		if w.Code != http.StatusAccepted || w.Body.String() != answers[0].Body.String() {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if w.Header().Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	scans, err := e.client(t, "alice").Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(scans.Items) != 1 || fresh != 1 || e.stored(t) != 1 {
		t.Errorf("%d scans, %d new ones, %d archives: %v", len(scans.Items), fresh, e.stored(t), err)
	}
}

// FuzzIdempotencyKey: whatever the key is, it is taken or refused, and taken for
// itself when it comes again.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9324", `"a\"b\\"`, `"a";b=1`, `"a`, `a"`, `""`, "a, b",
		`"a\b"`, "\x00", "\u00fc", `"` + strings.Repeat("x", 255) + `"`, strings.Repeat("x", 256), "a b", ":YQ==:", "?1", "12"} {
		f.Add(s)
	}
	f.Add("")
	e := newEnv(f, api.Config{})
	f.Fuzz(func(t *testing.T, key string) {
		ids := map[string]bool{}
		for i := range 2 {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/scans/dast", strings.NewReader(`{"url": "https://example.com/"}`))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-API-Key", e.keys["alice"])
			req.Header["Idempotency-Key"] = []string{key}
			w := httptest.NewRecorder()
			e.api.ServeHTTP(w, req)
			switch {
			case w.Code == http.StatusUnprocessableEntity:
				return
			case w.Code != http.StatusAccepted || i == 1 && w.Header().Get("Idempotency-Replayed") == "":
				t.Fatalf("key %q, request %d: status %d: %s", key, i, w.Code, w.Body)
			}
			ids[w.Header().Get("Location")] = true
		}
		if len(ids) != 1 {
			t.Errorf("key %q has two scans", key)
		}
	})
}
