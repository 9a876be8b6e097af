package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// TestPreferWait: a request waits for the end of its scan, and no longer than it
// asked for or may.
func TestPreferWait(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{RequestTimeout: time.Minute})
	id := e.upload(t, client.UploadOptions{}).ID
	ended := make(chan string, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/scans/"+id, nil)
		if err != nil {
			ended <- err.Error()
			return
		}
		req.Header.Set("X-API-Key", e.keys["alice"])
		req.Header.Set("Prefer", "respond-async, wait=600")
		resp, err := e.http.Do(req)
		if err != nil {
			ended <- err.Error()
			return
		}
		defer resp.Body.Close()
		body := make([]byte, 10_000)
		n, _ := resp.Body.Read(body)
		if resp.Header.Get("Preference-Applied") != "wait=54" || resp.Header.Get("Retry-After") != "" || !strings.Contains(string(body[:n]), `"state":"succeeded"`) {
			ended <- resp.Header.Get("Preference-Applied") + ": " + string(body[:n])
			return
		}
		ended <- ""
	}()
	e.finish(t, id, nil)
	if wrong := <-ended; wrong != "" {
		t.Error(wrong)
	}
	// What has ended is answered at once, and what goes on when the time is over.
	if resp, _ := e.ask(t, http.MethodGet, "/scans/"+id, map[string]string{"Prefer": "wait=50"}, ""); resp.Header.Get("Preference-Applied") != "wait=50" {
		t.Errorf("of a scan that has ended: %v", resp.Header)
	}
	header := map[string]string{"Content-Type": "application/json", "Prefer": "wait=0"}
	resp, body := e.ask(t, http.MethodPost, "/scans/dast", header, `{"url": "https://example.com/"}`)
	if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Preference-Applied") != "wait=0" || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"state":"queued"`) {
		t.Errorf("of a scan that goes on: status %d, %v: %s", resp.StatusCode, resp.Header, body)
	}
	e.api.Drain() // what waits does not hold up the end of the host
	if resp, body := e.ask(t, http.MethodGet, resp.Header.Get("Location"), map[string]string{"Prefer": "wait=50"}, ""); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"queued"`) {
		t.Errorf("while draining: status %d: %s", resp.StatusCode, body)
	}
}

// TestPreferWaitGone: who waits for a scan that is removed hears of it.
func TestPreferWaitGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	id := e.upload(t, client.UploadOptions{}).ID
	e.store.set(func(f *faulty) { f.failAfter, f.scanErr = 1, host.ErrNotFound })
	if resp, body := e.ask(t, http.MethodGet, "/scans/"+id, map[string]string{"Prefer": "wait=20"}, ""); problem(t, resp, body).Status != http.StatusNotFound {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

// TestWaitingShared: one tenant has an eighth of what waits, and all have the whole.
func TestWaitingShared(t *testing.T) {
	t.Parallel()
	var w api.Waiting
	enter := func(tenant host.TenantID) (n int) {
		for w.Enter(tenant) {
			n++
		}
		return n
	}
	for n := range 8 {
		if got := enter(host.TenantID(rune('a' + n))); got != 125 {
			t.Errorf("tenant %d waits with %d requests, want 125", n, got)
		}
	}
	if w.Enter("z") {
		t.Error("more wait than the host lets")
	}
	w.Leave("a")
	if w.Enter("b") || !w.Enter("z") {
		t.Error("the place is not for whoever has the fewest")
	}
	w.Leave("z")
	for n := range 8 {
		for range 125 - max(0, 1-n) {
			w.Leave(host.TenantID(rune('a' + n)))
		}
	}
	if requests, tenants := w.Left(); requests != 0 || tenants != 0 {
		t.Errorf("%d requests of %d tenants stay", requests, tenants)
	}
}

func TestParsePrefer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"": -1, "wait=10": 10, "Wait = 10": 10, `wait="10"; x=1`: 10, "respond-async, wait=3, wait=4": 3, "wait": -1, "wait=-1": -1, "wait=1.5": -1,
		"wait=99999999999": -1, "waits=3": -1, "handling=lenient;wait=3": -1,
	} {
		n, ok := api.ParsePrefer(header)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("Prefer %q waits %d, want %d", header, n, want)
		}
	}
}

func FuzzPrefer(f *testing.F) {
	f.Add("respond-async, wait=10; a=b")
	f.Add(`wait="7"`)
	f.Fuzz(func(t *testing.T, header string) {
		if n, ok := api.ParsePrefer(header); n < 0 || ok && !strings.Contains(strings.ToLower(header), "wait") {
			t.Errorf("Prefer %q waits %d, %v", header, n, ok)
		}
	})
}
