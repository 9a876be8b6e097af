package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

// sessionName are names of cookies that log somebody in.
var sessionName = regexp.MustCompile(`(?i)sess|^sid$|[._-]sid$|auth|token|jwt|login|remember|identity`)

const maxCookies = 50 // of one answer

func (s *scan) checkCookies(p *page) {
	for i, line := range p.header.Values("Set-Cookie") {
		if i == maxCookies {
			p.leave("cookies", maxCookies, len(p.header.Values("Set-Cookie"))-maxCookies)
			return
		}
		if c := setCookie(line); c != nil && c.Value != "" && !deleted(c) {
			s.checkCookie(p, c)
		}
	}
}

// setCookie reads a cookie as browsers do (RFC 6265bis), who take names and values
// that net/http does not, such as JSON. nil: it has no name.
func setCookie(line string) *http.Cookie {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	c, err := http.ParseSetCookie("c=v;" + attributes)
	if !ok || name == "" || err != nil {
		return nil
	}
	c.Name, c.Value = name, value
	return c
}

// deleted reports whether the answer takes the cookie away. Of both attributes
// Max-Age counts.
func deleted(c *http.Cookie) bool {
	return c.MaxAge < 0 || c.MaxAge == 0 && !c.Expires.IsZero() && c.Expires.Before(time.Now())
}

func (s *scan) checkCookie(p *page, c *http.Cookie) {
	session := sessionName.MatchString(c.Name)
	severity := func(of, other sdk.Severity) sdk.Severity {
		if session {
			return of
		}
		return other
	}
	bad := func(rule string, sev sdk.Severity, format string) {
		s.report(rule, p.exchange, found{
			message: fmt.Sprintf(format, c.Name), key: c.Name, everywhere: true, severity: sev, properties: map[string]string{"cookie": c.Name},
		})
	}
	if !c.Secure {
		bad("cookie-not-secure", severity(sdk.Medium, sdk.Low), "The cookie %.100q has no Secure: it is sent over http as well, where it can be read.")
	}
	// A token against forged requests is there for scripts to read.
	csrf := strings.Contains(strings.ToLower(c.Name), "csrf") || strings.Contains(strings.ToLower(c.Name), "xsrf")
	if !c.HttpOnly && !csrf {
		bad("cookie-not-httponly", severity(sdk.Medium, sdk.Info), "The cookie %.100q has no HttpOnly: a script that got into a page can read it.")
	}
	switch {
	case c.SameSite == 0 || c.SameSite == http.SameSiteDefaultMode:
		bad("cookie-no-samesite", severity(sdk.Low, sdk.Info), "The cookie %.100q has no SameSite: what browsers do then differs, and some send it with requests that other sites make.")
	case c.SameSite == http.SameSiteNoneMode && session:
		bad("cookie-no-samesite", sdk.Low, "The cookie %.100q has SameSite=None: it is sent with requests that other sites make.")
	}
	host := strings.HasPrefix(c.Name, "__Host-")
	if host && (!c.Secure || c.Domain != "" || c.Path != "/") || strings.HasPrefix(c.Name, "__Secure-") && !c.Secure {
		bad("cookie-prefix", sdk.Low, "The cookie %.100q does not keep what its prefix promises, so browsers drop it.")
	}
}
