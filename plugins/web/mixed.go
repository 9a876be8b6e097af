package main

import (
	"fmt"
	"slices"

	"github.com/securetaghq/securetag/sdk"
)

// checkMixed looks at what a page loads: over http into one that came over https,
// and from other sites without a hash.
func (s *scan) checkMixed(p *page) {
	upgraded := slices.ContainsFunc(parsePolicies(append(p.header.Values("Content-Security-Policy"), p.policies...)), func(c policy) bool {
		_, up := c["upgrade-insecure-requests"]
		_, block := c["block-all-mixed-content"]
		return up || block
	})
	for _, r := range p.resources {
		what := found{key: r.tag + " " + place(r.url), excerpt: r.text, properties: map[string]string{"resource": redactURL(r.url), "tag": r.tag}}
		if p.url.Scheme == "https" && r.url.Scheme == "http" && !upgraded {
			what.message = fmt.Sprintf("The page came over https and loads <%s> over http from %s: browsers block it or upgrade it, and old ones run what was changed on the way.", r.tag, origin(r.url))
			rule := "mixed-content"
			if !r.active {
				what.severity = sdk.Low
			}
			s.report(rule, p.exchange, what)
		}
		if r.tag == "script" && !r.integrity && !s.scope.has(r.url) {
			what.message = fmt.Sprintf("The script %.200s of another site has no integrity attribute: who controls that site controls this page.", place(r.url))
			s.report("script-no-integrity", p.exchange, what)
		}
	}
}
