package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// each scans all answers at once, every one at a host of its own, and gives what
// was found at each. Passive: nothing but the answer itself is looked at.
func each(t *testing.T, answers []http.HandlerFunc) [][]sdktest.Finding {
	t.Helper()
	var body strings.Builder
	var hosts []string
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		if n, _ := fmt.Sscanf(r.Host, "h%d.test", &i); n == 1 && r.URL.Path == "/" {
			answers[i](w, r)
		} else if r.URL.Path == "/robots.txt" {
			http.NotFound(w, r)
		} else {
			htmlPage(body.String())(w, r)
		}
	}), nil)
	_, port, _ := strings.Cut(strings.TrimSuffix(s.url, "/")[7:], ":")
	for i := range answers {
		hosts = append(hosts, fmt.Sprintf("h%d.test:%s", i, port))
		fmt.Fprintf(&body, "<a href=\"http://%s/\">x</a>", hosts[i])
	}
	r := s.scan(t, nil, map[string]any{"passive": true, "max_depth": 1, "hosts": hosts})
	if r.Status != sdktest.Succeeded {
		t.Fatalf("%s: %s", r.Status, r.Reason)
	}
	out := make([][]sdktest.Finding, len(answers))
	for _, f := range r.Findings {
		var i int
		if n, _ := fmt.Sscanf(f.At.URL, "http://h%d.test", &i); n == 1 {
			out[i] = append(out[i], f)
		}
	}
	return out
}

// broken gives the rules of findings that begin with one of these.
func broken(all []sdktest.Finding, prefixes ...string) []string {
	var out []string
	for _, rule := range ruleIDs(sdktest.Result{Findings: all}) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(rule, p) }) {
			out = append(out, rule)
		}
	}
	return out
}

func header(name, value, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()[name] = strings.Split(value, "\n")
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		_, _ = io.WriteString(w, body)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	const good = "default-src 'none'; script-src 'self'; object-src 'none'; base-uri 'none'"
	for text, want := range map[string][]string{
		good: nil,
		"script-src 'nonce-abc' 'unsafe-inline' 'strict-dynamic' https:; object-src 'none'; base-uri 'self'": nil,
		"script-src 'sha256-abc' 'unsafe-inline'; object-src 'none'; base-uri 'self'":                        nil,
		"script-src 'unsafe-inline'; object-src 'none'; base-uri 'self'":                                     {"csp-inline-scripts"},
		"default-src 'self' 'unsafe-inline'; base-uri 'self'":                                                {"csp-inline-scripts"},
		"SCRIPT-SRC 'self'; Script-Src 'unsafe-eval'; object-src 'none'; base-uri 'self'":                    nil, // the first counts
		"script-src 'self' 'unsafe-eval'; object-src 'none'; base-uri 'self'":                                {"csp-eval"},
		"script-src data:; object-src 'none'; base-uri 'self'":                                               {"csp-broad-scripts"},
		"script-src http://cdn.example.com; object-src 'none'; base-uri 'self'":                              {"csp-broad-scripts"},
		"script-src https://*.example.com; base-uri 'self'":                                                  {"csp-plugins"},
		"script-src 'self'; object-src *; base-uri 'self'":                                                   {"csp-plugins"},
		"default-src 'self'":                                                  {"csp-base"},
		"script-src * 'unsafe-inline', " + good:                               nil, // policies add up
		"script-src * 'unsafe-inline'\n" + good:                               nil,
		"script-src *; object-src 'none', script-src 'self'; base-uri 'self'": nil,
		// One that says nothing of scripts takes nothing from another.
		"frame-ancestors 'self', script-src * 'unsafe-eval'; object-src 'none'; base-uri 'self'": {"csp-broad-scripts", "csp-eval"},
		"script-src * 'unsafe-eval'; object-src 'none'; base-uri 'self'\nframe-ancestors 'self'": {"csp-broad-scripts", "csp-eval"},
		// Elements and attributes have directives of their own.
		"script-src 'self'; script-src-elem * 'unsafe-inline'; object-src 'none'; base-uri 'self'":       {"csp-broad-scripts", "csp-inline-scripts"},
		"script-src 'nonce-a'; script-src-attr 'unsafe-inline'; object-src 'none'; base-uri 'self'":      {"csp-inline-scripts"},
		"default-src 'self'; script-src-elem 'nonce-a' 'unsafe-inline'; base-uri 'self'":                 nil,
		"script-src https://*; object-src *:*; base-uri 'self'":                                          {"csp-broad-scripts", "csp-plugins"},
		"script-src *:443; object-src 'none'; base-uri 'self'":                                           {"csp-broad-scripts"},
		"script-src https://*/js/; object-src 'none'; base-uri 'self'":                                   {"csp-broad-scripts"},
		"script-src https://*.example.com:* *.example.com; object-src 'none'; base-uri 'self'":           nil,
		"script-src 'self' 'strict-dynamic'; script-src-elem 'self'; object-src 'none'; base-uri 'none'": nil,
	} {
		var got []string
		for rule := range weak(parsePolicies(strings.Split(text, "\n"))) {
			got = append(got, rule)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	missing := []string{"", ";;,", "frame-ancestors 'none'", "img-src 'self'; base-uri 'none'"}
	answers := []http.HandlerFunc{header("Content-Security-Policy", good, "text/html", "<p>x"), htmlPage(`<meta http-equiv="Content-Security-Policy" content="` + good + `">`)}
	for _, text := range missing {
		answers = append(answers, header("Content-Security-Policy", text, "text/html", "<p>x"))
	}
	for i, all := range each(t, answers) {
		if got := broken(all, "csp-"); (len(got) > 0) != (i > 1) || i > 1 && got[0] != "csp-missing" {
			t.Errorf("answer %d: %v", i, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	const frames, csp, kind, refers = "X-Frame-Options", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"
	cases := []struct {
		name, value string
		rule        string // that looks at it
		bad         bool
	}{
		{frames, "", "framing-allowed", true}, {frames, "DENY", "framing-allowed", false}, {frames, "sameorigin", "framing-allowed", false},
		{frames, "ALLOW-FROM https://a.test", "framing-allowed", true}, {frames, "ALLOWALL", "framing-allowed", true},
		{csp, "frame-ancestors 'none'", "framing-allowed", false}, {csp, "frame-ancestors https://a.test", "framing-allowed", false},
		{csp, "frame-ancestors *", "framing-allowed", true}, {csp, "frame-ancestors https:", "framing-allowed", true},
		{csp, "frame-ancestors https://*", "framing-allowed", true}, {csp, "frame-ancestors *:*", "framing-allowed", true}, {csp, "frame-ancestors *.a.test", "framing-allowed", false},
		{csp, "frame-ancestors *, frame-ancestors 'self'", "framing-allowed", false}, {csp, "default-src 'none'", "framing-allowed", true},
		{kind, "", "nosniff-missing", true}, {kind, "NoSniff", "nosniff-missing", false}, {kind, "sniff", "nosniff-missing", true},
		{refers, "", "referrer-leaks", false}, {refers, "unsafe-url", "referrer-leaks", true}, {refers, "no-referrer-when-downgrade", "referrer-leaks", true},
		{refers, "unsafe-url, strict-origin", "referrer-leaks", false}, {refers, "no-referrer, unsafe-url", "referrer-leaks", true},
	}
	var answers []http.HandlerFunc
	for _, c := range cases {
		answers = append(answers, header(c.name, c.value, "text/html", "<p>x"))
	}
	for i, all := range each(t, answers) {
		if c := cases[i]; (len(broken(all, c.rule)) > 0) != c.bad {
			t.Errorf("%s: %s: %v", c.name, c.value, ruleIDs(sdktest.Result{Findings: all}))
		}
	}
	// A browser that knows frame-ancestors does not look at the other.
	both := each(t, []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(frames, "DENY")
		header(csp, "frame-ancestors *", "text/html", "<p>x")(w, r)
	}})[0]
	if len(broken(both, "framing-allowed")) == 0 {
		t.Error("X-Frame-Options takes nothing back from frame-ancestors *")
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	lines := map[string][]string{
		"sid=x; Secure; HttpOnly; SameSite=Lax":                                nil,
		"sid=x":                                                                {"cookie-no-samesite", "cookie-not-httponly", "cookie-not-secure"},
		"sid=x; Secure; HttpOnly; SameSite=None":                               {"cookie-no-samesite"},
		"ad=x; Secure; HttpOnly; SameSite=None":                                nil,
		"XSRF-TOKEN=x; Secure; SameSite=Strict":                                nil, // scripts read it on purpose
		"sid=; Max-Age=0":                                                      nil, // deleted
		"sid=x; Max-Age=-1":                                                    nil,
		"__Secure-a=x; HttpOnly; SameSite=Lax":                                 {"cookie-not-secure", "cookie-prefix"},
		"__Host-a=x; Secure; HttpOnly; SameSite=Lax; Path=/":                   nil,
		"__Host-a=x; Secure; HttpOnly; SameSite=Lax; Path=/; Domain=site.test": {"cookie-prefix"},
		"no cookie at all":                                                     nil,
		// Browsers take more than net/http.
		`sid={"id": 1}`:                     {"cookie-no-samesite", "cookie-not-httponly", "cookie-not-secure"},
		"sid[a]=x; Secure; HttpOnly":        {"cookie-no-samesite"},
		" sid = \xfc x ; HttpOnly ; secure": {"cookie-no-samesite"},
		"=x":                                nil,
		"sid=deleted; Expires=Thu, 01 Jan 1970 00:00:00 GMT":                         nil,
		"sid=x; Secure; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60": {"cookie-no-samesite"},
		"sid=x; Secure; HttpOnly; Expires=never":                                     {"cookie-no-samesite"},
	}
	names := slices.Sorted(maps.Keys(lines))
	var answers []http.HandlerFunc
	for _, line := range names {
		answers = append(answers, header("Set-Cookie", line, "", "x"))
	}
	for i, all := range each(t, answers) {
		if diff := cmp.Diff(lines[names[i]], broken(all, "cookie-")); diff != "" {
			t.Errorf("%s: %s", names[i], diff)
		}
	}
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"at com.example.App.main(App.java:12)\n":                              "stack-trace",
		"<b>Fatal error</b>: Uncaught x in /var/www/a.php on line 7":          "stack-trace",
		"Server Error in '/' Application.":                                    "stack-trace",
		"panic: x\n\ngoroutine 1 [running]:\nmain.main()":                     "stack-trace",
		"Error: x\n    at Object.<anonymous> (/srv/app.js:1:7)":               "stack-trace",
		"/srv/app/models/user.rb:12:in `find'":                                "stack-trace",
		"ORA-00933: SQL command not properly ended":                           "database-error",
		"SQLSTATE[42000]: Syntax error":                                       "database-error",
		"<title>phpinfo()</title>":                                            "debug-page",
		"You're seeing this error because you have <code>DEBUG = True</code>": "debug-page",
		"-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 64):             "secret-in-page",
		"key AKIAIOSFODNN7EXAMPLE":                                            "", // as documentation writes it
		"http://192.168.1.1:8080/":                                            "private-address",
		"versions 10.0.1.2 and 192.168.1.1":                                   "",
		"the goroutine is running, Traceback follows, ORA is a company":       "",
	}
	products := map[string]bool{"nginx/1.18.0": true, "nginx": false, "Apache/2.4.6 (CentOS) PHP/5.4": true, "cloudflare": false, "5.2": true}
	texts, headers := slices.Sorted(maps.Keys(bodies)), slices.Sorted(maps.Keys(products))
	answers := []http.HandlerFunc{header("X-Debug-Token-Link", "/_profiler/1", "", "x")}
	for _, v := range headers {
		answers = append(answers, header("X-Powered-By", v, "", "x"))
	}
	for _, body := range texts {
		answers = append(answers, text("text/plain", body))
	}
	for i, all := range each(t, answers) {
		got := strings.Join(broken(all, "stack-", "database-", "debug-", "secret-", "private-", "version-"), " ")
		want := "debug-page"
		if i > len(headers) {
			want = bodies[texts[i-1-len(headers)]]
		} else if i > 0 {
			want = map[bool]string{true: "version-disclosed"}[products[headers[i-1]]]
		}
		if got != want {
			t.Errorf("answer %d: %q, want %q", i, got, want)
		}
	}
}

func TestLibraryVersions(t *testing.T) {
	t.Parallel()
	scripts := map[string]string{
		"/jquery-3.4.1.min.js": "jquery 3.4.1", "/jquery-3.5.0.js": "", "/ajax/libs/jquery/1.8.3/jquery.min.js": "jquery 1.8.3", "/npm/jquery@2.2.4/dist/jquery.min.js": "jquery 2.2.4",
		"/npm/bootstrap@4.3.0/dist/js/bootstrap.bundle.min.js": "bootstrap 4.3.0", "/npm/bootstrap@4.3.1/dist/js/bootstrap.min.js": "", "/bootstrap/3.3.7/js/bootstrap.min.js": "bootstrap 3.3.7",
		"/ui/jquery-ui-1.12.1.min.js": "jquery-ui 1.12.1", "/angularjs/1.5.8/angular.min.js": "angularjs 1.5.8", "/moment.js/2.29.1/moment.min.js": "moment 2.29.1",
		"/lodash.js/4.17.21/lodash.min.js": "", "/npm/axios@0.19.0/dist/axios.min.js": "axios 0.19.0", "/npm/dompurify@3.0.6/dist/purify.min.js": "dompurify 3.0.6", "/npm/dompurify@3.2.4/dist/purify.min.js": "", "/npm/axios@1.8.2/dist/axios.min.js": "", "/npm/axios@0.30.0/dist/axios.min.js": "", "/npm/axios@1.5.0/dist/axios.min.js": "axios 1.5.0",
		"/app-1.2.3.js": "", "/notjquery-1.0.0.js": "",
	}
	banners := map[string]bool{
		"/*! jQuery v3.4.1 | (c) JS Foundation */": true, "/*! jQuery v3.7.1 | (c) */": false, "/*!\n * Bootstrap v3.3.6 (http://getbootstrap.com)": true,
		"/*!\n * jQuery JavaScript Library v1.12.4\n": true, "/*\n * jQuery 1.2.6 - New Wave Javascript\n": true,
		"/*! A plugin\n * Requires: jQuery 1.7+, jQuery v1.8.3 */": false, // which the page may well have newer
		"/**\n * @license\n * Lodash <https://lodash.com/>\n * Based on Underscore.js 1.8.3 <http://underscorejs.org/LICENSE>\n */\n;(function() {\n  var undefined;\n  var VERSION = '4.17.21';": false,
		"/**\n * @license\n * Lodash <https://lodash.com/>\n * Based on Underscore.js 1.8.3 <http://underscorejs.org/LICENSE>\n */\n;(function() {\n  var undefined;\n  var VERSION = '4.17.11';": true,
		"/**\n * @license\n * Lodash lodash.com/license | Underscore.js 1.8.3 underscorejs.org/LICENSE\n */":                                                                                      false,
		"/**\n * @license\n * lodash 4.0.0 (Custom Build) <https://lodash.com/>\n */":                                                                                                             true,
		"/*! jQuery UI - v1.12.1 - 2016-09-14": true, "/**\n * @license AngularJS v1.7.8": true, "//! moment.js\n//! version : 2.29.3": true, "//     Underscore.js 1.8.3": true,
	}
	names, heads := slices.Sorted(maps.Keys(scripts)), slices.Sorted(maps.Keys(banners))
	var answers []http.HandlerFunc
	for _, script := range names {
		answers = append(answers, htmlPage(`<script src="https://cdn.example.net`+script+`"></script>`))
	}
	for _, banner := range heads {
		answers = append(answers, text("text/javascript", banner))
	}
	for i, all := range each(t, answers) {
		got := ""
		for _, f := range all {
			if f.Rule == "vulnerable-library" {
				got = f.Properties["library"] + " " + f.Properties["version"]
			}
		}
		if i < len(names) && got != scripts[names[i]] {
			t.Errorf("%s: %q, want %q", names[i], got, scripts[names[i]])
		}
		if i >= len(names) && (got != "") != banners[heads[i-len(names)]] {
			t.Errorf("%q: %q", heads[i-len(names)], got)
		}
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	for location, out := range map[string]bool{
		"https://" + stranger + "/": true, "//" + stranger: true, `/\` + stranger: true, `\\` + stranger: true, "https:" + stranger: true, "HTTPS:/" + stranger: true,
		"http:" + stranger: false, // relative, from http
		"/" + stranger:     false, "https://site.test/?next=https://" + stranger: false, stranger: false, "https://site.test/" + stranger: false, "": false,
	} {
		u, _ := url.Parse("http://site.test/go")
		p := newPage(&exchange{url: u, status: 302, header: http.Header{"Location": {location}}}, 0)
		if leadsOut(p) != out {
			t.Errorf("Location %q: leads out %t", location, !out)
		}
		p = newPage(&exchange{url: u, status: 200, header: http.Header{"Location": {location}}}, 0)
		if leadsOut(p) {
			t.Errorf("Location %q of an answer that does not redirect leads out", location)
		}
	}
	u, _ := url.Parse("http://site.test/go")
	for body, out := range map[string]bool{
		`<meta http-equiv="refresh" content="0;url=https://` + stranger + `/">`: true, `<meta http-equiv=Refresh content="5; URL = '//` + stranger + `'">`: true,
		`<meta http-equiv="refresh" content="5">`: false, `<p>https://` + stranger + `</p>`: false,
	} {
		if leadsOut(newPage(&exchange{url: u, status: 200, header: http.Header{"Content-Type": {"text/html"}}, body: []byte(body)}, 0)) != out {
			t.Errorf("%s: want %t", body, out)
		}
	}
}

func TestReflections(t *testing.T) {
	t.Parallel()
	const mark = "stq1x"
	raw := mark + breakout + "<" + mark + ">"
	escape := func(chars ...string) string {
		names := map[string]string{"<": "&lt;", ">": "&gt;", `"`: "&quot;", "'": "&#39;"}
		out := raw
		for _, c := range chars {
			out = strings.ReplaceAll(out, c, names[c])
		}
		return out
	}
	escaped := escape("<", ">", `"`, "'")
	const script, tag = "part of a script, its quotes as they were", "part of a tag, its quotes as they were"
	for body, want := range map[string]string{
		"<p>" + raw: "an element", `<input value="` + raw: "an element", "<title>" + raw: "an element", "<textarea>" + raw: "an element", "<!-- " + raw: "an element",
		"<style>a { b: " + raw: "an element", "<noscript>" + raw: "an element", "<p>" + strings.ToUpper(raw): "an element",
		"<script>var a = '" + raw: "an element", "<p>" + escaped: "", `<input value="` + escaped + `">`: "", "<p>nothing": "",
		"<script>var a = \"" + strings.ReplaceAll(raw, "<", `\u003c`) + "\"</script>":                                script,
		"<script>var a = \"" + strings.NewReplacer("<", `\u003c`, `"`, `\"`, "'", `\'`).Replace(raw) + "\"</script>": "",
		"<p>" + strings.ReplaceAll(raw, "<", "&lt;"):                                                                 "",
		// What PHP's htmlspecialchars leaves, and what it left before 8.1.
		`<input value="` + escape("<", ">") + `">`: tag, `<input value='` + escape("<", ">") + `'>`: tag, `<input value='` + escape("<", ">", `"`) + `'>`: tag,
		`<input value="` + escape("<", ">", `"`) + `">`: "", `<input value='` + escape("<", ">", "'") + `'>`: "", `<a title='` + escaped + `'>`: "",
		`<input value="` + mark + `" name='x'>`: "", `<input value='` + mark + `"' name=x>`: tag, // the first stops at what is no letter
	} {
		got, at := reflected([]byte(body), mark)
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
		if at := strings.ToLower(body[at:]); got != "" && !strings.HasPrefix(at, mark) && !strings.HasPrefix(at, "<"+mark) {
			t.Errorf("%s: it is at %q", body, at)
		}
	}
	// What is no UTF-8 moves nothing.
	binary := "<script>" + strings.Repeat("\xff", 1000)
	if as, at := reflected([]byte(binary+strings.ReplaceAll(raw, "<", `\u003c`)+"</script>"), mark); as != script || at != len(binary) {
		t.Errorf("behind bytes that are no text: %q at %d, want %d", as, at, len(binary))
	}
	// The proof is shown, and not what came back harmless before it.
	if as, at := reflected([]byte("<p>"+escaped+"</p><p>"+raw), mark); as != "an element" || at < len(escaped) {
		t.Errorf("%s at %d", as, at)
	}
}

func TestProofs(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		"A=1": true, "# x\n\nexport A_B=\"x y\"\nC=": true, "": false, "# only": false, "<html>\nA=1": false, "A=1\nsome text": false, "{\"A\": 1}": false,
	} {
		if isEnv([]byte(body)) != want {
			t.Errorf("isEnv(%q) = %t", body, !want)
		}
	}
	for body, want := range map[string]bool{
		`<title>Index of /a</title><a href="../">x</a>`: true, `<h1>Directory listing for /</h1><a href="x">x</a>`: true, "<pre>\n<a href=\"x\">x</a>\n</pre>": true,
		"<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"x\">x</a>": true,
		"<title>Index of /a</title>": false, "<p>Index of /a <a href=\"x\">x</a>": false, "<p><pre><a href=\"x\">": false,
	} {
		if isListing([]byte(body)) != want {
			t.Errorf("isListing(%q) = %t", body, !want)
		}
	}
	for _, e := range exposures() {
		for _, body := range []string{"", "<!doctype html><title>Not found</title>", "{}", "ok", "404"} {
			if e.proof([]byte(body)) {
				t.Errorf("%s is proved by %q", e.path, body)
			}
		}
	}
}

// TestExposures: each file that is asked for is proved by what is in it where it is
// there. None of these is a secret.
func TestExposures(t *testing.T) {
	t.Parallel()
	const env, php, dump, archive = "A=1\n", "<?php define('DB_PASSWORD', 'x');", "-- MySQL dump 10.13\nCREATE TABLE a (id int);\n", "PK\x03\x04rest"
	const sqlite, key = "SQLite format 3\x00rest", "-----BEGIN " + "PRIVATE KEY-----\nnone\n"
	samples := map[string]string{
		"/.git/HEAD": "ref: refs/heads/main\n", "/.git/config": "[core]\n\tbare = false\n", "/.svn/wc.db": sqlite, "/.hg/requires": "dotencode\nrevlogv1\n",
		"/.env": env, "/.env.local": env, "/.env.production": env, "/.env.bak": env,
		"/wp-config.php.bak": php, "/wp-config.php~": php, "/config.php.bak": php,
		"/.aws/credentials": "[default]\naws_access_key_id = x\n", "/.npmrc": "//registry.example.com/:_authToken=x\n",
		"/.htpasswd": "admin:$apr1$x$y\n", "/docker-compose.yml": "services:\n  web:\n    image: nginx\n",
		"/web.config": "<configuration>\n  <system.web/>\n</configuration>", "/appsettings.json": "{\"ConnectionStrings\": {\"a\": \"b\"}}",
		"/id_rsa": key, "/server.key": key, "/privatekey.pem": key, "/.ssh/id_rsa": key,
		"/backup.zip": archive, "/site.zip": archive, "/www.zip": archive, "/backup.tar.gz": "\x1f\x8b\x08rest", "/backup.tar": strings.Repeat("\x00", 257) + "ustar\x0000",
		"/backup.sql": dump, "/dump.sql": dump, "/database.sql": dump, "/db.sqlite3": sqlite,
		"/phpinfo.php": "<title>PHP 8.2.1 - phpinfo()</title>", "/server-status": "<title>Apache Status</title>",
		"/actuator/env": "{\"propertySources\": [{\"name\": \"x\"}]}", "/actuator/heapdump": "JAVA PROFILE 1.0.2\x00",
		"/debug/pprof/": "<p>Types of profiles available:</p>", "/debug/vars": "{\"cmdline\": [\"a\"], \"memstats\": {}}",
		"/metrics": "# HELP go_goroutines Number\n# TYPE go_goroutines gauge\n", "/.DS_Store": "\x00\x00\x00\x01Bud1",
	}
	for _, e := range exposures() {
		if sample, ok := samples[e.path]; !ok || !e.proof([]byte(sample)) {
			t.Errorf("%s: is there a sample: %t; it is not proved by %q", e.path, ok, sample)
		}
		delete(samples, e.path)
	}
	if len(samples) > 0 {
		t.Errorf("nobody asks for %q", samples)
	}
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	const s = "c0rrecth0rse"
	for text, want := range map[string]string{
		"password=" + s: "password=****", `"api_key": "` + s + `"`: `"api_key": "****"`, "define('DB_PASSWORD', '" + s + "');": "define('DB_PASSWORD', '****');",
		"postgres://app:" + s + "@db/x": "postgres://app:****@db/x", "admin:$apr1$" + s: "admin:****", "<p>nothing</p>": "<p>nothing</p>",
	} {
		if got := redactText(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	u, _ := url.Parse("https://site.test/a?token=" + s + "&q=x&session%5fid=" + s + "#f")
	if got := redactURL(u); got != "https://site.test/a?token=****&q=x&session%5fid=****" {
		t.Error(got)
	}
	for header, want := range map[string]string{"Set-Cookie": "a=****; Path=/", "Authorization": "****", "X-Api-Key": "****", "Location": "/a?code=****"} {
		value := map[string]string{"Set-Cookie": "a=" + s + "; Path=/", "Location": "/a?code=" + s}[header]
		if value == "" {
			value = s
		}
		if got := redactHeader(header, value); got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
	}
}
