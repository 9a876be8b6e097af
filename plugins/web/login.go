package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	maxLoginHeaders = 16
	maxLoginCookies = 32
	maxLoginBytes   = 8 << 10 // of names and values together
	// minHidden is the shortest value that is hidden where the site repeats it: a
	// shorter one is everywhere.
	minHidden = 4
)

// login is what a client gave so that the site takes the scan for somebody. It is
// sent to the origin of the target, to no other, and nothing that the site answers
// is looked at or kept before it is taken out.
type login struct {
	origin string
	header http.Header
	hidden [][]byte // the values as a site may repeat them, longest first
}

// newLogin checks the secret options. An error names headers and cookies, and
// never a value.
func newLogin(target *url.URL, o *Options) (*login, error) {
	if len(o.Headers) == 0 && len(o.Cookies) == 0 {
		return nil, nil
	}
	l := &login{origin: origin(target), header: http.Header{}}
	size := 0
	if len(o.Headers) > maxLoginHeaders || len(o.Cookies) > maxLoginCookies {
		return nil, fmt.Errorf("headers may have %d of them, and cookies %d", maxLoginHeaders, maxLoginCookies)
	}
	var values []string
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		value := o.Headers[name]
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return nil, fmt.Errorf("headers: %.100q is no name of a header", name)
		case forbiddenHeader(name):
			return nil, fmt.Errorf("headers: %.100q is not taken: it is of the connection, or the scanner's own", name)
		case l.header.Values(name) != nil:
			return nil, fmt.Errorf("headers: %.100q is there twice", name)
		case !httpguts.ValidHeaderFieldValue(value) || strings.Contains(value, "\t") || strings.TrimSpace(value) != value || value == "":
			return nil, fmt.Errorf("headers: the value of %.100q is empty, begins or ends with a space, or has a control character", name)
		}
		l.header.Set(name, value)
		values = append(values, value)
		size += len(name) + len(value)
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(o.Cookies)) {
		value := o.Cookies[name]
		if err := (&http.Cookie{Name: name, Value: value}).Valid(); err != nil || value == "" || strings.TrimSpace(value) != value { // it repeats a character of the value
			return nil, fmt.Errorf("cookies: %.100q is no name of a cookie, or its value is empty, begins or ends with a space, or has a character that cookies cannot have", name)
		}
		pairs = append(pairs, name+"="+value)
		values = append(values, value)
		size += len(name) + len(value)
	}
	if size > maxLoginBytes {
		return nil, fmt.Errorf("headers and cookies are larger than %d bytes together", maxLoginBytes)
	}
	if len(pairs) > 0 {
		l.header.Set("Cookie", strings.Join(pairs, "; "))
	}
	l.hide(values)
	return l, nil
}

// forbiddenHeader reports whether a header is not a login's: those of the
// connection and of the body, by which one request would become two, those of a
// browser that the checks set, and cookies, which have an option of their own.
func forbiddenHeader(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, prefix := range []string{"Proxy-", "Sec-", "Content-", "Access-Control-", "If-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Http2-Settings", "Max-Forwards",
		"Cookie", "Origin", "Accept-Encoding", "Range", "Via", "Forwarded",
	}, name)
}

// hide finds the forms in which a site repeats values: as they are, escaped, and
// what is inside of Authorization.
func (l *login) hide(values []string) {
	forms := map[string]bool{}
	add := func(v string) {
		quoted := fmt.Sprintf("%q", v)
		lower := func(s string) string { // %2F as %2f
			b := []byte(s)
			for i := 0; i+2 < len(b); i++ {
				if b[i] == '%' {
					copy(b[i:], bytes.ToLower(b[i:i+3]))
				}
			}
			return string(b)
		}
		for _, form := range []string{
			v, url.QueryEscape(v), url.PathEscape(v), lower(url.QueryEscape(v)), lower(url.PathEscape(v)), html.EscapeString(v),
			quoted[1 : len(quoted)-1], strings.ReplaceAll(v, "/", `\/`), base64.StdEncoding.EncodeToString([]byte(v)),
		} {
			if len(form) >= minHidden {
				forms[form] = true
			}
		}
	}
	for _, v := range values {
		add(v)
		scheme, credentials, ok := strings.Cut(v, " ")
		if !ok {
			continue
		}
		add(credentials)
		if !strings.EqualFold(scheme, "Basic") {
			continue
		}
		if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			add(string(plain))
			if _, password, ok := strings.Cut(string(plain), ":"); ok {
				add(password)
			}
		}
	}
	for form := range forms {
		l.hidden = append(l.hidden, []byte(form))
	}
	// One that is part of another comes behind it, or the rest would be left.
	slices.SortFunc(l.hidden, func(a, b []byte) int { return len(b) - len(a) })
}

// put adds the login to a request, if it goes to the target's own origin: scheme,
// host and port. What a check sets itself stays. It gives the headers as they may
// be shown.
func (l *login) put(req *http.Request) (shown http.Header) {
	shown = req.Header.Clone()
	if l == nil || origin(req.URL) != l.origin {
		return shown
	}
	for name, v := range l.header {
		if own := req.Header.Values(name); own != nil && name != "User-Agent" && name != "Accept" {
			continue
		}
		req.Header[name] = v
		shown[name] = []string{"****"}
	}
	return shown
}

// errRepeats stands for an error that has a part of the login in it.
var errRepeats = errors.New("the request failed, and the reason is not shown because it repeats the login")

// scrub takes the login out of an answer, before anything looks at it. The end of
// a body that was cut may be the beginning of a value.
func (l *login) scrub(ex *exchange) {
	if l == nil {
		return
	}
	for name, values := range ex.header {
		clean := make([]string, len(values))
		for i, v := range values {
			clean[i] = string(l.take([]byte(v)))
		}
		if shown := string(l.take([]byte(name))); shown != name {
			delete(ex.header, name)
			name = shown
		}
		ex.header[name] = clean
	}
	ex.body = l.take(ex.body)
	if !ex.cut {
		return
	}
	for n := min(len(ex.body), maxLoginBytes); n >= minHidden; n-- {
		if end := ex.body[len(ex.body)-n:]; slices.ContainsFunc(l.hidden, func(h []byte) bool { return bytes.HasPrefix(h, end) }) {
			ex.body = append(ex.body[:len(ex.body)-n:len(ex.body)-n], "****"...)
			return
		}
	}
}

// scrubError is an error as it may be shown.
func (l *login) scrubError(err error) error {
	if l == nil || err == nil || bytes.Equal(l.take([]byte(err.Error())), []byte(err.Error())) {
		return err
	}
	return errRepeats
}

func (l *login) take(b []byte) []byte {
	for _, h := range l.hidden {
		if bytes.Contains(b, h) {
			b = bytes.ReplaceAll(b, h, []byte("****"))
		}
	}
	return b
}
