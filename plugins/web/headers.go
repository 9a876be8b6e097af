package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/securetaghq/securetag/sdk/egress"
)

// halfYear is the least max-age of HSTS that browsers' preload lists and the
// Observatory take for meant.
const halfYear = 180 * 24 * 3600 // seconds

// checkHeaders looks at the headers that every page should have.
func (s *scan) checkHeaders(p *page) {
	s.checkHSTS(p)
	if !p.html || p.status >= 300 {
		return
	}
	site := func(rule, message string) {
		s.report(rule, p.exchange, found{message: message, everywhere: true})
	}
	if !strings.EqualFold(strings.TrimSpace(p.header.Get("X-Content-Type-Options")), "nosniff") {
		site("nosniff-missing", "Pages have no X-Content-Type-Options: nosniff, so that a browser may take what was uploaded as text for a script.")
	}
	if !framed(p) {
		site("framing-allowed", "Pages may be shown in frames of any site: there is neither frame-ancestors in a Content-Security-Policy nor X-Frame-Options: DENY or SAMEORIGIN.")
	}
	switch v := lastToken(p.header.Values("Referrer-Policy")); v {
	case "unsafe-url", "no-referrer-when-downgrade":
		site("referrer-leaks", fmt.Sprintf("Referrer-Policy: %s tells other sites the whole URLs of this one.", v))
	}
}

// framed reports whether something says who may frame the page, and that not
// everybody may. With frame-ancestors browsers look at no X-Frame-Options.
func framed(p *page) bool {
	given := false
	for _, policy := range parsePolicies(p.header.Values("Content-Security-Policy")) {
		if who, ok := policy["frame-ancestors"]; ok {
			given = true
			if !slices.ContainsFunc(who, anywhere) {
				return true // policies add up
			}
		}
	}
	v := strings.ToUpper(strings.TrimSpace(p.header.Get("X-Frame-Options")))
	return !given && (v == "DENY" || v == "SAMEORIGIN")
}

// lastToken is the last of a list: of the policies for referrers that a browser
// knows, that one counts.
func lastToken(values []string) string {
	all := strings.Split(strings.Join(values, ","), ",")
	return strings.ToLower(strings.TrimSpace(all[len(all)-1]))
}

// checkHSTS: browsers obey the header over https alone, and for no address.
func (s *scan) checkHSTS(p *page) {
	if _, err := netip.ParseAddr(hostOf(p.url)); err == nil || p.url.Scheme != "https" || p.status >= 400 {
		return
	}
	given := p.header.Values("Strict-Transport-Security")
	if len(given) == 0 {
		s.report("hsts-missing", p.exchange, found{everywhere: true, message: "Answers over https have no Strict-Transport-Security: the next visit may begin over http, where anyone on the way can change it."})
		return
	}
	age := -1
	for part := range strings.SplitSeq(given[0], ";") { // the first counts
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(name, "max-age") {
			if n, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil {
				age = n
			}
		}
	}
	if age < halfYear {
		s.report("hsts-short", p.exchange, found{everywhere: true, message: fmt.Sprintf("Strict-Transport-Security holds for less than half a year: %.100q.", given[0])})
	}
}

// checkUpgrade asks whether what is asked for over http is sent to https: of the
// origins that were visited over http, and of the http beside an https target.
func (s *scan) checkUpgrade(ctx context.Context) error {
	tried := map[string]bool{}
	for _, o := range s.origins {
		u, err := url.Parse(o + "/")
		if err != nil {
			return err
		}
		if u.Scheme == "https" {
			port := s.env.plain(portOf(u))
			if port == "" {
				continue
			}
			u.Scheme, u.Host = "http", net.JoinHostPort(hostOf(u), port)
			if u = resolve(u, "/"); u == nil {
				continue
			}
		}
		if tried[u.String()] {
			continue
		}
		tried[u.String()] = true
		ex, err := s.get(ctx, u)
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			// Nobody listens there, or may be asked there, which is as good, and no fault of
			// the site.
			switch {
			case slices.Contains(s.origins, origin(u)): // somebody did before
			case errors.Is(err, egress.ErrRefused):
				s.refused--
			default:
				s.failures--
				s.failed--
			}
			continue
		}
		to := resolve(u, ex.header.Get("Location"))
		if ex.status >= 300 && ex.status < 400 && to != nil && to.Scheme == "https" {
			continue
		}
		s.report("https-missing", ex, found{everywhere: true, message: "The site answers over http and does not redirect to https: whoever is on the way reads and changes what is sent."})
	}
	return nil
}

// isText reports whether an answer is of a kind that people or scripts read.
func isText(h http.Header) bool {
	kind := strings.ToLower(h.Get("Content-Type"))
	return kind == "" || strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") || strings.Contains(kind, "xml") || strings.Contains(kind, "javascript")
}
