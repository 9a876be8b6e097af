package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/securetaghq/securetag/sdk"
)

// penalties are what a rule costs of 100 points, once, however often it hit. Where
// the HTTP Observatory of MDN has a test for it, they are about what it takes.
func penalties() map[string]int {
	return map[string]int{
		"csp-missing": 25, "csp-inline-scripts": 20, "csp-eval": 10, "csp-broad-scripts": 20, "csp-plugins": 5, "csp-base": 5,
		"cookie-not-secure": 20, "cookie-not-httponly": 10, "cookie-no-samesite": 5, "cookie-prefix": 5,
		"cors-any-origin": 50, "https-missing": 20, "hsts-missing": 20, "hsts-short": 10,
		"nosniff-missing": 5, "framing-allowed": 20, "referrer-leaks": 5, "script-no-integrity": 5, "mixed-content": 20,
		"tls-certificate-expired": 50, "tls-certificate-name": 50, "tls-certificate-untrusted": 50, "tls-weak-key": 20, "tls-old-version": 20, "tls-weak-cipher": 10,
		"form-over-http": 20, "password-in-url": 20, "directory-listing": 10, "open-redirect": 20, "reflected-input": 40,
		"exposed-repository": 40, "exposed-settings": 50, "exposed-key": 60, "exposed-backup": 50, "exposed-status": 20,
		"secret-in-page": 50, "stack-trace": 10, "database-error": 10, "debug-page": 30, "vulnerable-library": 20, "version-disclosed": 5,
	}
}

// letters are the Observatory's.
func letter(points int) string {
	for _, g := range []struct {
		from int
		name string
	}{{100, "A+"}, {90, "A"}, {85, "A-"}, {80, "B+"}, {70, "B"}, {65, "B-"}, {60, "C+"}, {50, "C"}, {45, "C-"}, {40, "D+"}, {30, "D"}, {25, "D-"}} {
		if points >= g.from {
			return g.name
		}
	}
	return "F"
}

// grade says in a note and a file how good the site is. It is of what was looked
// at: a scan that is partial may have missed the worst, so that it is at most as
// good.
func (s *scan) grade() {
	type test struct {
		Rule    string `json:"rule"`
		Hits    int    `json:"hits"`
		Penalty int    `json:"penalty"`
	}
	points, tests := 100, []test{}
	all := penalties()
	for _, rule := range slices.Sorted(maps.Keys(s.ruleHits)) {
		points -= all[rule]
		tests = append(tests, test{rule, s.ruleHits[rule], all[rule]})
	}
	points = max(points, 0)
	most := ""
	if len(s.told) > 0 {
		most = "at most "
	}
	s.out.Note(sdk.Note{Summary: fmt.Sprintf("grade "+most+"%s: %d of 100 points, %d pages, %d requests", letter(points), points, len(s.pages), s.done)})
	err := s.out.Artifact("grade.json", "application/json", func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Target   string `json:"target"`
			Grade    string `json:"grade"`
			Points   int    `json:"points"`
			AtMost   bool   `json:"at_most"` // not everything was looked at
			Pages    int    `json:"pages"`
			Requests uint64 `json:"requests"`
			Tests    []test `json:"tests"`
		}{place(s.start.url), letter(points), points, len(s.told) > 0, len(s.pages), s.done, tests})
	})
	if err != nil {
		s.missed(fmt.Sprintf("the grade is not kept: %v", err))
	}
}
