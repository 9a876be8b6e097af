package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHealthcheckAnswers: what a host says of itself decides the exit code.
func TestHealthcheckAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   int
		out    string
	}{
		{200, `{"status":"ready","checks":{}}`, 0, "ready\n"},
		{200, `{"status":"degraded","checks":{"queue":{"status":"unavailable"}}}`, 0, "degraded\n"},
		{503, `{"status":"unavailable","checks":{"database":{"status":"unavailable"}}}`, 5, "unavailable\n"},
		{502, `<html>bad gateway</html>`, 5, ""},
		{404, `not here`, 2, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		t.Cleanup(server.Close)
		var stdout, stderr bytes.Buffer
		p := &program{stdout: &stdout, stderr: &stderr}
		got := p.run(t.Context(), []string{"healthcheck", "--listen", server.Listener.Addr().String()})
		if got != c.want || stdout.String() != c.out {
			t.Errorf("%d %s: exit code %d, %q, %q; want %d, %q", c.status, c.body, got, &stdout, &stderr, c.want, c.out)
		}
	}
}
