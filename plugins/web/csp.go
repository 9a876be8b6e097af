package main

import (
	"fmt"
	"maps"
	"regexp"
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
		"csp-eval":           eval,
		"csp-broad-scripts":  broadScripts,
		"csp-plugins":        plugins,
		"csp-base":           base,
	} {
		text := ""
		for _, p := range all {
			one := test(p)
			if one == "" {
				text = ""
				break
			}
			if text == "" || text == unlimited { // what is there says more than what is not
				text = one
			}
		}
		if text != "" {
			out[rule] = text
		}
	}
	return out
}

// unlimited is what is shown of a policy that limits no scripts.
const unlimited = "no script-src and no default-src"

func eval(p policy) string {
	list, ok := p.sources("script-src")
	switch {
	case !ok:
		return unlimited
	case slices.Contains(list, "'unsafe-eval'"):
		return "script-src 'unsafe-eval'"
	}
	return ""
}

// scripts gives what holds for scripts of each kind: elements and attributes may
// have a directive of their own, which then holds in place of script-src.
func (p policy) scripts(kinds ...string) map[string][]string {
	out := map[string][]string{}
	for _, d := range append(kinds, "script-src") {
		if list, ok := p[d]; ok {
			out[d] = list
		}
	}
	if list, ok := p["default-src"]; ok && out["script-src"] == nil {
		out["script-src"] = list
	}
	return out
}

// inlineScripts: a nonce or a hash switches 'unsafe-inline' off, in browsers that
// know them, for which it stands beside.
func inlineScripts(p policy) string {
	all := p.scripts("script-src-elem", "script-src-attr")
	if len(all) == 0 {
		return unlimited
	}
	for _, d := range slices.Sorted(maps.Keys(all)) {
		strict := slices.ContainsFunc(all[d], func(s string) bool {
			return strings.HasPrefix(s, "'nonce-") || strings.HasPrefix(s, "'sha256-") || strings.HasPrefix(s, "'sha384-") || strings.HasPrefix(s, "'sha512-")
		})
		if !strict && slices.Contains(all[d], "'unsafe-inline'") {
			return d + " 'unsafe-inline'"
		}
	}
	return ""
}

func broadScripts(p policy) string {
	all := p.scripts("script-src-elem")
	if len(all) == 0 {
		return unlimited
	}
	for _, d := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(all[d], "'strict-dynamic'") {
			continue // the hosts beside it do not count
		}
		for _, s := range all[d] {
			if anywhere(s) || s == "data:" || s == "blob:" || strings.HasPrefix(s, "http://") {
				return d + " " + s
			}
		}
	}
	return ""
}

var everyHost = regexp.MustCompile(`^(?:https?:|(?:https?://)?\*(?::(?:\d+|\*))?(?:/.*)?)$`)

// anywhere reports whether a source is every host, or every one over https.
func anywhere(source string) bool { return everyHost.MatchString(source) }

func plugins(p policy) string {
	list, ok := p.sources("object-src")
	if !ok {
		return "no object-src and no default-src"
	}
	for _, s := range list {
		if anywhere(s) || s == "data:" {
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
	return slices.ContainsFunc(all, func(p policy) bool { return len(p.scripts("script-src-elem")) > 0 })
}
