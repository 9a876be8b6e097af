package main

import (
	"fmt"
	"slices"
	"strings"
)

const maxPolicies = 16

// policy is a Content-Security-Policy: directives and their sources.
type policy map[string][]string

// parsePolicies reads headers or meta elements, each of which may hold several
// policies. Of a directive that is there twice the first counts.
func parsePolicies(values []string) []policy {
	out, _ := readPolicies(values)
	return out
}

// readPolicies is parsePolicies, with how many there are more.
func readPolicies(values []string) (out []policy, left int) {
	for _, v := range values {
		for text := range strings.SplitSeq(v, ",") {
			p := policy{}
			for d := range strings.SplitSeq(text, ";") {
				words := strings.Fields(strings.ToLower(d))
				if len(words) == 0 {
					continue
				}
				if _, twice := p[words[0]]; !twice {
					p[words[0]] = words[1:]
				}
			}
			switch {
			case len(p) == 0:
			case len(out) < maxPolicies:
				out = append(out, p)
			default:
				left++
			}
		}
	}
	return out, left
}

// sources are those that hold for a directive: its own, or what it falls back to.
// false: nothing is restricted.
func (p policy) sources(directive string) ([]string, bool) {
	for _, d := range []string{directive, "default-src"} {
		if list, ok := p[d]; ok {
			return list, true
		}
	}
	return nil, false
}

// weak gives what every policy allows, by rule: policies add up, so one that is
// strict is enough. The text is what to show of it.
func weak(all []policy) map[string]string {
	out := map[string]string{}
	for rule, test := range map[string]func(policy) string{
		"csp-inline-scripts": inlineScripts,
		"csp-eval":           func(p policy) string { return names(p, "script-src", "'unsafe-eval'") },
		"csp-broad-scripts":  broadScripts,
		"csp-plugins":        plugins,
		"csp-base":           base,
	} {
		text := ""
		for _, p := range all {
			if text = test(p); text == "" {
				break
			}
		}
		if text != "" {
			out[rule] = text
		}
	}
	return out
}

func names(p policy, directive, source string) string {
	if list, ok := p.sources(directive); ok && slices.Contains(list, source) {
		return directive + " " + source
	}
	return ""
}

// inlineScripts: a nonce or a hash switches 'unsafe-inline' off, in browsers that
// know them, for which it stands beside.
func inlineScripts(p policy) string {
	list, ok := p.sources("script-src")
	if !ok {
		return "no script-src and no default-src"
	}
	strict := slices.ContainsFunc(list, func(s string) bool {
		return strings.HasPrefix(s, "'nonce-") || strings.HasPrefix(s, "'sha256-") || strings.HasPrefix(s, "'sha384-") || strings.HasPrefix(s, "'sha512-")
	})
	if !strict && slices.Contains(list, "'unsafe-inline'") {
		return "script-src 'unsafe-inline'"
	}
	return ""
}

func broadScripts(p policy) string {
	list, _ := p.sources("script-src")
	if slices.Contains(list, "'strict-dynamic'") {
		return "" // the hosts beside it do not count
	}
	for _, s := range list {
		if slices.Contains([]string{"*", "http:", "https:", "data:", "blob:", "http://*", "https://*"}, s) || strings.HasPrefix(s, "http://") {
			return "script-src " + s
		}
	}
	return ""
}

func plugins(p policy) string {
	list, ok := p.sources("object-src")
	if !ok {
		return "no object-src and no default-src"
	}
	for _, s := range list {
		if slices.Contains([]string{"*", "http:", "https:", "data:"}, s) {
			return "object-src " + s
		}
	}
	return ""
}

// base: base-uri does not fall back to default-src.
func base(p policy) string {
	if _, ok := p["base-uri"]; !ok {
		return "no base-uri"
	}
	return ""
}

func (s *scan) checkCSP(p *page) {
	if !p.html || p.status >= 300 {
		return
	}
	all, left := readPolicies(append(p.header.Values("Content-Security-Policy"), p.policies...))
	p.leave("policies (CSP)", maxPolicies, left)
	if len(all) == 0 {
		message := "Pages have no Content-Security-Policy: nothing limits what a script that got into one may do."
		if p.header.Get("Content-Security-Policy-Report-Only") != "" {
			message = "Pages have a Content-Security-Policy-Report-Only and none that is enforced: nothing limits what a script that got into one may do."
		}
		s.report("csp-missing", p.exchange, found{message: message, everywhere: true})
		return
	}
	if !restrictsScripts(all) {
		s.report("csp-missing", p.exchange, found{everywhere: true, message: "The Content-Security-Policy says nothing of scripts: it has neither script-src nor default-src."})
		return
	}
	why := map[string]string{
		"csp-inline-scripts": "scripts inside the page run, also those that somebody injected",
		"csp-eval":           "text can become script by eval",
		"csp-broad-scripts":  "scripts may come from anywhere, or over http",
		"csp-plugins":        "plugins and embedded documents may come from anywhere",
		"csp-base":           "an injected <base> changes where relative scripts come from",
	}
	for rule, text := range weak(all) {
		s.report(rule, p.exchange, found{everywhere: true, message: fmt.Sprintf("The Content-Security-Policy is weak (%.100s): %s.", text, why[rule])})
	}
}

func restrictsScripts(all []policy) bool {
	return slices.ContainsFunc(all, func(p policy) bool {
		_, ok := p.sources("script-src")
		return ok
	})
}
