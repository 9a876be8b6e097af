package api_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// ask sends a request of alice's with some header fields.
func (e *env) ask(t testing.TB, method, path string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", e.keys["alice"])
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return e.send(t, req)
}

// TestNotModified: what a client has already is not sent again, a scan's and a
// list's alike, and a scan that changed is.
func TestNotModified(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	id := e.upload(t, client.UploadOptions{}).ID
	for _, path := range []string{"/scans/" + id, "/scans", "/openapi.json", "/docs", "/problems/invalid"} {
		resp, body := e.ask(t, http.MethodGet, path, nil, "")
		tag := resp.Header.Get("ETag")
		if resp.StatusCode != http.StatusOK || len(tag) < 20 || tag[0] != '"' {
			t.Fatalf("%s: status %d, ETag %s", path, resp.StatusCode, tag)
		}
		for header, want := range map[string]int{
			tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, tag[:9]: 200, strings.Trim(tag, `"`): 200,
		} {
			again, text := e.ask(t, http.MethodGet, path, map[string]string{"If-None-Match": header}, "")
			if again.StatusCode != want || want == 304 && text != "" || want == 200 && text != body || again.Header.Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %s: status %d with %d bytes and ETag %s, want %d", path, header, again.StatusCode, len(text), again.Header.Get("ETag"), want)
			}
		}
		if head, _ := e.ask(t, http.MethodHead, path, map[string]string{"If-None-Match": tag}, ""); head.StatusCode != http.StatusNotModified {
			t.Errorf("HEAD %s: status %d", path, head.StatusCode)
		}
	}
	before, _ := e.ask(t, http.MethodGet, "/scans/"+id, nil, "")
	e.finish(t, id, nil)
	after, body := e.ask(t, http.MethodGet, "/scans/"+id, map[string]string{"If-None-Match": before.Header.Get("ETag")}, "")
	if after.StatusCode != http.StatusOK || !strings.Contains(body, `"succeeded"`) {
		t.Errorf("a scan that changed: status %d: %s", after.StatusCode, body)
	}
}

// TestCompressed: a long answer is compressed for who takes it, and has a tag of
// its own, by which what is in it is recognised in either form.
func TestCompressed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	plain, want := e.ask(t, http.MethodGet, "/openapi.json", map[string]string{"Accept-Encoding": "identity"}, "")
	resp, body := e.ask(t, http.MethodGet, "/openapi.json", map[string]string{"Accept-Encoding": "br, gzip;q=0.5"}, "")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength != int64(len(body)) || len(body) > len(want)/4 {
		t.Fatalf("%d bytes of %d, %v", len(body), len(want), resp.Header)
	}
	unpacked, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(unpacked); err != nil || string(got) != want {
		t.Errorf("%d bytes come out of %d, %v", len(got), len(want), err)
	}
	if tag := resp.Header.Get("ETag"); tag == plain.Header.Get("ETag") {
		t.Errorf("both forms have the tag %s", tag)
	} else if again, _ := e.ask(t, http.MethodGet, "/openapi.json", map[string]string{"If-None-Match": tag}, ""); again.StatusCode != http.StatusNotModified {
		t.Errorf("the tag of the other form: status %d", again.StatusCode)
	}
	if short, _ := e.ask(t, http.MethodGet, "/healthz", map[string]string{"Accept-Encoding": "gzip"}, ""); short.Header.Get("Content-Encoding") != "" || short.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("a short answer: %v", short.Header)
	}
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip;q=1.0": true, "gzip;q=0": false, "gzip; q=0.000": false, "*": true, "*;q=0": false,
		"*;q=0, gzip": true, "gzip;q=0, *": false, "identity": false, "gzip;q=x": false, "notgzip": false,
	} {
		if got := api.AcceptsGzip([]string{header}); got != want {
			t.Errorf("Accept-Encoding %q takes gzip: %v", header, got)
		}
	}
}

// TestContentDigest: a body that is not what was announced changes nothing.
func TestContentDigest(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	digest := func(body string) string {
		sum := sha256.Sum256([]byte(body))
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	contentType, form := encode(t, part{"file", "a.zip", "PK"})
	for path, c := range map[string]struct{ contentType, body string }{
		"/scans/dast":       {"application/json", `{"url": "https://example.com/"}`},
		"/codeaudit/upload": {contentType, string(form)},
	} {
		for header, want := range map[string]struct {
			status int
			code   string
		}{
			digest(c.body):                        {202, ""},
			"md5=:AAAA:, " + digest(c.body):       {202, ""},
			"md5=:AAAA:":                          {202, ""},
			digest(c.body + " "):                  {400, "digest_mismatch"},
			digest(c.body) + ", " + digest("x"):   {400, "digest_mismatch"},
			"sha-256=abc":                         {400, "malformed"},
			"sha-256=:AAAA:":                      {400, "malformed"},
			"sha-512=:" + strings.Repeat("A", 44): {400, "malformed"},
		} {
			resp, body := e.ask(t, http.MethodPost, path, map[string]string{"Content-Type": c.contentType, "Content-Digest": header}, c.body)
			code := ""
			if resp.StatusCode >= 400 {
				code = problem(t, resp, body).Code
			}
			if resp.StatusCode != want.status || code != want.code {
				t.Errorf("%s, Content-Digest %s: status %d: %s", path, header, resp.StatusCode, body)
			}
		}
	}
	// A body that was lost on the way is no request without one.
	if resp, body := e.ask(t, http.MethodPost, "/webhooks/"+string(host.NewWebhookID())+"/rotate", map[string]string{"Content-Digest": digest(`{"overlap_seconds": 0}`)}, ""); problem(t, resp, body).Code != "digest_mismatch" {
		t.Errorf("without its body: %s", body)
	}
	scans, err := e.client(t, "alice").Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(scans.Items) != 6 || e.stored(t) != 3 {
		t.Errorf("%d scans and %d archives, want 6 and 3: %v", len(scans.Items), e.stored(t), err)
	}
}

// TestLinkNext: a list says where it goes on, with the same filters, and its
// last page says nothing.
func TestLinkNext(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for range 3 {
		e.upload(t, client.UploadOptions{Project: "a b"[:1]})
	}
	query, seen := "?limit=2&project=a", 0
	for query != "" {
		resp, body := e.ask(t, http.MethodGet, "/scans"+query, nil, "")
		seen += strings.Count(body, `"codeaudit"`)
		link := resp.Header.Get("Link")
		query = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if (link == "") == strings.Contains(body, "next_page_token") || seen > 3 {
			t.Fatalf("after %d scans: Link %q", seen, link)
		}
	}
	if seen != 3 {
		t.Errorf("%d scans, want 3", seen)
	}
}

// TestCORS: a page of an origin that the operator named may read answers,
// problems too, and no other may.
func TestCORS(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{CORSOrigins: []string{"https://dash.example.com"}})
	off := newEnv(t, api.Config{})
	for _, c := range []struct {
		env           *env
		origin, allow string
	}{
		{e, "https://dash.example.com", "https://dash.example.com"},
		{e, "https://evil.example.com", ""},
		{off, "https://dash.example.com", ""},
	} {
		for _, path := range []string{"/scans", "/scans/x", "/nowhere"} {
			resp, _ := c.env.ask(t, http.MethodGet, path, map[string]string{"Origin": c.origin}, "")
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != c.allow || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("GET %s from %s: %v", path, c.origin, resp.Header)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, c.env.url+"/codeaudit/upload", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", c.origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", "idempotency-key,x-api-key")
		resp, body := c.env.send(t, req)
		if c.env == off {
			problem(t, resp, body) // 405
		} else if got := resp.Header.Get("Access-Control-Allow-Origin"); got != c.allow || (c.allow != "") != (resp.Header.Get("Access-Control-Allow-Headers") != "") || resp.StatusCode != http.StatusNoContent {
			t.Errorf("preflight from %s: status %d, %v", c.origin, resp.StatusCode, resp.Header)
		}
	}
}

// TestSecurityHeaders: every answer has them.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for _, path := range []string{"/healthz", "/scans", "/scans/x", "/nowhere", "/openapi.json", "/admin/queue"} {
		resp, _ := e.ask(t, http.MethodGet, path, nil, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// FuzzHeaders: what clients write into the fields that are read here is taken for
// something or for nothing, and a body that passes is the one that was announced.
func FuzzHeaders(f *testing.F) {
	f.Add(`"a", W/"b", *`, "gzip;q=0, *;q=1", "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:", []byte("hello world"))
	f.Add(`W/"`, "gzip;;q==", "sha-256=:", []byte{})
	f.Add("", ",;=", "sha-512=::, sha-256=:AAAA:;x=1", []byte("x"))
	f.Fuzz(func(t *testing.T, match, encoding, digest string, body []byte) {
		if api.Matches(match, "tag") && !strings.Contains(match, "tag") && !strings.Contains(match, "*") {
			t.Errorf("If-None-Match %q names the tag", match)
		}
		if api.AcceptsGzip([]string{encoding}) && !strings.Contains(strings.ToLower(encoding), "gzip") && !strings.Contains(encoding, "*") {
			t.Errorf("Accept-Encoding %q takes gzip", encoding)
		}
		sum := sha256.Sum256(body)
		if err := api.CheckDigest(digest, body); err == nil && strings.HasPrefix(digest, "sha-256=") && !strings.Contains(digest, base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("Content-Digest %q is that of %q", digest, body)
		}
	})
}
