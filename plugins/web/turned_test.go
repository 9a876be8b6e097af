package main

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestTurnedAway: a site that answers another thing in the end than at first has not
// shown what it is, whether it took the scan for an attack, ended its session or
// fell over.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	forbidden := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "blocked", http.StatusForbidden) }
	for name, tt := range map[string]struct {
		after  int32 // requests
		then   http.HandlerFunc
		status string
		reason string
	}{
		"a firewall":     {5, forbidden, sdktest.Partial, "answered 200 at the beginning of the scan and 403 at its end"},
		"a session ends": {5, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, sdktest.Partial, "and 302 at its end"},
		"a gateway":      {5, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, sdktest.Partial, "the site stopped answering, 8 requests failed"},
		"nothing":        {1 << 20, forbidden, sdktest.Succeeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", htmlPage("hello"))
			s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) > tt.after {
					tt.then(w, r)
					return
				}
				mux.ServeHTTP(w, r)
			}), nil)
			r := s.scan(t, nil, map[string]any{"headers": map[string]string{"X-Login": "abcdefgh"}})
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s", r.Status, r.Reason)
			}
		})
	}
}
