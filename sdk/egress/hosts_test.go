package egress_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/sdk/egress"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]egress.Host{
		"api.example.com": {Name: "api.example.com"}, "API.Example.com.": {Name: "api.example.com"}, "*.example.com:8443": {Name: "*.example.com", Port: 8443},
		"bücher.example": {Name: "xn--bcher-kva.example"}, "intranet:80": {Name: "intranet", Port: 80},
		"8.8.8.8": {Name: "8.8.8.8"}, "8.8.8.8:53": {Name: "8.8.8.8", Port: 53},
		"2606:4700::1111": {Name: "2606:4700::1111"}, "[2606:4700::1111]": {Name: "2606:4700::1111"}, "[2606:4700:0::1111]:443": {Name: "2606:4700::1111", Port: 443},
	} {
		got, err := egress.ParseHost(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		if again, err := egress.ParseHost(got.String()); err != nil || again != got {
			t.Errorf("%s becomes %s, which is %+v, %v", s, got, again, err)
		}
	}
	for _, s := range []string{
		"", "*", "*.", "a.*.com", "**.example.com", "https://example.com", "example.com/", "example.com:", "example.com:0", "example.com:http", "example.com:80-90",
		"127.1", "0x7f.1", "*.1", "a b", "u@example.com", "::ffff:10.0.0.1", "[fe80::1%eth0]:80", "a..b", strings.Repeat("a", 64) + ".com",
	} {
		if got, err := egress.ParseHost(s); err == nil {
			t.Errorf("%q is taken for %+v", s, got)
		}
	}
}

// TestHosts: with a list of hosts nothing else is called, whatever it resolves to;
// a port behind a host is for that host.
func TestHosts(t *testing.T) {
	t.Parallel()
	var hosts []egress.Host
	for _, s := range []string{"api.acme.com", "*.cdn.acme.com", "tools.acme.com:8443", "8.8.4.4"} {
		h, err := egress.ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	g := guard(t, egress.Config{Hosts: hosts})
	for raw, want := range map[string]egress.Rule{
		"https://api.acme.com/": "", "http://API.acme.com./": "", "https://x.cdn.acme.com/": "", "https://y.x.cdn.acme.com/": "", "https://tools.acme.com:8443/": "", "https://8.8.4.4/": "",
		"https://cdn.acme.com/": egress.RuleHost, "https://acme.com/": egress.RuleHost, "https://api.acme.com.evil.com/": egress.RuleHost, "https://xcdn.acme.com/": egress.RuleHost,
		"https://tools.acme.com/": egress.RulePort, "https://api.acme.com:8443/": egress.RulePort, "https://8.8.8.8/": egress.RuleLiteral, "https://127.0.0.1/": egress.RuleAddress,
		"https://metadata.google.internal/": egress.RuleMetadata, "https://redis/": egress.RuleName, "https://u@api.acme.com/": egress.RuleForm,
	} {
		_, err := g.ParseURL(raw)
		var r *egress.Refused
		if errors.As(err, &r); want == "" && err != nil || want != "" && (r == nil || r.Rule != want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	if err := g.Control("8.8.4.4:8443"); err != nil {
		t.Errorf("the port of a host, at the socket: %v", err)
	}
	if err := g.Control("8.8.4.4:22"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("another port: %v", err)
	}
}

// TestProxy: a guard with a proxy asks that for names, and refuses by itself what
// shows without an address; what the proxy says is in the error.
func TestProxy(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "egress")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Host {
		case "inside.acme.com:443":
			w.Header().Set(egress.RuleHeader, string(egress.RuleAddress))
			w.Header().Set(egress.ReasonHeader, "it has the address 10.0.0.1, and it is not a public address")
			w.WriteHeader(http.StatusForbidden)
		case "gone.acme.com:443":
			http.Error(w, "resolve gone.acme.com: no such host", http.StatusBadGateway)
		case "endless.acme.com:443":
			w.Header().Set("X", strings.Repeat("x", 64<<10))
		case "hello.acme.com:80":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil { // with the first word of the other side right behind the answer
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
				conn.Close()
			}
		default:
			<-r.Context().Done()
		}
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	g := guard(t, egress.Config{Proxy: socket, Resolver: resolver(func(name string) []string {
		t.Errorf("%s was resolved here", name)
		return nil
	})})
	conn, err := g.DialContext(t.Context(), "tcp", "Hello.acme.com.:80")
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); string(said) != "hello" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
	conn.Close()
	for place, want := range map[string]string{
		"inside.acme.com:443": `"inside.acme.com" is refused: it has the address 10.0.0.1`, "127.0.0.1:443": "not a public address", "redis:443": "no public name", "hello.acme.com:22": "not one of the ports",
		"gone.acme.com:443": "the host's proxy says: resolve gone.acme.com: no such host", "endless.acme.com:443": "read the answer of the host's proxy",
	} {
		_, err := g.DialContext(t.Context(), "tcp", place)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, egress.ErrRefused) == (strings.Contains(want, "proxy")) {
			t.Errorf("%s: %v, want %q", place, err, want)
		}
	}
	cfg := egress.Config{Proxy: socket, Timeout: 50 * time.Millisecond}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://never.acme.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	var slow net.Error
	if _, err := guard(t, cfg).Client().Do(req); !errors.As(err, &slow) || !slow.Timeout() {
		t.Errorf("a proxy that does not answer: %v", err)
	}
	if _, err := guard(t, egress.Config{Proxy: socket + "-none"}).DialContext(t.Context(), "tcp", "a.acme.com:80"); err == nil || !strings.Contains(err.Error(), "reach the host's proxy") {
		t.Errorf("no proxy: %v", err)
	}
}
