package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// shown is what people will read of a result, without what differs from run to run.
func shown(r sdktest.Result) string {
	var b strings.Builder
	slices.SortStableFunc(r.Findings, func(a, b sdktest.Finding) int {
		return strings.Compare(a.At.URL+a.Rule+a.Message, b.At.URL+b.Rule+b.Message)
	})
	severities := map[sdk.Severity]string{sdk.Info: "info", sdk.Low: "low", sdk.Medium: "medium", sdk.High: "high", sdk.Critical: "critical"}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s\n\t%s\n", f.At.URL, severities[f.Severity], f.Rule, f.Message)
		for line := range strings.Lines(strings.TrimSpace(f.Snippet)) {
			fmt.Fprintf(&b, "\t| %s\n", strings.TrimRight(line, "\n\r\t "))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "%s %s\n", r.Status, r.Reason)
	return regexp.MustCompile(`(expired at|not_after:|not_before:|expires at) [0-9TZ:-]+`).ReplaceAllString(portless(b.String()), "$1 TIME")
}

func portless(s string) string {
	return regexp.MustCompile(`(\.test):\d+`).ReplaceAllString(s, "$1:PORT")
}

func TestWeakSite(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert := a.sign(t, "elsewhere.test", time.Now().Add(-200*time.Hour), time.Now().Add(-100*time.Hour), true)
	s := serve(t, "weak.test", weakSite(t), weakSite(t), &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA},
	})
	r := s.scan(t, nil, nil)
	got := shown(r)
	if diff := cmp.Diff(golden(t, "testdata/weak.golden", got), got); diff != "" {
		t.Error(diff)
	}
	for name, secret := range planted() {
		all := fmt.Sprint(r.Findings, r.Notes, r.Reason)
		for _, art := range r.Artifacts {
			all += string(art.Data)
		}
		if strings.Contains(all, secret) {
			i := strings.Index(all, secret)
			t.Errorf("the %s secret is shown: %q", name, all[max(0, i-100):i+len(secret)])
		}
	}
	for _, asked := range s.requests() {
		if strings.HasPrefix(asked, "/private/") {
			t.Errorf("%s was asked for, against robots.txt", asked)
		}
	}
	artifacts(t, r)
}

// artifacts: the grade and the archive are there and say what the findings say.
func artifacts(t *testing.T, r sdktest.Result) {
	t.Helper()
	files := map[string][]byte{}
	for _, a := range r.Artifacts {
		files[a.Name] = a.Data
	}
	var g struct {
		Grade    string
		Points   int
		Requests uint64
		Tests    []struct {
			Rule string
			Hits int
		}
	}
	if err := json.Unmarshal(files["grade.json"], &g); err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	for _, f := range r.Findings {
		hits[f.Rule]++
	}
	graded := map[string]int{}
	for _, test := range g.Tests {
		graded[test.Rule] = test.Hits
	}
	if diff := cmp.Diff(hits, graded); diff != "" {
		t.Error(diff)
	}
	var h struct {
		Log struct {
			Version string
			Entries []harEntry
		}
	}
	if err := json.Unmarshal(files["requests.har"], &h); err != nil {
		t.Fatal(err)
	}
	if h.Log.Version != "1.2" || uint64(len(h.Log.Entries)) > g.Requests || len(h.Log.Entries) == 0 {
		t.Errorf("HAR %s has %d entries of %d requests", h.Log.Version, len(h.Log.Entries), g.Requests)
	}
}

// TestHardenedSite: the twin of the weak site, with every weakness mended, has
// nothing at all.
func TestHardenedSite(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert := a.sign(t, "hardened.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), false)
	var origin string
	s := serve(t, "hardened.test", hardenedSite(t, &origin), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, origin+r.URL.RequestURI(), http.StatusMovedPermanently)
	}), &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	origin = strings.TrimSuffix(s.url, "/")
	r := s.scan(t, map[string]any{"ca": a.pem}, nil)
	if len(r.Findings) > 0 || r.Status != sdktest.Succeeded {
		t.Error(shown(r))
	}
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "grade A+: 100 of 100 points") {
		t.Errorf("notes %q", r.Notes)
	}
	artifacts(t, r)

	// From http it is the same: the redirect is followed.
	s.url = s.http + "/"
	if r := s.scan(t, map[string]any{"ca": a.pem}, nil); len(r.Findings) == 0 && r.Status == sdktest.Succeeded {
		t.Error("the https of another port is of the site without being named")
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(origin, "https://"), ":")
	if r := s.scan(t, map[string]any{"ca": a.pem}, map[string]any{"hosts": []string{"hardened.test:" + port}}); len(r.Findings) > 0 || r.Status != sdktest.Succeeded {
		t.Error(shown(r))
	}
}

// TestClosedPort: a site has no http beside its https, which is no fault of it.
func TestClosedPort(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert := a.sign(t, "hardened.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), false)
	origin := ""
	s := serve(t, "hardened.test", hardenedSite(t, &origin), nil, &tls.Config{Certificates: []tls.Certificate{cert}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	for name, port := range map[string]string{"closed": closed, "not allowed": "1"} {
		s.env.plain = func(string) string { return port }
		r := s.scan(t, map[string]any{"ca": a.pem, "ports": []string{"2-65535"}}, map[string]any{"passive": true})
		if len(r.Findings) > 0 || r.Status != sdktest.Succeeded {
			t.Errorf("%s: %s", name, shown(r))
		}
	}
}

// TestCertificates: each thing that is wrong alone.
func TestCertificates(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	now := time.Now()
	for name, tt := range map[string]struct {
		cert tls.Certificate
		want []string
	}{
		"good":         {a.sign(t, "site.test", now.Add(-time.Hour), now.Add(900*time.Hour), false), nil},
		"soon":         {a.sign(t, "site.test", now.Add(-time.Hour), now.Add(100*time.Hour), false), []string{"tls-certificate-expires"}},
		"expired":      {a.sign(t, "site.test", now.Add(-9*time.Hour), now.Add(-time.Hour), false), []string{"tls-certificate-expired"}},
		"not yet":      {a.sign(t, "site.test", now.Add(time.Hour), now.Add(900*time.Hour), false), []string{"tls-certificate-expired"}},
		"another name": {a.sign(t, "other.test", now.Add(-time.Hour), now.Add(900*time.Hour), false), []string{"tls-certificate-name"}},
		"untrusted":    {other.sign(t, "site.test", now.Add(-time.Hour), now.Add(900*time.Hour), false), []string{"tls-certificate-untrusted"}},
		"short":        {a.sign(t, "site.test", now.Add(-time.Hour), now.Add(900*time.Hour), true), []string{"tls-weak-key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "site.test", htmlPage("hello"), nil, &tls.Config{Certificates: []tls.Certificate{tt.cert}})
			r := s.scan(t, map[string]any{"ca": a.pem}, map[string]any{"passive": true})
			var got []string
			for _, f := range r.Findings {
				if strings.HasPrefix(f.Rule, "tls-") {
					got = append(got, f.Rule)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHSTS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert := a.sign(t, "site.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), false)
	for value, want := range map[string][]string{
		"": {"hsts-missing"}, "max-age=15552000": nil, "includeSubDomains; Max-Age=\"63072000\"": nil,
		"max-age=15551999": {"hsts-short"}, "max-age=0": {"hsts-short"}, "includeSubDomains": {"hsts-short"},
		"max-age=60\nmax-age=63072000": {"hsts-short"}, // the first counts
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "site.test", header("Strict-Transport-Security", value, "text/plain", "hello"), nil, &tls.Config{Certificates: []tls.Certificate{cert}})
			if value == "" {
				s = serve(t, "site.test", text("text/plain", "hello"), nil, &tls.Config{Certificates: []tls.Certificate{cert}})
			}
			r := s.scan(t, map[string]any{"ca": a.pem}, map[string]any{"passive": true})
			if diff := cmp.Diff(want, broken(r.Findings, "hsts-")); diff != "" || r.Status != sdktest.Succeeded {
				t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
			}
		})
	}
}

// TestHangingHandshake: a server that does not answer the question whether it
// speaks an old version has not said no.
func TestHangingHandshake(t *testing.T) {
	t.Parallel()
	a, over := newAuthority(t), make(chan struct{})
	cert := a.sign(t, "site.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), false)
	s := serve(t, "site.test", htmlPage("hello"), nil, &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Max(h.SupportedVersions) < tls.VersionTLS12 {
			<-over
		}
		return nil, nil
	}})
	t.Cleanup(func() { close(over) }) // before the server is closed
	r := s.scan(t, map[string]any{"ca": a.pem, "request_timeout": "2s"}, map[string]any{"passive": true})
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "TLS of https://site.test") || !strings.Contains(r.Reason, "was not looked at whole") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
}

// TestRules: the rules are whole, every one of them costs points or says why not,
// and the two sites above show almost all.
func TestRules(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	for _, r := range rules() {
		declared[r.ID] = true
		if r.Title == "" || r.Description == "" || r.Recommendation == "" || r.Severity == 0 || len(r.CWE) != 1 || !strings.HasPrefix(r.HelpURL, "https://") {
			t.Errorf("rule %+v", r)
		}
	}
	free := []string{"private-address", "tls-certificate-expires", "tls-no-13"} // remarks
	for _, id := range slices.Sorted(maps.Keys(declared)) {
		if (penalties()[id] == 0) != slices.Contains(free, id) {
			t.Errorf("rule %s costs %d points", id, penalties()[id])
		}
	}
	for id := range penalties() {
		if !declared[id] {
			t.Errorf("there is no rule %s", id)
		}
	}
	text := golden(t, "testdata/weak.golden", "")
	elsewhere := []string{"hsts-short", "tls-certificate-expires", "csp-base", "debug-page"} // other tests have them
	for id := range declared {
		if !strings.Contains(text, " "+id+"\n") && !slices.Contains(elsewhere, id) {
			t.Errorf("no test site shows %s", id)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"allow_networks": ["0.0.0.0/0"]}`: "every address", `{"allow_networks": ["intranet"]}`: "no address and no network",
		`{"ports": []}`: "ports is empty", `{"ports": ["http"]}`: "no port", `{"ca": "x"}`: "no certificate in PEM", `{"requests_per_second": 0}`: "requests_per_second",
	} {
		r := sdktest.Run(t, scanner(environment{}), sdktest.Request{URL: "https://example.com/", Config: config})
		if r.Status != sdktest.Refused || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s %s, want %q", config, r.Status, r.Reason, want)
		}
	}
}

// TestHARIsBounded: neither bodies nor headers fill it without end, and where an
// answer redirects to is redacted like everything else.
func TestHARIsBounded(t *testing.T) {
	t.Parallel()
	const before = 100 << 10 // of what it still takes
	h := har{most: before}
	ex := &exchange{method: "GET", url: &url.URL{Scheme: "https", Host: "site.test", Path: "/"}, header: http.Header{
		"X-Long": {strings.Repeat("x", 60<<10)}, "Location": {"/in?code=c0rrecth0rse"},
	}}
	for range 100 {
		h.add(ex)
	}
	var b bytes.Buffer
	if err := h.write(&b); err != nil {
		t.Fatal(err)
	}
	if n := b.Len(); n > 2*before || len(h.entries) != 100 || h.left != 98 {
		t.Errorf("%d entries of %d bytes, %d of them not whole", len(h.entries), n, h.left)
	}
	if bytes.Contains(b.Bytes(), []byte("c0rrecth0rse")) || !bytes.Contains(b.Bytes(), []byte(`"redirectURL":"/in?code=****"`)) {
		t.Error("a code is shown")
	}
}

func TestHAROfBinaries(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, text("application/octet-stream", "\x00\xff\xfe"), nil)
	r := s.scan(t, nil, map[string]any{"passive": true})
	i := slices.IndexFunc(r.Artifacts, func(a sdktest.Artifact) bool { return a.Name == "requests.har" })
	if i < 0 || !bytes.Contains(r.Artifacts[i].Data, []byte("binary, left out")) {
		t.Errorf("%+v", r)
	}
}
