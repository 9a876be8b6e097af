package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

func ruleIDs(r sdktest.Result) []string {
	var out []string
	for _, f := range r.Findings {
		if !slices.Contains(out, f.Rule) {
			out = append(out, f.Rule)
		}
	}
	slices.Sort(out)
	return out
}

func bomb() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("<html><a href=/next>next</a>"))
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	return b.Bytes()
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestHostileStart: a first page that cannot be had is a failed scan and never a
// clean one; one that does not end is looked at as far as it goes.
func TestHostileStart(t *testing.T) {
	t.Parallel()
	zipped := bomb()
	for name, tt := range map[string]struct {
		handler   http.HandlerFunc
		status    string
		reason    string
		retryable bool
	}{
		"hangs": {hang, sdktest.Failed, "no answer in time", true},
		"hangs in a body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "<html>")
			w.(http.Flusher).Flush()
			hang(w, r)
		}, sdktest.Failed, "read the answer", true},
		"hangs up": {func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				c.Close()
			}
		}, sdktest.Failed, "ask for http://site.test:", true},
		"says no HTTP": {func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n")
				c.Close()
			}
		}, sdktest.Failed, "malformed", true},
		"streams for ever": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("<p>more", 1000)); err != nil {
					return
				}
			}
		}, sdktest.Partial, "larger than max_body", false},
		"gzip bomb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped)
		}, sdktest.Partial, "larger than max_body", false},
		"headers for ever": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}, sdktest.Failed, "server response headers exceeded", true},
		"redirects in a circle": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, sdktest.Failed, "redirects more than 5 times", false},
		"redirects for ever":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, sdktest.Failed, "redirects more than 5 times", false},
		"redirects to another site": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example.net/?token=abcdef", http.StatusFound)
		}, sdktest.Failed, "https://other.example.net/?token=****, which is another site", false},
		"redirects to a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, sdktest.Failed, "another site", false},
		"redirects to metadata": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}, sdktest.Failed, "another site", false},
		"fails":         {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, sdktest.Failed, "answers 502 Bad Gateway", true},
		"wants less":    {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, sdktest.Failed, "answers 429", true},
		"wants a login": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, sdktest.Partial, "answers 401 Unauthorized: only what everybody may see", false},
		"is not there":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }, sdktest.Partial, "answers 404", false},
		"broken location": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://[::1")
			w.WriteHeader(http.StatusFound)
		}, sdktest.Failed, "another site", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "site.test", nil, tt.handler, nil)
			timeout := "1m"
			if strings.HasPrefix(name, "hangs") {
				timeout = "300ms"
			}
			r := s.scan(t, map[string]any{"request_timeout": timeout, "max_body": "64KiB"}, map[string]any{"passive": true})
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.reason) || r.Retryable != tt.retryable {
				t.Errorf("%s (retryable %t): %s, want %s: %s", r.Status, r.Retryable, r.Reason, tt.status, tt.reason)
			}
			if r.Status == sdktest.Failed && !slices.ContainsFunc(r.Artifacts, func(a sdktest.Artifact) bool { return a.Name == "requests.har" }) {
				t.Error("no archive of what was tried")
			}
		})
	}
}

// TestUnreachable: nobody is there.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://site.test:" + strings.TrimPrefix(l.Addr().String(), "127.0.0.1:") + "/"
	l.Close()
	s := &site{url: closed, env: environment{resolver: home{}, plain: func(string) string { return "" }}}
	if r := s.scan(t, nil, nil); r.Status != sdktest.Failed || !r.Retryable || !strings.Contains(r.Reason, "connection refused") {
		t.Errorf("%+v", r)
	}
}

// TestRefused: what the operator did not allow is refused for good, before and
// after its name is resolved.
func TestRefused(t *testing.T) {
	t.Parallel()
	env := environment{resolver: home{}, plain: func(string) string { return "" }}
	for url, want := range map[string]string{
		"http://127.0.0.1/": "not a public address", "http://localhost/": "no public name", "http://2130706433/": "unusual form",
		"https://shop.example.com:8443/": "not one of the ports", "https://user@shop.acme.com/": "user name", "http://8.8.8.8/": "write the name",
		"http://169.254.169.254/": "metadata", "https://shop.acme.com/": "it has the address 127.0.0.1", "http://[::1]/": "not a public address",
	} {
		r := sdktest.Run(t, scanner(env), sdktest.Request{URL: url})
		if r.Status != sdktest.Refused || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s %s, want %q", url, r.Status, r.Reason, want)
		}
	}
	// A network that is allowed does not open what this machine is in it.
	r := sdktest.Run(t, scanner(env), sdktest.Request{URL: "https://shop.acme.com/", Config: `{"allow_networks": ["64.0.0.0/2"]}`})
	if r.Status != sdktest.Refused || !strings.Contains(r.Reason, "it has the address 127.0.0.1, and it is an address of this host") {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
	r = sdktest.Run(t, scanner(env), sdktest.Request{URL: "https://shop.acme.com/", Options: `{"hosts": ["a/b"]}`})
	if r.Status != sdktest.Refused || !strings.Contains(r.Reason, "option hosts") {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
}

// rebinding gives this machine for the first lookups and then one that is not
// allowed.
type rebinding struct{ left int }

func (r *rebinding) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if r.left--; r.left >= 0 {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
}

func TestRebinding(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that the name is resolved for each
		htmlPage(`<a href="/a">a</a>`)(w, r)
	}), nil)
	s.env.resolver = &rebinding{left: 1}
	r := s.scan(t, nil, nil)
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "it has the address 10.0.0.1") }) || slices.Contains(s.requests(), "/a") {
		t.Errorf("%+v, asked %v", r, s.requests())
	}
	if r.Status != sdktest.Partial {
		t.Errorf("%s: what could not be asked for was not looked at", r.Status)
	}
}

// TestHostilePages: a site with traps behind its first page ends, and is partial.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pages  map[string]http.HandlerFunc
		config map[string]any
		reason string
	}{
		"a maze":        {map[string]http.HandlerFunc{"/": maze}, map[string]any{"max_pages": 7}, "more than 7 pages (max_pages): 8 links were not followed"},
		"a deep one":    {map[string]http.HandlerFunc{"/": line}, map[string]any{"max_depth": 3}, "more than 3 links from the first one"},
		"a page hangs":  {map[string]http.HandlerFunc{"/{$}": htmlPage(`<a href="/hang">x</a>`), "/hang": hang}, map[string]any{"request_timeout": "200ms"}, "requests failed"},
		"all hang":      {map[string]http.HandlerFunc{"/{$}": htmlPage(links("/hang/", 20)), "/robots.txt": http.NotFound, "/": hang}, map[string]any{"request_timeout": "100ms"}, "the site stopped answering"},
		"no more time":  {map[string]http.HandlerFunc{"/{$}": htmlPage(`<a href="/hang">x</a>`), "/hang": hang}, map[string]any{"max_time": "1s"}, "longer than max_time"},
		"no more turns": {map[string]http.HandlerFunc{"/": maze}, map[string]any{"requests_per_second": 0.5, "max_time": "1s"}, "longer than max_time"},
		"too many":      {map[string]http.HandlerFunc{"/": maze}, map[string]any{"max_requests": 10}, "more than max_requests, 10: not looked at, or not whole: links, TLS, https, CORS"},
		"wants less": {map[string]http.HandlerFunc{"/{$}": htmlPage(`<a href="/x">x</a>`), "/x": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
		}}, nil, "1 requests were answered 429"},
		"robots fail": {map[string]http.HandlerFunc{"/{$}": htmlPage(`<a href="/x">x</a>`), "/robots.txt": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}}, nil, "robots.txt answers 500"},
		"large": {map[string]http.HandlerFunc{"/{$}": htmlPage(`<a href="/x">x</a>`), "/x": htmlPage(strings.Repeat("x", 5000))}, map[string]any{"max_body": "4KiB"}, "larger than max_body"},
		"an encoding": {map[string]http.HandlerFunc{"/{$}": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			htmlPage("\x0b\x02\x80hello\x03")(w, r)
		}}, nil, "answers came in an encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			for path, h := range tt.pages {
				mux.HandleFunc(path, h)
			}
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, tt.config, map[string]any{"passive": true})
			if r.Status != sdktest.Partial || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s, want %q", r.Status, r.Reason, tt.reason)
			}
			if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "grade at most ") }) {
				t.Errorf("the grade is taken for that of the whole: %q", r.Notes)
			}
		})
	}
}

// maze has ever more pages, each with links to two more.
func maze(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/robots.txt" {
		http.NotFound(w, r)
		return
	}
	htmlPage(fmt.Sprintf(`<a href="%[1]sa/">a</a><a href="%[1]sb/">b</a>`, r.URL.Path))(w, r)
}

func line(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/robots.txt" {
		http.NotFound(w, r)
		return
	}
	htmlPage(fmt.Sprintf(`<a href="%sa/">a</a>`, r.URL.Path))(w, r)
}

func links(to string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<a href=\"%s%d\">x</a>", to, i)
	}
	return b.String()
}

// TestScope: what is asked for, of a page with links of every kind.
func TestScope(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/robots.txt":
			text("text/plain", "User-agent: SecureTag-Web\nDisallow: /no/\nAllow: /no/but/\n\nUser-agent: *\nDisallow: /\n")(w, r)
		case "/":
			_, port, _ := strings.Cut(r.Host, ":")
			htmlPage(strings.ReplaceAll(`<base href="/sub/">
<a href="page">a</a> <a href="./page#part">same</a> <a href="http://SITE.test:PORT/sub/page">same</a> <a href="/sub/../top">b</a>
<a href="http://more.test:PORT/x">more</a> <a href="http://evil.test:PORT/x">evil</a> <a href="http://site.test.evil.test:PORT/">evil</a>
<a href="//evil.test:PORT/y">evil</a> <a href="javascript:alert(1)">js</a> <a href="data:text/html,x">data</a> <a href="http://u:p@site.test:PORT/z">user</a>
<a href="/no/1">no</a> <a href="/no/but/2">but</a> <a href="/logo.png">media</a> <a href="http://[::1/">broken</a> <a href="\evil">odd</a>
<iframe src="/frame"></iframe> <script src="/app.js"></script> <link rel="stylesheet" href="/style.css"> <meta http-equiv="refresh" content="0; url='/refreshed'">
<form action="/find"><input name="q"></form><form action="/post" method="post"><input name="q"></form>`, "PORT", port))(w, r)
		default:
			text("text/plain", "x")(w, r)
		}
	}), nil)
	// The second host is resolved to the same server.
	_, port, _ := strings.Cut(strings.TrimSuffix(s.url, "/")[7:], ":")
	r := s.scan(t, nil, map[string]any{"passive": true, "hosts": []string{"more.test:" + port}})
	asked := s.requests()
	slices.Sort(asked)
	want := []string{"/", "/", "/app.js", "/app.js", "/evil", "/frame", "/frame", "/no/but/2", "/no/but/2", "/refreshed", "/refreshed", "/robots.txt", "/robots.txt", "/sub/page", "/sub/page", "/top", "/x", "/x"}
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(asked)); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(r.Notes, "1 links were not followed because robots.txt asks so") {
		t.Errorf("notes %q", r.Notes)
	}
	before := len(s.requests())
	s.scan(t, map[string]any{"ignore_robots": true}, map[string]any{"passive": true})
	if again := s.requests()[before:]; !slices.Contains(again, "/no/1") || slices.Contains(again, "/robots.txt") {
		t.Errorf("without robots: %v", again)
	}
}

// TestFewer: a client may ask for less than the operator allows, and not for more.
func TestFewer(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(maze), nil)
	for _, tt := range []struct{ operator, client, want int }{{5, 0, 5}, {5, 3, 3}, {3, 9, 3}} {
		r := s.scan(t, map[string]any{"max_pages": tt.operator}, map[string]any{"max_pages": tt.client, "passive": true})
		if !strings.Contains(r.Reason, fmt.Sprintf("more than %d pages", tt.want)) {
			t.Errorf("%+v: %s", tt, r.Reason)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(maze), nil)
	r := sdktest.Run(t, scanner(s.env), sdktest.Request{
		URL: s.url, Config: `{"allow_networks": ["127.0.0.0/8"], "ports": ["1-65535"]}`,
		CancelAt: func(ev *pluginv1.ScanEvent) bool { return ev.GetProgress().GetDone() > 0 },
	})
	if r.Status != sdktest.Canceled || r.Reason != "cancelled: the test" {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

// TestWWW: the same site with www is the same site, and a longer name is not.
func TestWWW(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, port, _ := strings.Cut(r.Host, ":")
		if r.URL.Path == "/evil" {
			http.Redirect(w, r, "http://www.site.test.evil.test:"+port+"/", http.StatusFound)
		} else if name == "site.test" {
			http.Redirect(w, r, "http://www.site.test:"+port+"/", http.StatusMovedPermanently)
		} else {
			htmlPage("hello")(w, r)
		}
	}), nil)
	if r := s.scan(t, nil, map[string]any{"passive": true}); r.Status != sdktest.Succeeded || !slices.Contains(ruleIDs(r), "csp-missing") {
		t.Errorf("%s: %s %v", r.Status, r.Reason, ruleIDs(r))
	}
	s.url += "evil"
	if r := s.scan(t, nil, nil); r.Status != sdktest.Failed || !strings.Contains(r.Reason, "another site") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}
