package main

import (
	"io"
	"net/http"
	"testing"

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
