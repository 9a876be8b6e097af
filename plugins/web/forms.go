package main

import (
	"fmt"

	"github.com/securetaghq/securetag/sdk"
)

// checkForms looks at where forms send what people type.
func (s *scan) checkForms(p *page) {
	for _, f := range p.forms {
		what := found{key: f.method + " " + place(f.action), excerpt: f.tag, properties: map[string]string{"action": redactURL(f.action)}}
		switch {
		case f.action.Scheme == "http":
			what.message = fmt.Sprintf("A form sends what people type to %.200s, over http: whoever is on the way reads it.", place(f.action))
			if f.password {
				what.severity = sdk.High
				what.message = fmt.Sprintf("A form sends a password to %.200s, over http: whoever is on the way reads it.", place(f.action))
			}
			s.report("form-over-http", p.exchange, what)
		case f.password && p.url.Scheme == "http":
			what.severity = sdk.High
			what.message = "A form that asks for a password came over http: whoever is on the way can change where it is sent."
			s.report("form-over-http", p.exchange, what)
		}
		if f.password && f.method == "get" {
			what.message = "A form sends a password in the URL (method GET), which logs, histories and other sites get to see."
			s.report("password-in-url", p.exchange, what)
		}
	}
}
