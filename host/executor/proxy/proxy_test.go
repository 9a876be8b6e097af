package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/sdk/egress"
	"github.com/securetaghq/securetag/sdk/egress/egresstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names resolves by what it is; asked counts.
type names struct {
	find  func(name string) []string
	asked atomic.Int32
}

func (n *names) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	n.asked.Add(1)
	var out []netip.Addr
	for _, a := range n.find(strings.TrimSuffix(name, ".")) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// all resolves every name to the same.
func all(addrs ...string) *names { return &names{find: func(string) []string { return addrs }} }

// way is an exit, and the socket at which it is.
type way struct {
	*proxy.Exit
	tally  *proxy.Tally
	socket string
}

func open(t *testing.T, cfg proxy.Config) *way {
	t.Helper()
	cfg.Plugin = "scanner"
	if cfg.Rules.Own == nil {
		cfg.Rules.Own = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr(egresstest.Own)}, nil }
	}
	w := &way{tally: &proxy.Tally{}, socket: filepath.Join(t.TempDir(), "egress")}
	var err error
	if w.Exit, err = proxy.Open(cfg, w.tally, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	w.Serve(l)
	return w
}

func (w *way) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends what is written and gives the answer with its body.
func (w *way) ask(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	conn := w.dial(t)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(request, "CONNECT") {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// client goes through the exit as a tool does that knows HTTP_PROXY.
func (w *way) client() *http.Client {
	at, _ := url.Parse("http://127.0.0.1:3128")
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(at), DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", w.socket)
		},
	}}
}

// near allows what test servers listen on.
func near() egress.Config {
	return egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []egress.Ports{{First: 1, Last: 65535}}}
}

// TestRefused: whatever sdk/egress refuses the proxy refuses as well, in both
// forms of a request, and by the plugin's own client through it.
func TestRefused(t *testing.T) {
	t.Parallel()
	inside := all("10.0.0.1")
	w := open(t, proxy.Config{Rules: egress.Config{Resolver: inside}})
	refused := func(request string) {
		resp, body := w.ask(t, request)
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%.120q: %s %s", request, resp.Status, body)
		}
	}
	urls := egresstest.RefusedURLs()
	for _, raw := range urls {
		refused("GET " + raw + " HTTP/1.1\r\nHost: hooks.acme.com\r\n\r\n")
	}
	if n := inside.asked.Load(); n > 0 {
		t.Errorf("%d names were resolved", n)
	}
	for _, raw := range urls {
		place := strings.TrimLeft(raw[strings.IndexByte(raw, ':')+1:], "/")
		place, _, _ = strings.Cut(place, "/")
		if !strings.Contains(place[strings.IndexByte(place, ']')+1:], ":") {
			place += ":443"
		}
		refused("CONNECT " + place + " HTTP/1.1\r\nHost: hooks.acme.com:443\r\n\r\n")
	}
	addrs := egresstest.RefusedAddresses()
	for _, a := range addrs {
		refused("CONNECT " + net.JoinHostPort(a, "443") + " HTTP/1.1\r\n\r\n")
		rebound := open(t, proxy.Config{Rules: egress.Config{Resolver: all(a), Literals: true}})
		if resp, body := rebound.ask(t, "CONNECT hooks.acme.com:443 HTTP/1.1\r\n\r\n"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "hooks.acme.com") {
			t.Errorf("a name that leads to %s: %s %s", a, resp.Status, body)
		}
		rebound.Close()
	}
	refusedInside(t)
	if len(urls)+len(addrs) < 60 {
		t.Errorf("the table has %d and %d rows", len(urls), len(addrs))
	}
	// Its own client would let these through: names are the proxy's to resolve.
	g, err := egress.New(egress.Config{Proxy: w.socket})
	if err != nil {
		t.Fatal(err)
	}
	var r *egress.Refused
	if _, err := g.DialContext(t.Context(), "tcp", "hooks.acme.com:443"); !errors.As(err, &r) || r.Rule != egress.RuleAddress || !strings.Contains(r.Reason, "10.0.0.1") || !strings.Contains(r.Reason, "egress_networks") {
		t.Errorf("by its own client: %v", err)
	}
	if w.tally.Usage().Connections != 0 || w.tally.Usage().Refused < len(urls) {
		t.Errorf("counted: %+v", w.tally.Usage())
	}
}

// refusedInside asks for what is refused in networks that the operator allowed.
func refusedInside(t *testing.T) {
	rules := egress.Config{Literals: true, Own: own}
	for _, s := range egresstest.Inside() {
		rules.Allow = append(rules.Allow, netip.MustParsePrefix(s))
	}
	for _, a := range egresstest.RefusedInside() {
		rules.Resolver = all(a)
		w := open(t, proxy.Config{Rules: rules})
		for _, place := range []string{net.JoinHostPort(a, "443"), "shop.acme.com:443"} {
			if resp, body := w.ask(t, "CONNECT "+place+" HTTP/1.1\r\n\r\n"); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s in a network that is allowed, as %s: %s %s", a, place, resp.Status, body)
			}
		}
		w.Close()
	}
	rules.Resolver = all("10.1.2.3")
	w := open(t, proxy.Config{Rules: rules})
	want := `it has the address 10.1.2.3, and it is an address of this host, and those must be allowed by themselves, as 10.1.2.3/32, and not with a network; an operator can name it so in egress_networks of the block plugin "scanner"`
	if resp, body := w.ask(t, "CONNECT shop.acme.com:443 HTTP/1.1\r\n\r\n"); resp.Header.Get(egress.RuleHeader) != string(egress.RuleOwn) || !strings.Contains(body, want) || !strings.Contains(resp.Status, want) {
		t.Errorf("%s: %s", resp.Status, body)
	}
}

func own() (out []netip.Addr, _ error) {
	for _, s := range egresstest.OwnInside() {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// TestAdvice: each refusal says which rule it was, and which setting could change
// that.
func TestAdvice(t *testing.T) {
	t.Parallel()
	var hosts []egress.Host
	for _, s := range []string{"api.example.com", "*.cdn.example.com", "tools.example.com:8443", "10.0.0.7", "intranet"} {
		h, err := egress.ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	w := open(t, proxy.Config{Rules: egress.Config{Hosts: hosts, Resolver: all("10.0.0.1")}})
	for place, want := range map[string]string{
		"other.acme.com:443":           `host "other.acme.com" is refused: it is not one of the hosts that may be called; an operator can name it in egress_hosts of the block plugin "scanner"`,
		"cdn.example.com:443":          "host egress_hosts",
		"api.example.com:8443":         "port egress_ports",
		"tools.example.com:443":        "port egress_ports",
		"xcdn.example.com:443":         "host egress_hosts",
		"api.acme.com:443":             "host egress_hosts",
		"a.b.cdn.acme.com:443":         "host egress_hosts",
		"10.0.0.7:443":                 "address egress_networks",
		"intranet:443":                 "name egress_networks",
		"8.8.8.8:443":                  "literal egress_literals",
		"metadata.google.internal:443": "metadata no setting allows that",
		"169.254.169.254:80":           "metadata no setting allows that",
		"api.example.com":              "form not host:port",
		"api.example.com:https":        "",
	} {
		resp, body := w.ask(t, "CONNECT "+place+" HTTP/1.1\r\n\r\n")
		rule, said, _ := strings.Cut(want, " ")
		if want == "" {
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s", place, resp.Status)
			}
			continue
		}
		if resp.StatusCode != http.StatusForbidden || resp.Header.Get(egress.RuleHeader) != rule || !strings.Contains(body, said) || !strings.Contains(resp.Status, said) {
			t.Errorf("%s: %s, %s, %q; want %q", place, resp.Status, resp.Header.Get(egress.RuleHeader), body, want)
		}
	}
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n":                           "400 it takes CONNECT",
		"GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n":    "400 for https ask with CONNECT",
		"GET http://other.acme.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n":      "403 egress_hosts",
		"GET ftp://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n":      "400 http://",
		"CONNECT /x HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n":                  "403 not host:port",
		"GET http://u:p@api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n": "403 a user name or a password",
	} {
		resp, body := w.ask(t, request)
		if code, said, _ := strings.Cut(want, " "); strconv.Itoa(resp.StatusCode) != code || !strings.Contains(body, said) {
			t.Errorf("%q: %s %q, want %s", request, resp.Status, body, want)
		}
	}
}

// TestThrough: what is allowed arrives as it was sent, is counted, and comes back
// as it was; over https the plugin sees the site's own certificate.
func TestThrough(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "<html>%s %s %s %q %q %q %s", r.Method, r.RequestURI, r.Host, r.Header["X-Forwarded-For"], r.Header["Proxy-Connection"], r.Header["User-Agent"], body)
	})
	plain, sealed := httptest.NewServer(h), httptest.NewTLSServer(h)
	defer plain.Close()
	defer sealed.Close()
	rules := near()
	w := open(t, proxy.Config{Rules: rules})
	end := w.Begin(nil)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, plain.URL+"/a;b?c=%zz;d", strings.NewReader("sent"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	req.Header.Set("Proxy-Connection", "keep-alive")
	req.Header["User-Agent"] = nil
	resp, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	want := "<html>POST /a;b?c=%zz;d " + strings.TrimPrefix(plain.URL, "http://") + ` ["192.0.2.1"] [] [] sent`
	if err != nil || string(body) != want {
		t.Errorf("plain: %q, %v; want %q", body, err, want)
	}
	if resp.Header["Date"] != nil || resp.Header["Content-Type"] != nil {
		t.Errorf("the proxy has put in headers: %v", resp.Header)
	}

	rules.Proxy, rules.TLS = w.socket, sealed.Client().Transport.(*http.Transport).TLSClientConfig
	g, err := egress.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{plain.URL, sealed.URL} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.HasPrefix(string(body), "<html>GET / ") || strings.HasPrefix(at, "https") && !resp.TLS.PeerCertificates[0].Equal(sealed.Certificate()) {
			t.Errorf("%s by its own client: %q", at, body)
		}
	}
	u := end()
	if u.Connections != 3 || u.Refused != 0 || u.Sent < 200 || u.Received < 500 || u != w.tally.Usage() {
		t.Errorf("counted %+v, in all %+v", u, w.tally.Usage())
	}
	if u := w.Begin(nil)(); u != (proxy.Usage{}) {
		t.Errorf("the next job begins with %+v", u)
	}
}

// TestRebinding: the name is resolved once for a connection, what was looked at
// is dialled, and the next answer of the name server is looked at again.
func TestRebinding(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	n := &names{}
	n.find = func(string) []string {
		if n.asked.Load() == 1 {
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.2"}
	}
	rules := near()
	rules.Allow, rules.Resolver = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, n
	w := open(t, proxy.Config{Rules: rules})
	request := "GET http://rebind.acme.com:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	if resp, body := w.ask(t, request); resp.StatusCode != http.StatusOK || n.asked.Load() != 1 {
		t.Errorf("%s %q after %d lookups", resp.Status, body, n.asked.Load())
	}
	if resp, body := w.ask(t, request); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "127.0.0.2") {
		t.Errorf("rebound: %s %q", resp.Status, body)
	}
}

// echo answers every connection with what it sends, until it says no more.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // and with the connection, which the exit closes
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// tunnel opens one and reads the answer to CONNECT.
func (w *way) tunnel(t *testing.T, to string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := w.dial(t)
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\nfirst", to) // with what it cannot wait to say
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v, %v", resp, err)
	}
	if b := make([]byte, 5); true {
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "first" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	return conn, r
}

// TestTunnel: one side may stop before the other; silence, age, the end of the job
// and of the process each end it.
func TestTunnel(t *testing.T) {
	t.Parallel()
	to := echo(t)
	half := open(t, proxy.Config{Rules: near()})
	conn, r := half.tunnel(t, to)
	_, _ = io.WriteString(conn, "last")
	_ = conn.(*net.UnixConn).CloseWrite()
	if rest, err := io.ReadAll(r); string(rest) != "last" || err != nil {
		t.Errorf("half closed: %q, %v", rest, err)
	}
	for name, tt := range map[string]struct {
		cfg proxy.Config
		end func(*way)
	}{
		"silence": {proxy.Config{Idle: 50 * time.Millisecond}, nil},
		"age":     {proxy.Config{Total: 50 * time.Millisecond}, nil},
		"job":     {proxy.Config{}, func(w *way) { w.Begin(nil)() }},
		"process": {proxy.Config{}, (*way).close},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Rules = near()
			w := open(t, tt.cfg)
			_, r := w.tunnel(t, to)
			if tt.end != nil {
				tt.end(w)
			}
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("%q was heard", rest)
			}
		})
	}
}

func (w *way) close() { w.Close() }

// TestBounds: bytes of a job, connections of a process, headers in size and time.
func TestBounds(t *testing.T) {
	t.Parallel()
	big := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
	defer big.Close()
	w := open(t, proxy.Config{Rules: near(), Bytes: 64 << 10})
	end := w.Begin(nil)
	get := func() (*http.Response, int64) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, big.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		n, _ := io.Copy(io.Discard, resp.Body)
		return resp, n
	}
	if _, n := get(); n == 0 || n > 64<<10 {
		t.Errorf("%d bytes came", n)
	}
	if resp, _ := get(); resp.StatusCode != http.StatusForbidden {
		t.Errorf("afterwards: %s", resp.Status)
	}
	if resp, body := w.ask(t, "CONNECT "+strings.TrimPrefix(big.URL, "http://")+" HTTP/1.1\r\n\r\n"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "egress_bytes") {
		t.Errorf("CONNECT: %s %q", resp.Status, body)
	}
	if u := end(); u.Sent+u.Received != 64<<10 || u.Refused != 2 {
		t.Errorf("counted %+v", u)
	}
	end = w.Begin(nil)
	if _, n := get(); n == 0 {
		t.Error("the next job has no bytes of its own")
	}
	end()

	few := open(t, proxy.Config{Rules: near(), Connections: 2})
	to := echo(t)
	first, _ := few.tunnel(t, to)
	few.tunnel(t, to)
	if resp, body := few.ask(t, "CONNECT "+to+" HTTP/1.1\r\n\r\n"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "2 connections") {
		t.Errorf("the third: %s %q", resp.Status, body)
	}
	first.Close()

	long := open(t, proxy.Config{Rules: near(), Header: 4 << 10})
	if resp, _ := long.ask(t, "GET http://127.0.0.1/ HTTP/1.1\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long header: %s", resp.Status)
	}
}
