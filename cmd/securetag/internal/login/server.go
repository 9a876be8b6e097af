package login

import (
	"errors"
	"net/url"
	"strings"
)

// Canonical is the one way to write the URL of a server, by which two are known
// to be the same.
func Canonical(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// It is not repeated: a password may be in it.
		return "", errors.New("the server's URL is no whole one: give one such as https://scans.example.com, without user name, query or fragment")
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	return u.Scheme + "://" + strings.TrimSuffix(host, ":") + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// Same reports whether two URLs name one server, over the same protocol: what was
// given for https goes nowhere in the clear. When it cannot tell they are two.
func Same(a, b string) bool {
	ca, err := Canonical(a)
	if err != nil {
		return false
	}
	cb, err := Canonical(b)
	return err == nil && ca == cb
}
