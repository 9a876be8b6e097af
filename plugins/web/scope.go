package main

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"strings"
)

// scope is which hosts belong to the site.
type scope struct {
	port  string          // of the target, beside 80 and 443
	hosts map[string]bool // "name" for the ports above, "name:port" for one more
	// permits says which of them this tenant may have scanned.
	permits func(*url.URL) bool
}

func newScope(target *url.URL, more []string, permits func(*url.URL) bool) (*scope, error) {
	s := &scope{port: portOf(target), hosts: map[string]bool{hostOf(target): true}, permits: permits}
	for _, h := range more {
		u, err := url.Parse("http://" + h)
		if err != nil || u.Hostname() == "" || u.Host != h || u.User != nil {
			return nil, fmt.Errorf("the option hosts has %.100q, which is no host such as shop.example.com or shop.example.com:8443", h)
		}
		secure := *u
		if secure.Scheme = "https"; !permits(u) && !permits(&secure) {
			return nil, fmt.Errorf("the option hosts has %.100q, which your tenant may not have scanned: prove that it is yours, as for a target", h)
		}
		if u.Port() == "" {
			s.hosts[hostOf(u)] = true
		} else {
			s.hosts[net.JoinHostPort(hostOf(u), u.Port())] = true
		}
	}
	return s, nil
}

// has reports whether a URL belongs to the site.
func (s *scope) has(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	if !s.permits(u) {
		return false
	}
	host, port := hostOf(u), portOf(u)
	return s.hosts[host] && (port == s.port || port == "80" || port == "443") || s.hosts[net.JoinHostPort(host, port)]
}

// adopt takes in the host to which the first page redirected, when it is the
// same with or without www: people write either.
func (s *scope) adopt(from, to *url.URL) bool {
	a, b := hostOf(from), hostOf(to)
	if !s.has(from) || a != "www."+b && "www."+a != b {
		return false
	}
	if !s.permits(to) {
		return false
	}
	s.hosts[b] = true
	return s.has(to)
}

func hostOf(u *url.URL) string {
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

func portOf(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// origin is scheme://host, with the port where it is not the usual one.
func origin(u *url.URL) string {
	host := hostOf(u)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := portOf(u); u.Scheme == "https" && p != "443" || u.Scheme == "http" && p != "80" {
		host += ":" + p
	}
	return u.Scheme + "://" + host
}

const maxURL = 2000 // bytes

// resolve reads a link of a page: absolute, without fragment, one way to write
// each. nil: it is none that can be followed.
func resolve(base *url.URL, link string) *url.URL {
	link = strings.TrimSpace(link)
	if len(link) > maxURL {
		return nil
	}
	// To browsers a backslash is a slash.
	before, query, asks := strings.Cut(link, "?")
	link = strings.ReplaceAll(before, `\`, "/")
	if asks {
		link += "?" + query
	}
	u, err := base.Parse(link)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	o, err := url.Parse(origin(u))
	if err != nil {
		return nil
	}
	u.Scheme, u.Host = o.Scheme, o.Host
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	if len(u.String()) > maxURL {
		return nil
	}
	return u
}

// page is the URL without its query: a place that stays the same.
func place(u *url.URL) string {
	return origin(u) + u.EscapedPath()
}

// at is a path of the origin of u.
func at(u *url.URL, p string) *url.URL {
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: p}
}

// dir is the directory of a URL's path, with a slash at its end.
func dir(u *url.URL) string {
	if strings.HasSuffix(u.Path, "/") {
		return u.Path
	}
	d := path.Dir(u.Path)
	if !strings.HasSuffix(d, "/") {
		d += "/"
	}
	return d
}
