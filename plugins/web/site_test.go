package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home resolves every name to this machine, where the test sites are.
type home struct{}

func (home) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// site is a site under test: its handler over https, and what answers over http.
type site struct {
	url  string // of the start page
	env  environment
	http string   // its origin over http
	only []string // hosts that the tenant may have scanned; none: nobody says

	mu    sync.Mutex
	asked []string // paths with their queries, in order
}

// serve starts one. cfg nil: http alone. plain nil: nothing answers over http.
func serve(t *testing.T, name string, handler, plain http.Handler, cfg *tls.Config) *site {
	t.Helper()
	s := &site{env: environment{resolver: home{}, plain: func(string) string { return "" }}}
	start := func(h http.Handler, cfg *tls.Config) (port string) {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.asked = append(s.asked, r.URL.RequestURI())
			s.mu.Unlock()
			h.ServeHTTP(w, r)
		}))
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are what is tested
		if cfg == nil {
			srv.Start()
		} else {
			srv.TLS = cfg
			srv.StartTLS()
		}
		t.Cleanup(srv.Close)
		_, port, _ = net.SplitHostPort(srv.Listener.Addr().String())
		return port
	}
	if plain != nil {
		port := start(plain, nil)
		s.http, s.url = "http://"+name+":"+port, "http://"+name+":"+port+"/"
		s.env.plain = func(string) string { return port }
	}
	if handler != nil {
		s.url = "https://" + name + ":" + start(handler, cfg) + "/"
	}
	return s
}

func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.asked...)
}

// scan scans the site as an operator would who allowed this machine.
func (s *site) scan(t *testing.T, config, options map[string]any) sdktest.Result {
	t.Helper()
	all := map[string]any{"allow_networks": []string{"127.0.0.0/8"}, "ports": []string{"1-65535"}, "requests_per_second": 1000}
	for k, v := range config {
		all[k] = v
	}
	c, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	o, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	if options == nil {
		o = nil
	}
	return sdktest.Run(t, scanner(s.env), sdktest.Request{URL: s.url, Config: string(c), Options: string(o), PermittedHosts: s.only})
}

// authority signs certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// sign makes a certificate; short: with a key that is too short.
func (a *authority) sign(t *testing.T, name string, from, to time.Time, short bool) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if short {
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// htmlPage answers with HTML.
func htmlPage(body string) http.HandlerFunc { return text("text/html; charset=utf-8", body) }

func text(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	}
}

// The secrets of the weak site, none of which may be shown. They are put together
// here so that no scanner finds them in this file.
func planted() map[string]string {
	return map[string]string{
		"env": "hunter2" + "correcthorse", "aws": "AKIA" + "Q3EGRIZ7WT5KHJMN", "cookie": "c0ffee" + "0123456789", "token": "t0ken" + "abcdef123456",
		"repo": "gitp4ss" + "word99",
	}
}

// weakSite has every weakness once, with pages that link to them.
func weakSite(t *testing.T) http.Handler {
	t.Helper()
	p := planted()
	mux := http.NewServeMux()
	pages := map[string]http.HandlerFunc{
		"/{$}": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "Apache/2.4.49 (Unix)")
			w.Header().Set("X-Powered-By", "PHP/7.2.1")
			w.Header().Set("Referrer-Policy", "unsafe-url")
			w.Header().Add("Set-Cookie", "sessionid="+p["cookie"]+"; Path=/")
			w.Header().Add("Set-Cookie", "theme=dark; Path=/; Secure; HttpOnly; SameSite=Lax")
			w.Header().Add("Set-Cookie", "__Host-id="+p["cookie"]+"; Path=/app; Secure; HttpOnly; SameSite=Lax")
			htmlPage(`<!doctype html><title>Weak</title>
<script src="https://cdn.example.net/jquery-1.12.4.min.js"></script>
<script src="/static/lodash.js"></script>
<img src="http://images.example.net/logo.png"><script src="http://cdn.example.org/app.js" integrity="sha384-x"></script>
<a href="/search?q=hello&page=1">search</a> <a href="/go?next=/home">go</a> <a href="/policy">policy</a>
<a href="/files/report.txt">files</a> <a href="/api/me?access_token=`+p["token"]+`">me</a> <a href="/login">login</a>
<a href="/index.php">php</a> <a href="/broken?id=1">broken</a> <a href="/js?cb=x">js</a> <a href="/safe?q=1">safe</a>
<a href="/private/area?next=/x">private</a> <a href="https://other.example.net/">other</a> <a href="mailto:a@example.com">mail</a>`)(w, r)
		},
		"/search": func(w http.ResponseWriter, r *http.Request) {
			htmlPage("<p>Results for <b>"+r.URL.Query().Get("q")+"</b></p>")(w, r)
		},
		"/safe": func(w http.ResponseWriter, r *http.Request) {
			htmlPage("<p>"+strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(r.URL.Query().Get("q"))+"</p>")(w, r)
		},
		"/js": func(w http.ResponseWriter, r *http.Request) {
			htmlPage("<script>var cb = \""+strings.ReplaceAll(r.URL.Query().Get("cb"), "<", "\\u003c")+"\";</script>")(w, r)
		},
		"/go": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Query().Get("next"))
			w.WriteHeader(http.StatusFound)
		},
		"/policy": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src *; script-src * 'unsafe-inline' 'unsafe-eval'; object-src *")
			htmlPage("<p>policy</p>")(w, r)
		},
		"/api/me": func(w http.ResponseWriter, r *http.Request) {
			if o := r.Header.Get("Origin"); o != "" {
				w.Header().Set("Access-Control-Allow-Origin", o)
				w.Header().Set("Access-Control-Allow-Credentials", "true")
			}
			text("application/json", `{"user": "me", "key": "`+p["aws"]+`", "backend": "http://10.1.2.3:8080/api"}`)(w, r)
		},
		"/login":            htmlPage(`<form action="http://weak.test/login" method="post"><input name="user"><input type="password" name="pw"></form><form><input type="password" name="pin"></form>`),
		"/files/":           htmlPage("<title>Index of /files/</title><h1>Index of /files/</h1><a href=\"../\">../</a><a href=\"report.txt\">report.txt</a>"),
		"/files/report.txt": text("text/plain", "a report"),
		"/index.php":        htmlPage("<p>php</p>"),
		"/index.php.bak":    text("text/plain", "<?php\n$password = '"+p["env"]+"';\n"),
		"/broken": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Query().Get("id"), "'") {
				w.WriteHeader(http.StatusInternalServerError)
				htmlPage("<pre>You have an error in your SQL syntax near ''' at line 1\nTraceback (most recent call last):\n  File \"/srv/app.py\", line 3</pre>")(w, r)
				return
			}
			htmlPage("<p>fine</p>")(w, r)
		},
		"/static/lodash.js": text("text/javascript", "/*! lodash 4.17.4 */\nvar _ = {};"),
		"/robots.txt":       text("text/plain", "User-agent: *\nDisallow: /private/\n"),
		"/.git/HEAD":        text("text/plain", "ref: refs/heads/main\n"),
		"/.git/config":      text("text/plain", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://ci:"+p["repo"]+"@git.example.com/app\n"),
		"/.env":             text("text/plain", "# app\nDB_PASSWORD="+p["env"]+"\nexport AWS_KEY="+p["aws"]+"\n"),
		"/id_rsa":           text("text/plain", "-----BEGIN RSA PRIVATE KEY-----\n"+strings.Repeat("A", 64)+"\n"),
		"/backup.zip":       text("application/zip", "PK\x03\x04"+strings.Repeat("\x00\xff", 100_000)),
		"/dump.sql":         text("text/plain", "-- MySQL dump 10.13\nCREATE TABLE users (id int);\n"),
		"/server-status":    htmlPage("<title>Apache Status</title>"),
		"/metrics":          text("text/plain", "# HELP go_goroutines Number\n# TYPE go_goroutines gauge\ngo_goroutines 8\n"),
	}
	for path, h := range pages {
		mux.Handle(path, h)
	}
	return mux
}

// hardenedSite has the same pages, done well.
func hardenedSite(t *testing.T, origin *string) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	escaped := func(param string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			htmlPage("<p>"+strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(r.URL.Query().Get(param))+"</p>")(w, r)
		}
	}
	for path, h := range map[string]http.HandlerFunc{
		"/{$}": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "Apache")
			w.Header().Add("Set-Cookie", "__Host-session="+planted()["cookie"]+"; Path=/; Secure; HttpOnly; SameSite=Lax")
			htmlPage(`<!doctype html><title>Hardened</title>
<script src="https://cdn.example.net/jquery-3.7.1.min.js" integrity="sha384-x" crossorigin="anonymous"></script>
<script src="/static/lodash.js"></script><img src="https://images.example.net/logo.png">
<a href="/search?q=hello&page=1">search</a> <a href="/go?next=/home">go</a> <a href="/files/report.txt">files</a>
<a href="/api/me">me</a> <a href="/login">login</a> <a href="/index.php">php</a> <a href="/broken?id=1">broken</a>
<p>How to read "Traceback (most recent call last):" and Index of /files, 192.168.1.1 and the 10.0 release.</p>`)(w, r)
		},
		"/search": escaped("q"), "/broken": escaped("id"), "/home": escaped("x"), "/index.php": htmlPage("<p>php</p>"),
		"/go": func(w http.ResponseWriter, r *http.Request) {
			next := r.URL.Query().Get("next")
			if u, err := url.Parse(next); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) {
				next = "/home"
			}
			http.Redirect(w, r, next, http.StatusFound)
		},
		"/api/me":           text("application/json", `{"user": null}`),
		"/login":            htmlPage(`<form method="post"><input name="user"><input type="password" name="pw"></form>`),
		"/files/report.txt": text("text/plain", "a report"),
		"/static/lodash.js": text("text/javascript", "/*! lodash 4.17.21 */\nvar _ = {};"),
	} {
		mux.Handle(path, h)
	}
	// Whatever else is asked for is answered 200 with a page, as many sites do: a
	// scanner that goes by the status finds everything here.
	mux.HandleFunc("/", htmlPage("<!doctype html><title>Not found</title><p>There is no such page: ref: refs/ [core] PK INSERT INTO.</p>"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' https://cdn.example.net; object-src 'none'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
		if o := r.Header.Get("Origin"); o != "" && o == *origin {
			h.Set("Access-Control-Allow-Origin", o)
		}
		mux.ServeHTTP(w, r)
	})
}

// golden reads what is expected; WEB_GOLDEN=write writes it.
func golden(t *testing.T, path, got string) (want string) {
	t.Helper()
	if os.Getenv("WEB_GOLDEN") == "write" && got != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
