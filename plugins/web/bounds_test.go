package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

// said is what a result says of what was not looked at, in its notes and in its
// reason.
func said(r sdktest.Result) []string {
	var out []string
	for _, n := range r.Notes {
		if !strings.HasPrefix(n, "grade ") {
			out = append(out, "note: "+portless(n))
		}
	}
	if r.Reason != "" {
		out = append(out, strings.Split(portless(r.Reason), "; ")...)
	}
	slices.Sort(out)
	return out
}

// checkSaid also holds a result to being partial, and its grade to being at most
// that, when something was missed.
func checkSaid(t *testing.T, r sdktest.Result, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, said(r)); diff != "" {
		t.Error(diff)
	}
	status, grade := sdktest.Succeeded, "grade "
	if slices.ContainsFunc(want, func(s string) bool { return !strings.HasPrefix(s, "note: ") }) {
		status, grade = sdktest.Partial, "grade at most "
	}
	if r.Status != status || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, grade) }) {
		t.Errorf("%s, with the notes %q", r.Status, r.Notes)
	}
}

// repeat gives text n times, with its number where it has "%d".
func repeat(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%d", strconv.Itoa(i)))
	}
	return b.String()
}

// TestProbes: what a check tries of its own has a bound, and what there was more of
// is told, once for each check.
func TestProbes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first   string
		rest    http.HandlerFunc
		passive bool
		want    []string
	}{
		"CORS": {repeat(5, `<a href="/%d.json">x</a><a href="/%d.json?again">x</a>`), text("application/json", "{}"), true,
			[]string{"2 answers were asked for in the name of another site (CORS), and 4 more were not (max_probes)"}},
		"backups": {repeat(5, `<a href="/%d.php">x</a><a href="/%d.php?again">x</a>`), htmlPage("x"), false,
			[]string{"2 parameters were given values, and 3 more were not (max_probes)", "backups of 2 pages were asked for, and of 3 more were not (max_probes)"}},
		"directories": {repeat(5, `<img src="/%d/a.png"><img src="/%d/b.png">`), nil, false,
			[]string{"2 directories were asked for, and 3 more were not (max_probes)"}},
		"parameters": {`<a href="/?a=1&b=2&c=3">x</a><a href="/?c=4&d=5">y</a><form><input name="e"></form>`, nil, false,
			[]string{"2 parameters were given values, and 3 more were not (max_probes)"}},
		"as many": {`<a href="/?a=1&b=2">x</a><img src="/1/a.png"><img src="/2/a.png"><a href="/1.php">x</a><a href="/2.php">x</a>`, htmlPage("x"), false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", htmlPage(tt.first))
			mux.HandleFunc("/robots.txt", http.NotFound)
			if tt.rest != nil {
				mux.HandleFunc("/", tt.rest)
			}
			s := serve(t, "site.test", nil, mux, nil)
			checkSaid(t, s.scan(t, map[string]any{"max_probes": 2}, map[string]any{"passive": tt.passive}), tt.want...)
		})
	}
}

// TestPageBounds: a page of which some is left out has that told, kind by kind. What
// a result has no room for in its reason is in its notes.
func TestPageBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxURL)
	page := `<form>` + repeat(maxFields+3, `<input name="f%d">`) + `</form>` + repeat(maxForms+1, `<form method="post"></form>`) + `<form><input name="` + long + `"></form>` +
		`<a href="/?` + repeat(maxPairs+5, "p%d=1&") + `">x</a>` + repeat(maxLinks+5, "<a href=/>") +
		`<script src="/` + long + `.js"></script><img src="data:image/png;base64,` + long + `">` + repeat(maxResources+6, "<img src=/>")
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		for i := range maxCookies + 7 {
			w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=1; Secure; HttpOnly; SameSite=Lax", i))
		}
		w.Header().Set("Content-Security-Policy", strings.Repeat("default-src 'self',", maxPolicies+8))
		htmlPage(page)(w, r)
	}), nil)
	first := " of these were not looked at, the first of http://site.test:PORT/"
	checkSaid(t, s.scan(t, map[string]any{"max_pages": 1}, map[string]any{"passive": true}),
		"the site has more than 1 pages (max_pages): 1 links were not followed",
		"1 pages have more than 200 bytes in the name of a field: 1"+first,
		"1 pages have more than 50 cookies: 7"+first,
		"1 pages have more than 200 fields in a form: 3"+first,
		"more was not looked at, as the notes say",
		"note: 1 pages have more than 100 forms: 3"+first,
		"note: 1 pages have more than 2000 links: 6"+first,
		"note: 1 pages have more than 50 parameters in a link or form: 155"+first,
		"note: 1 pages have more than 16 policies (CSP): 8"+first,
		"note: 1 pages have more than 1000 scripts, images and other resources: 6"+first,
		"note: 1 links, scripts and the like have URLs longer than 2000 bytes: they were not looked at",
	)
}

// TestLargeAnswers: what stands behind the bounds of a text is not taken for clean.
// It calls the checks by themselves, which take long for as much text as that.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	large := "<script>" + strings.Repeat("-", max(maxToken, maxLeakText)) + "</script>"
	ex := &exchange{url: &url.URL{Scheme: "http", Host: "site.test", Path: "/"}, status: 200, header: http.Header{"Content-Type": {"text/html"}}, body: []byte(large + "<a href=/behind>")}
	p := newPage(ex, 0)
	if !p.ended || len(p.links) > 0 {
		t.Errorf("the page: %t, %v", p.ended, p.links)
	}
	told := scanner(environment{})
	told.Scan = func(_ context.Context, c *Config, _ *sdk.Target, out *sdk.Out) error {
		s := &scan{fetcher: &fetcher{}, cfg: c, out: out, over: map[kind]*over{}}
		s.checkLeaks(ex)
		s.gather(p)
		s.bounds()
		return nil
	}
	want := []string{
		"1 answers have more than 2MiB of text: what it tells of the inside was looked for in the beginning only",
		"1 pages have a tag or a text of more than 1MiB in one piece: what is behind it was not looked at",
	}
	if diff := cmp.Diff(want, said(sdktest.Run(t, told, sdktest.Request{URL: "http://site.test/"}))); diff != "" {
		t.Error(diff)
	}
}

// TestDistinct: what is different is counted, up to what fits.
func TestDistinct(t *testing.T) {
	t.Parallel()
	var d distinct
	for i := range maxDistinct {
		d.add(strconv.Itoa(i))
		d.add("0")
	}
	if got, want := d.String(), strconv.Itoa(maxDistinct); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if d.add("another"); d.String() != "more than 20000" || len(d.seen) != maxDistinct {
		t.Errorf("%s, with %d remembered", &d, len(d.seen))
	}
}

// TestRobotsTold: what robots.txt keeps from the scan is told, and what of it was
// not read.
func TestRobotsTold(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", htmlPage(`<a href="/no/?a=1">x</a><img src="/no/b/a.png"><img src="/b/a.png">`))
	mux.HandleFunc("/robots.txt", text("text/plain", "User-agent: *\nDisallow: /no/\n"+strings.Repeat("#\n", maxRobots/2)))
	s := serve(t, "site.test", nil, mux, nil)
	checkSaid(t, s.scan(t, nil, nil),
		"note: 1 links were not followed because robots.txt asks so",
		"note: 2 parameters and directories were not tried because robots.txt asks so",
		"note: http://site.test:PORT/robots.txt is larger than 512KiB: what stands behind that was not heeded",
	)
}

// TestManyLinks: more than are remembered, and more than are shown.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/robots.txt" {
			http.NotFound(w, r)
			return
		}
		htmlPage(links(r.URL.Path+"x", 9))(w, r)
	}), nil)
	s.env.queue = 20
	checkSaid(t, s.scan(t, map[string]any{"max_pages": 4}, map[string]any{"passive": true}),
		"the site has more than 4 pages (max_pages): 16 links were not followed",
		"the site has more than 20 links: 17 more were not followed",
	)

	s = serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that the name is resolved for each
		htmlPage(links("/", 7))(w, r)
	}), nil)
	s.env.resolver = &rebinding{left: 1}
	checkSaid(t, s.scan(t, nil, map[string]any{"passive": true}),
		`note: a link was not followed: "site.test" is refused: it has the address 10.0.0.1, and it is not a public address`,
		"11 of 12 requests led to addresses or ports that may not be scanned", // these, robots.txt, https, CORS, and the first page again
	)
}

// TestFullArchive: what the archive of requests has no room for is told.
func TestFullArchive(t *testing.T) {
	t.Parallel()
	s := serve(t, "site.test", nil, htmlPage(links("/", 5)+strings.Repeat("-", 1000)), nil)
	s.env.archive = 3 << 10
	r := s.scan(t, map[string]any{"ignore_robots": true}, map[string]any{"passive": true})
	checkSaid(t, r, fmt.Sprintf("note: requests.har has 3KiB, which is all that it takes: of %d answers headers or bodies are left out", len(s.requests())-3))
}

// TestManyHosts: TLS is looked at on some, and each weak cipher suite of one is
// found, however many it takes.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var weak []uint16
	for _, c := range tls.InsecureCipherSuites() {
		weak = append(weak, c.ID)
	}
	cert := a.sign(t, "site.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), true)
	var hosts []string
	s := serve(t, "site.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		for _, h := range hosts {
			fmt.Fprintf(&b, `<a href="https://%s/">x</a>`, h)
		}
		htmlPage(b.String())(w, r)
	}), nil, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: weak})
	for i := range maxHosts + 1 {
		hosts = append(hosts, fmt.Sprintf("h%d.test:%s", i, urlPort(t, s.url)))
	}
	r := s.scan(t, map[string]any{"ca": a.pem}, map[string]any{"passive": true, "hosts": hosts})
	checkSaid(t, r, "TLS was looked at for the first 5 hosts of the site, and not for 2 more")
	found := map[string]int{}
	for _, f := range r.Findings {
		if f.Rule == "tls-weak-cipher" {
			found[portless(f.At.URL)]++
		}
	}
	if n := found["https://site.test:PORT/"]; n < 9 || len(found) != maxHosts {
		t.Errorf("weak cipher suites: %v", found)
	}
}
