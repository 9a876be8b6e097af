package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/egress"
	"github.com/securetaghq/securetag/sdk/egress/egresstest"
)

// TestRedirectsInside: whatever refuses a URL that is written down refuses one to
// which an answer redirects.
func TestRedirectsInside(t *testing.T) {
	t.Parallel()
	refused := egresstest.RefusedURLs()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &i); err == nil && i < len(refused) {
			w.Header().Set("Location", refused[i])
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	only, err := egress.ParsePorts(port)
	if err != nil {
		t.Fatal(err)
	}
	// Its own address is allowed, and nothing else is.
	g := guard(t, egress.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []egress.Ports{only}, Redirects: 3,
		Resolver: resolver(func(string) []string { return []string{"10.0.0.1"} }),
	})
	client := g.Client()
	for i, to := range refused {
		u := fmt.Sprintf("%s/%d", srv.URL, i)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		resp.Body.Close()
		// A path that looks like a host is one of the same server.
		if to == "hooks.acme.com" && resp.Request.URL.Path == "/"+to {
			continue
		}
		t.Errorf("a redirect to %s led to %s: %s", to, resp.Request.URL, resp.Status)
	}
}

type resolver func(name string) []string

func (r resolver) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range r(strings.TrimSuffix(name, ".")) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// TestRebinding: a name that leads out when it is looked at and in when it is
// called again is refused the second time, and what was connected is closed.
func TestRebinding(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	only, err := egress.ParsePorts(port)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	g := guard(t, egress.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []egress.Ports{only}, Redirects: 10,
		Resolver: resolver(func(string) []string {
			if asked++; asked <= 2 {
				return []string{"127.0.0.1"}
			}
			return []string{"127.0.0.2"}
		}),
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebind.acme.com:"+port+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.Client().Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), "127.0.0.2") || asked != 3 {
		t.Errorf("%v after %d lookups, want 127.0.0.2 refused after 3", err, asked)
	}
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// TestDecompress: gzip is asked for and taken apart within the bound, of what is
// sent as of what it becomes.
func TestDecompress(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	bodies := map[string][]byte{
		"/plain":  zipped([]byte("hello")),
		"/shouts": zipped([]byte("hello")),
		"/bomb":   zipped(make([]byte, 1<<20)),
		"/hollow": bytes.Repeat(zipped(nil), limit), // nothing, sent for ever
		"/broken": []byte("this is no gzip at all"),
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			if r.URL.Path == "/shouts" {
				w.Header().Set("Content-Encoding", "GZIP")
			}
		}
		_, _ = w.Write(bodies[r.URL.Path])
	}))
	defer srv.Close()
	cfg := loopback()
	cfg.Decompress, cfg.KeepAlive, cfg.MaxBody = true, true, limit
	client := guard(t, cfg).Client()
	defer client.CloseIdleConnections()
	for path, want := range map[string]struct {
		size int
		err  error
	}{
		"/plain": {5, nil}, "/shouts": {5, nil}, "/bomb": {limit, egress.ErrTooLarge}, "/hollow": {0, egress.ErrTooLarge}, "/broken": {0, gzip.ErrHeader}, "/empty": {0, nil},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(body) != want.size || !errors.Is(err, want.err) || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d bytes, %v, want %d, %v", path, len(body), err, want.size, want.err)
		}
		if req.Header.Get("Accept-Encoding") != "" {
			t.Error("the request was changed")
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]egress.Ports{"443": {443, 443}, "8000-8999": {8000, 8999}, "1-65535": {1, 65535}} {
		if got, err := egress.ParsePorts(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-1", "65536", "080", "80-", "-80", "90-80", "http", "80 ", "1-2-3"} {
		if got, err := egress.ParsePorts(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
	for s, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "fd00::/8": "fd00::/8", "::1": "::1/128"} {
		if got, err := egress.ParseNetwork(s); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "intranet", "010.0.0.1"} {
		if got, err := egress.ParseNetwork(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}
