package main

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var redirectName = regexp.MustCompile(`(?i)url|uri|redir|return|next|dest|goto|continue|forward|target|callback|back|^to$|^r$|^u$|link|location|ref`)

// checkRedirects gives parameters that look as if they said where to go a place
// that is not of the site.
func (s *scan) checkRedirects(ctx context.Context) error {
	for _, in := range s.targets {
		value := ""
		for _, p := range in.all {
			if p.name == in.name {
				value = p.value
			}
		}
		if !redirectName.MatchString(in.name) && !strings.HasPrefix(value, "/") && !strings.Contains(value, "://") {
			continue
		}
		// Each gets past another way to check.
		for _, to := range []string{"https://" + stranger + "/", "//" + stranger + "/", `/\` + stranger + "/", otherScheme(in.url) + stranger} {
			ex, err := s.get(ctx, with(in.url, in.name, to, in.all))
			if err != nil {
				if stops(ctx, err) {
					return err
				}
				break
			}
			if leadsOut(newPage(ex, 0)) {
				s.report("open-redirect", ex, found{
					key: in.name, properties: map[string]string{"parameter": in.name},
					message: fmt.Sprintf("The parameter %.100q says where the site redirects to, any other site as well: a link to this one leads to one that looks like it.", in.name),
				})
				break
			}
		}
	}
	return nil
}

// leadsOut reports whether a browser would go to the stranger.
func leadsOut(p *page) bool {
	for _, to := range []*url.URL{location(p), refreshed(p.url, p.header.Get("Refresh")), p.refresh} {
		if to != nil && hostOf(to) == stranger {
			return true
		}
	}
	return false
}

// location reads the header as browsers do, to which http:x is http://x where
// the page came over https, and the other way round.
func location(p *page) *url.URL {
	v := strings.TrimSpace(p.header.Get("Location"))
	if v == "" || p.status < 300 || p.status >= 400 {
		return nil
	}
	other := otherScheme(p.url)
	if rest, ok := strings.CutPrefix(strings.ToLower(v), other); ok && !strings.HasPrefix(rest, "//") {
		v = other + "//" + strings.TrimLeft(rest, `/\`)
	}
	return resolve(p.url, v)
}

func otherScheme(u *url.URL) string {
	if u.Scheme == "https" {
		return "http:"
	}
	return "https:"
}
