package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api"
)

// TestHealthOnly: a host that takes no requests says how it is, and nothing
// else.
func TestHealthOnly(t *testing.T) {
	t.Parallel()
	q := &queue{}
	a, err := api.NewHealth(api.Deps{DatabaseNote: "as a note says", Store: &faulty{Store: newStore(t)}, Queue: q, Log: hclog.NewNullLogger()}, api.Config{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path string) (int, string) {
		rec := httptest.NewRecorder()
		a.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return rec.Code, rec.Body.String()
	}
	q.err = errors.New("it is down")
	for _, tt := range []struct {
		method, path string
		status       int
		says         string
	}{
		{http.MethodGet, "/healthz", http.StatusOK, "ok"},
		{http.MethodGet, "/readyz", http.StatusOK, "degraded"},
		{http.MethodGet, "/readyz", http.StatusOK, "as a note says"},
		{http.MethodDelete, "/readyz", http.StatusMethodNotAllowed, "GET, HEAD"},
		{http.MethodPost, "/scans/web", http.StatusNotFound, "server.role is api or all"},
		{http.MethodPost, "/codeaudit/upload", http.StatusNotFound, "only runs jobs"},
		{http.MethodGet, "/scans", http.StatusNotFound, "only runs jobs"},
		{http.MethodGet, "/openapi.json", http.StatusNotFound, "only runs jobs"},
	} {
		if code, body := get(tt.method, tt.path); code != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s %s = %d %s, want %d and %q", tt.method, tt.path, code, body, tt.status, tt.says)
		}
	}
	a.Drain()
	if code, body := get(http.MethodGet, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "unavailable") {
		t.Errorf("readyz while draining = %d %s, want 503", code, body)
	}
}
