package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

// What a site shows is shown on in findings and artifacts, and kept. So whatever
// looks like a secret is taken out before: values of cookies and of parameters,
// settings and headers that are named like one, and what is one by its form.

var (
	secretName  = regexp.MustCompile(`(?i)pass|pwd|secret|token|api[_-]?key|access[_-]?key|private|credential|auth|session|^sid$|sessid|signature|^sig$|jwt|otp|^code$|^key$`)
	secretValue = regexp.MustCompile(`(?i)([\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|sessid)[\w.-]*["']?\s*(?:=>|[:=,])\s*["']?)([^\s"'&<>;,]+)`)
	secretForm  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[0-9A-Za-z]{20,}|\bxox[abprs]-[0-9A-Za-z-]{10,}|\b[rs]k_live_[0-9A-Za-z]{10,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*`)
	secretUser  = regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^/\s:@]{0,100}:)[^/\s@]{1,200}@`)
	secretHash  = regexp.MustCompile(`\$(?:apr1|2[aby]|[156]|argon2\w*)\$[^\s:]+|\{S?SHA\}\S+`)
	setting     = regexp.MustCompile(`(?m)^(\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=\s*)(?:"[^"]*(?:"|\z)|'[^']*(?:'|\z)|\S).*$`) // in quotes it may go on over lines
)

// redactText takes secrets out of text of the site.
func redactText(s string) string {
	s = secretForm.ReplaceAllStringFunc(s, sdk.Redact)
	s = secretHash.ReplaceAllString(s, "****")
	s = secretUser.ReplaceAllString(s, "$1****@")
	return secretValue.ReplaceAllString(s, "$1****")
}

// redactSettings leaves the names of settings and takes every value.
func redactSettings(s string) string {
	return redactText(setting.ReplaceAllString(s, "$1****"))
}

func redactHeader(name, value string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Set-Cookie":
		return redactCookie(value)
	case "Cookie", "Authorization", "Proxy-Authorization":
		return "****"
	case "Location", "Refresh", "Content-Location", "Link":
		return redactQuery(redactText(value))
	}
	if secretName.MatchString(name) && name != "Www-Authenticate" && !strings.HasPrefix(name, "Access-Control-") {
		return sdk.Redact(value)
	}
	return redactText(value)
}

// redactCookie keeps the name and the attributes of a Set-Cookie.
func redactCookie(v string) string {
	pair, attributes, more := strings.Cut(v, ";")
	name, value, ok := strings.Cut(pair, "=")
	if ok && value != "" {
		pair = name + "=****"
	}
	if more {
		pair += ";" + attributes
	}
	return pair
}

func redactURL(u *url.URL) string {
	out := place(u)
	if u.RawQuery != "" {
		out += redactQuery("?" + u.RawQuery)
	}
	return out
}

// redactQuery takes the secrets out of what follows a question mark.
func redactQuery(s string) string {
	before, query, ok := strings.Cut(s, "?")
	if !ok {
		return s
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		name, value, has := strings.Cut(p, "=")
		if plain, err := url.QueryUnescape(name); has && err == nil {
			parts[i] = name + "=" + redactParam(plain, value)
		}
	}
	return before + "?" + strings.Join(parts, "&")
}

func redactParam(name, value string) string {
	if value != "" && secretName.MatchString(name) {
		return "****"
	}
	return redactText(value)
}
