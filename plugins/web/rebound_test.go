package main

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// rebound resolves to this machine for so many times, and then to an address that
// nobody may call.
type rebound struct{ left *atomic.Int32 }

func (r rebound) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if r.left.Add(-1) < 0 {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// TestRebound: a name that leads somewhere else in the middle of a scan is not
// followed there, and what was not asked for is not clean.
func TestRebound(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // each request resolves the name anew
		htmlPage("hello")(w, r)
	}), nil)
	left := &atomic.Int32{}
	left.Store(2)
	s.env.resolver = rebound{left}
	r := s.scan(t, nil, nil)
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "requests led to addresses or ports that may not be scanned") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	if len(s.requests()) > 3 || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "grade at most ") }) {
		t.Errorf("asked for %q, notes %q", s.requests(), r.Notes)
	}
}
