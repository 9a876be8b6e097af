package main

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestKinds: what browsers show as a page is looked at as one.
func TestKinds(t *testing.T) {
	t.Parallel()
	const doc = "<!doctype html><p>x"
	cases := []struct {
		kind, body string
		html       bool
	}{
		{"text/html", doc, true}, {"TEXT/HTML ; charset=utf-8", doc, true}, {"application/xhtml+xml", doc, true},
		{"text/html; utf-8", doc, true}, {"text/html; charset=utf-8; charset=utf-8", doc, true}, {"text/html; charset=\"utf-8", doc, true}, {"text/html; =", doc, true},
		{"", doc, true}, {"", "  <HTML lang=en>", true}, {"", "<!-- made by hand --><html>", true}, {"", "<head><title>x</title>", true}, {"*/*", doc, true},
		{"", "hello", false}, {"text/plain", doc, false}, {"text/plain; text/html", doc, false}, {"application/json", doc, false}, {"text/htmlx", doc, false},
	}
	var answers []http.HandlerFunc
	for _, c := range cases {
		answers = append(answers, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{c.kind}
			if c.kind == "" {
				w.Header()["Content-Type"] = nil // else net/http says what it takes it for
			}
			_, _ = io.WriteString(w, c.body)
		})
	}
	for i, all := range each(t, answers) {
		if got := len(broken(all, "csp-missing")) > 0; got != cases[i].html {
			t.Errorf("%q with %q: a page %t, found %v", cases[i].kind, cases[i].body, got, ruleIDs(sdktest.Result{Findings: all}))
		}
	}
}

// TestBodiesOfRedirects: no browser shows what stands in an answer that redirects.
func TestBodiesOfRedirects(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", htmlPage(`<form action=/to><input name=q></form><a href="/odd?q=x">x</a>`))
	for path, status := range map[string]int{"/to": http.StatusFound, "/odd": http.StatusOK} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/") // as it is where a program forgot to stop
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<p>"+r.FormValue("q"))
		})
	}
	s := serve(t, "site.test", nil, mux, nil)
	var at []string
	for _, f := range s.scan(t, nil, nil).Findings {
		if f.Rule == "reflected-input" {
			at = append(at, f.At.URL)
		}
	}
	if diff := cmp.Diff([]string{s.http + "/odd"}, at); diff != "" {
		t.Error(diff)
	}
}

// TestRobotsElsewhere: what robots.txt asks is kept to where it is redirected, and a
// server that does not say what it asks has allowed nothing.
func TestRobotsElsewhere(t *testing.T) {
	t.Parallel()
	away := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusMovedPermanently) }
	}
	rules := text("text/plain", "\xef\xbb\xbfUser-agent: *\nDisallow: /no\n")
	for name, tt := range map[string]struct {
		robots, beside http.HandlerFunc
		asked          []string
		status         string
	}{
		"redirected":     {away("/other.txt"), rules, []string{"/yes"}, sdktest.Succeeded},
		"for ever":       {away("/robots.txt"), rules, []string{"/no", "/yes"}, sdktest.Succeeded},
		"to a stranger":  {away("http://other.test/robots.txt"), rules, []string{"/no", "/yes"}, sdktest.Succeeded},
		"hangs up":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, rules, nil, sdktest.Partial},
		"fails":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, rules, nil, sdktest.Partial},
		"is not allowed": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, rules, []string{"/no", "/yes"}, sdktest.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			for path, h := range map[string]http.HandlerFunc{"/{$}": htmlPage("<a href=/no>x</a><a href=/yes>x</a>"), "/robots.txt": tt.robots, "/other.txt": tt.beside, "/": htmlPage("x")} {
				mux.HandleFunc(path, h)
			}
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, nil, map[string]any{"passive": true})
			var asked []string
			for _, path := range s.requests() {
				if (path == "/no" || path == "/yes") && !slices.Contains(asked, path) {
					asked = append(asked, path)
				}
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" || r.Status != tt.status {
				t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
			}
		})
	}
}
