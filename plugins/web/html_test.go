package main

import (
	"io"
	"net/http"
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
