package main

import (
	"context"
	"fmt"

	"github.com/securetaghq/securetag/sdk"
)

// stranger is the host of no one (RFC 2606): whoever trusts it trusts anyone.
const stranger = "securetag-probe.example"

// checkCORS asks pages in the name of other sites.
func (s *scan) checkCORS(ctx context.Context) error {
	asked := s.probes()
	for _, p := range s.pages {
		// What is no page is data, which is what other sites would want to read.
		if p.status >= 300 || p != s.start && p.html || !isText(p.header) || !asked.take(place(p.url)) {
			continue
		}
		for _, from := range []string{"https://" + stranger, "https://" + hostOf(p.url) + "." + stranger, "null"} {
			ex, err := s.get(ctx, p.url, "Origin", from)
			if err != nil {
				if stops(ctx, err) {
					return err
				}
				break
			}
			if ex.header.Get("Access-Control-Allow-Origin") != from {
				continue
			}
			what := found{key: "origin", properties: map[string]string{"origin": from},
				message: fmt.Sprintf("The answer may be read by scripts of any site: it allows the origin %s, which nobody has.", from)}
			if ex.header.Get("Access-Control-Allow-Credentials") == "true" {
				what.severity = sdk.High
				what.message = fmt.Sprintf("Scripts of any site may read the answer as whoever is logged in: it allows the origin %s, which nobody has, with credentials.", from)
			}
			s.report("cors-any-origin", ex, what)
			break
		}
	}
	if !asked.left.none() {
		s.missed(fmt.Sprintf("%d answers were asked for in the name of another site (CORS), and %s more were not (max_probes)", len(asked.tried), &asked.left))
	}
	return nil
}
