package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// heard is what arrived of a login at some site.
type heard struct {
	mu   sync.Mutex
	with map[string]int // requests with it, by host
	all  map[string]int
}

func (h *heard) listen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.all[r.Host]++
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Login") != "" || r.Header.Get("Cookie") != "" {
			h.with[r.Host]++
		}
		h.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// The canary is put together here so that no scanner finds it in this file.
func canary() string { return "c4nary/" + "0123+456&789" }

// TestLoginOrigin: the login goes to the target's scheme, host and port, and to
// nothing else that belongs to the site, links, redirects or the option hosts.
func TestLoginOrigin(t *testing.T) {
	t.Parallel()
	h := &heard{with: map[string]int{}, all: map[string]int{}}
	var own, otherPort string
	beside := serve(t, "site.test", nil, h.listen(htmlPage("another port")), nil)
	otherPort = beside.http
	s := serve(t, "site.test", nil, h.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.Host, "site.test") && r.URL.Path == "/away":
			http.Redirect(w, r, otherPort+"/away", http.StatusFound)
		case strings.HasPrefix(r.Host, "site.test") && r.URL.Path == "/":
			htmlPage(fmt.Sprintf(`<a href="/mine">a</a> <a href="/away">b</a> <a href="%s/port">c</a> <a href="%s/host">d</a> <a href="%s/sub">e</a>`,
				otherPort, strings.Replace(own, "site.test", "other.test", 1), strings.Replace(own, "site.test", "a.site.test", 1))).ServeHTTP(w, r)
		default:
			htmlPage("page").ServeHTTP(w, r)
		}
	})), nil)
	own = s.http
	port := urlPort(t, own)
	r := s.scan(t, nil, map[string]any{
		"hosts":   []string{"other.test:" + port, "a.site.test:" + port, strings.TrimPrefix(otherPort, "http://")},
		"headers": map[string]string{"authorization": "Bearer " + canary(), "X-Login": canary()}, "cookies": map[string]string{"session": "abcdefgh"},
	})
	if r.Status != sdktest.Succeeded {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
	for host, n := range h.all {
		if want := "site.test:" + port; host == want && h.with[host] != n || host != want && h.with[host] > 0 {
			t.Errorf("%s heard the login in %d of %d requests", host, h.with[host], n)
		}
	}
	if len(h.all) != 4 {
		t.Errorf("asked %v", h.all)
	}
}

// TestLoginElsewhere: a target that leads to another origin is not scanned as
// somebody, and the scan says so.
func TestLoginElsewhere(t *testing.T) {
	t.Parallel()
	h := &heard{with: map[string]int{}, all: map[string]int{}}
	s := serve(t, "site.test", nil, h.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "site.test") {
			http.Redirect(w, r, "http://www."+r.Host+"/", http.StatusFound)
			return
		}
		htmlPage("page").ServeHTTP(w, r)
	})), nil)
	r := s.scan(t, nil, map[string]any{"passive": true, "headers": map[string]string{"X-Login": "abcdefgh"}})
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "scan that one") {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
	if with := h.with["www.site.test:"+urlPort(t, s.http)]; with > 0 {
		t.Errorf("the other origin heard the login %d times", with)
	}
}

// TestLoginIsHidden: whatever the site repeats, and how, nothing of a result has it.
func TestLoginIsHidden(t *testing.T) {
	t.Parallel()
	c := canary()
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + c))
	forms := []string{c, url.QueryEscape(c), url.PathEscape(c), strings.ToLower(url.QueryEscape(c)), strings.ReplaceAll(c, "&", "&amp;"), strings.ReplaceAll(c, "/", `\/`),
		base64.StdEncoding.EncodeToString([]byte(c)), basic}
	echo := strings.Join(forms, "\n")
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && (r.Header.Get("Authorization") != "Basic "+basic || r.Header.Get("Cookie") != "id="+base64.RawURLEncoding.EncodeToString([]byte(c))) {
			t.Errorf("headers %v", r.Header)
		}
		w.Header().Set("X-Echo", c)
		w.Header().Set("X-"+base64.RawURLEncoding.EncodeToString([]byte(c)), "x")
		w.Header().Set("Location", "/in?next="+url.QueryEscape(c))
		w.Header().Add("Set-Cookie", "a="+base64.RawURLEncoding.EncodeToString([]byte(c)))
		htmlPage(`<a href="/x?q=`+url.QueryEscape(c)+`">x</a><form action="http://site.test/`+url.PathEscape(c)+`"><input type=password></form>Traceback (most recent call last): password=`+echo).ServeHTTP(w, r)
	}), nil)
	r := s.scan(t, nil, map[string]any{
		"headers": map[string]string{"Authorization": "Basic " + basic}, "cookies": map[string]string{"id": base64.RawURLEncoding.EncodeToString([]byte(c))},
	})
	if r.Status != sdktest.Succeeded || len(r.Findings) == 0 {
		t.Errorf("%s %s", r.Status, r.Reason)
	}
	text, err := json.Marshal(r.Findings)
	if err != nil {
		t.Fatal(err)
	}
	all := string(text) + fmt.Sprint(r.Findings, r.Notes, r.Reason)
	for _, a := range r.Artifacts {
		all += string(a.Data)
	}
	for _, form := range append(forms, base64.RawURLEncoding.EncodeToString([]byte(c))) {
		if i := strings.Index(all, form); i >= 0 {
			t.Errorf("%q is shown: %q", form, all[max(0, i-200):i+len(form)])
		}
	}
	for _, path := range s.requests() {
		if strings.Contains(path, "c4nary") {
			t.Errorf("asked for %s", path)
		}
	}
}

// TestLoginCut: a body that ends in the middle of a value keeps nothing of it.
func TestLoginCut(t *testing.T) {
	t.Parallel()
	l, err := newLogin(&url.URL{Scheme: "https", Host: "site.test"}, &Options{Headers: map[string]string{"X-Login": "abcdefghij"}})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{"x abcdefgh": "x ****", "x abcd": "x ****", "x abc": "x abc", "abcdefghijabcde": "********", "": ""} {
		ex := &exchange{body: []byte(body), cut: true}
		if l.scrub(ex); string(ex.body) != want {
			t.Errorf("%q: %q, want %q", body, ex.body, want)
		}
	}
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, htmlPage("x"), nil)
	many := map[string]string{}
	for i := range maxLoginHeaders + 1 {
		many[fmt.Sprint("X-", i)] = "value"
	}
	headers := []map[string]string{many, {"X-Long": strings.Repeat("s3cret", maxLoginBytes)}, {"": "s3cret"}, {"X Y": "s3cret"}, {"X\n": "s3cret"}, {"X-A": ""}, {"X-A": " s3cret"},
		{"X-A": "s3cret\r\nHost: evil"}, {"X-A": "s3cret\x00"}, {"X-A": "s3cret\x7f"}, {"X-A": "s3cret", "x-a": "s3cret"}}
	for _, name := range []string{"Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer", "Upgrade", "Expect",
		"Cookie", "Origin", "Range", "Accept-Encoding", "Sec-Fetch-Mode", "If-None-Match"} {
		headers = append(headers, map[string]string{name: "s3cret"})
	}
	options := []map[string]any{{"cookies": map[string]string{"a b": "s3cret"}}, {"cookies": map[string]string{"a": "s3cret;b"}}, {"cookies": map[string]string{"a": ""}}, {"cookies": map[string]string{"a": "s3cret "}}, {"headers": "s3cret"}}
	for _, h := range headers {
		options = append(options, map[string]any{"headers": h})
	}
	for _, o := range options {
		r := s.scan(t, nil, o)
		if r.Status != sdktest.Refused || strings.Contains(fmt.Sprint(r), "s3cret") {
			t.Errorf("%.200q: %s %s", fmt.Sprint(o), r.Status, r.Reason)
		}
	}
	if asked := s.requests(); slices.Contains(asked, "/") {
		t.Errorf("the site was asked for %q", asked)
	}
}

// FuzzLogin: what is taken is one header of the request, and nothing else of it.
func FuzzLogin(f *testing.F) {
	f.Add("Authorization", "Bearer x", "session", "x")
	f.Add("X-A", "a\r\nHost: evil", "a", "b; c=d")
	f.Add("transfer-encoding", "chunked", "a=b", "")
	f.Fuzz(func(t *testing.T, name, value, cookie, content string) {
		target := &url.URL{Scheme: "http", Host: "site.test", Path: "/"}
		o := &Options{Headers: map[string]string{name: value}, Cookies: map[string]string{cookie: content}}
		l, err := newLogin(target, o)
		if err != nil {
			return
		}
		req := &http.Request{Method: http.MethodGet, URL: target, Header: http.Header{}}
		shown := l.put(req)
		var b bytes.Buffer
		if err := req.Write(&b); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadRequest(bufio.NewReader(&b))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := got.Cookie(cookie); err != nil || c.Value != content || got.Header.Get(name) != value || got.Host != "site.test" || got.ContentLength != 0 {
			t.Errorf("sent %q", b.String())
		}
		for n, v := range got.Header {
			if n != "User-Agent" && n != "Cookie" && !strings.EqualFold(n, name) {
				t.Errorf("sent the header %q: %q", n, v)
			}
		}
		for n, v := range shown {
			if len(v) != 1 || v[0] != "****" {
				t.Errorf("shows the header %q: %q", n, v)
			}
		}
	})
}
