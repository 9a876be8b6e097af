package egress_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/sdk/egress"
)

// loopback allows what test servers listen on.
func loopback() egress.Config {
	return egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []egress.Ports{{1, 65535}}}
}

func TestTransport(t *testing.T) {
	// A proxy of the environment is not asked: there is none at this address.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/", http.StatusFound)
		case "/once":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		case "/never":
			<-r.Context().Done()
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		default:
			_, _ = io.WriteString(w, r.Header.Get("Authorization")+r.Header.Get("Accept-Encoding"))
		}
	}))
	defer srv.Close()
	get := func(g *egress.Guard, path string) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "secret")
		resp, err := g.Client().Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	cfg := loopback()
	cfg.MaxBody = 10 << 10
	none := guard(t, cfg)
	cfg.Redirects = 3
	some := guard(t, cfg)
	if code, body, err := get(none, "/"); code != 200 || body != "secret" || err != nil {
		t.Errorf("plain: %d %q %v", code, body, err)
	}
	if code, _, err := get(none, "/metadata"); code != http.StatusFound || err != nil {
		t.Errorf("a redirect that is not followed: %d, %v", code, err)
	}
	if _, _, err := get(some, "/metadata"); !errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), "metadata") {
		t.Errorf("a redirect inside: %v", err)
	}
	if code, body, err := get(some, "/once"); code != 200 || body != "" || err != nil {
		t.Errorf("a redirect that is followed: %d %q %v, want no credentials", code, body, err)
	}
	if _, _, err := get(some, "/round"); err == nil || !strings.Contains(err.Error(), "too many redirects") {
		t.Errorf("redirects in a circle: %v", err)
	}
	if _, body, err := get(none, "/endless"); len(body) != 10<<10 || !errors.Is(err, egress.ErrTooLarge) {
		t.Errorf("an endless body: %d bytes, %v", len(body), err)
	}
	hasty := loopback()
	hasty.Timeout = 20 * time.Millisecond
	var slow net.Error
	if _, _, err := get(guard(t, hasty), "/never"); !errors.As(err, &slow) || !slow.Timeout() {
		t.Errorf("no answer: %v, want it given up", err)
	}
	if _, _, err := get(none, "/header"); err == nil {
		t.Error("a header of 1 MiB passes")
	}
	if _, _, err := get(guard(t, egress.Config{}), "/"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("without the operator's leave: %v", err)
	}
}
