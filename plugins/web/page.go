package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Bounds of what is kept of one page. What is over them is not looked at, and
// counted in page.left.
const (
	maxLinks     = 2000
	maxForms     = 100
	maxFields    = 200 // of one form
	maxName      = 200 // bytes of a field's name
	maxResources = 1000
	maxToken     = 1 << 20 // bytes of a tag, or of the text between two: one that is larger ends the page
)

// page is an answer as the checks see it.
type page struct {
	*exchange
	depth int // links from the first page

	html      bool
	title     string
	links     []*url.URL // of what may be followed, redirects included
	forms     []form
	resources []resource
	policies  []string // of meta elements: Content-Security-Policy
	refresh   *url.URL // of a meta element

	left  map[kind]int // what there are too many of
	long  int          // links whose URLs are too long
	ended bool         // by a token that is too large
}

type form struct {
	action   *url.URL
	method   string // get, post
	fields   []field
	password bool
	tag      string // as it stands in the page
}

type field struct{ name, kind, value string }

// resource is what a page loads by itself.
type resource struct {
	url       *url.URL
	tag       string
	active    bool // it can change the page
	integrity bool
	text      string // of the tag, as it stands in the page
}

// newPage reads an answer. HTML is read by its tokens and not as a tree, because
// a tree of what a stranger wrote may cost much more than its text.
func newPage(ex *exchange, depth int) *page {
	p := &page{exchange: ex, depth: depth}
	if to := refreshed(ex.url, ex.header.Get("Refresh")); to != nil {
		p.links = append(p.links, to)
	}
	if to := resolve(ex.url, ex.header.Get("Location")); to != nil && ex.header.Get("Location") != "" && ex.status >= 300 && ex.status < 400 {
		p.links = append(p.links, to)
	}
	if len(ex.header.Get("Location")) > maxURL {
		p.long++
	}
	if p.html = isHTML(ex); !p.html {
		return p
	}
	r := &reader{page: p, base: ex.url}
	z := html.NewTokenizer(bytes.NewReader(ex.body))
	z.SetMaxBuf(maxToken)
	for {
		switch z.Next() {
		case html.ErrorToken:
			r.closeForm()
			p.ended = errors.Is(z.Err(), html.ErrBufferExceeded)
			return p
		case html.StartTagToken, html.SelfClosingTagToken:
			r.start(z)
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == "form" {
				r.closeForm()
			}
			r.inTitle = false
		case html.TextToken:
			if r.inTitle && p.title == "" {
				p.title = strings.TrimSpace(cutText(string(z.Text()), 200))
			}
		}
	}
}

// isHTML goes by what the server says, and by the text where it says nothing, as
// browsers do. They care for no mistake behind the kind, as in "text/html; utf-8".
func isHTML(ex *exchange) bool {
	kind, _, _ := strings.Cut(ex.header.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case "", "unknown/unknown", "application/unknown", "*/*":
		kind, _, _ = strings.Cut(http.DetectContentType(ex.body), ";")
	}
	return kind == "text/html" || kind == "application/xhtml+xml"
}

// reader fills a page from its tokens.
type reader struct {
	page    *page
	base    *url.URL
	form    *form
	raw     string // of the tag that is read
	inTitle bool
}

const maxTag = 300 // bytes of a tag that are shown

func attributes(z *html.Tokenizer) map[string]string {
	out := make(map[string]string)
	for {
		name, value, more := z.TagAttr()
		if len(name) > 0 {
			if _, twice := out[string(name)]; !twice { // the first counts
				out[string(name)] = string(value)
			}
		}
		if !more {
			return out
		}
	}
}

func (r *reader) start(z *html.Tokenizer) {
	r.raw = cutText(string(z.Raw()), maxTag) // first: what follows changes it
	name, has := z.TagName()
	tag := string(name)
	a := map[string]string{}
	if has {
		a = attributes(z)
	}
	r.inTitle = tag == "title"
	switch tag {
	case "base":
		if u := resolve(r.base, a["href"]); u != nil {
			r.base = u
		}
	case "a", "area":
		r.link(a["href"])
	case "meta":
		r.meta(a)
	case "script":
		r.load(tag, a["src"], true, a)
	case "iframe", "frame":
		r.load(tag, a["src"], true, a)
		r.link(a["src"])
	case "object":
		r.load(tag, a["data"], true, a)
	case "embed":
		r.load(tag, a["src"], true, a)
	case "link":
		if rel := strings.ToLower(a["rel"]); strings.Contains(rel, "stylesheet") {
			r.load(tag, a["href"], true, a)
		}
	case "img", "audio", "video", "source", "track":
		r.load(tag, a["src"], false, a)
	case "form":
		r.openForm(a)
	case "input", "textarea", "select", "button":
		r.field(tag, a)
	}
}

func (r *reader) link(href string) {
	if href == "" || strings.HasPrefix(href, "#") {
		return
	}
	if len(r.page.links) >= maxLinks {
		r.page.leave("links", maxLinks, 1)
		return
	}
	r.measure(href)
	if u := resolve(r.base, href); u != nil {
		r.page.links = append(r.page.links, u)
	}
}

// measure counts what resolve does not take because it is too long. What is no
// URL of the web, such as an image that is written out, is none to count.
func (r *reader) measure(link string) {
	if len(link) <= maxURL {
		return
	}
	scheme, _, ok := strings.Cut(strings.TrimSpace(link), ":")
	if !ok || strings.ContainsAny(scheme, "/?#") || strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
		r.page.long++
	}
}

func (r *reader) meta(a map[string]string) {
	switch strings.ToLower(a["http-equiv"]) {
	case "content-security-policy":
		r.page.policies = append(r.page.policies, a["content"])
	case "refresh":
		if u := refreshed(r.base, a["content"]); u != nil {
			r.page.refresh = u
			r.page.links = append(r.page.links, u)
		}
	}
}

// refreshed is where "3; url=/next" leads to.
func refreshed(base *url.URL, content string) *url.URL {
	_, rest, ok := strings.Cut(content, ";")
	rest = strings.TrimSpace(rest)
	if !ok || len(rest) < 4 || !strings.EqualFold(rest[:3], "url") {
		return nil
	}
	rest = strings.TrimSpace(rest[3:])
	if !strings.HasPrefix(rest, "=") {
		return nil
	}
	return resolve(base, strings.Trim(strings.TrimSpace(rest[1:]), `"'`))
}

func (r *reader) load(tag, src string, active bool, a map[string]string) {
	if src == "" {
		return
	}
	if len(r.page.resources) >= maxResources {
		r.page.leave("scripts, images and other resources", maxResources, 1)
		return
	}
	r.measure(src)
	if u := resolve(r.base, src); u != nil {
		r.page.resources = append(r.page.resources, resource{u, tag, active, a["integrity"] != "", r.raw})
	}
}

func (r *reader) openForm(a map[string]string) {
	r.closeForm()
	action := r.page.url // without one a form goes to its page
	if a["action"] != "" {
		r.measure(a["action"])
		action = resolve(r.base, a["action"])
	}
	method := strings.ToLower(a["method"])
	if method != "post" && method != "dialog" {
		method = "get"
	}
	r.form = &form{action: action, method: method, tag: r.raw}
}

func (r *reader) field(tag string, a map[string]string) {
	if r.form == nil {
		return
	}
	kind := strings.ToLower(a["type"])
	if tag == "input" && kind == "password" {
		r.form.password = true
	}
	switch {
	case a["name"] == "":
	case len(r.form.fields) >= maxFields:
		r.page.leave("fields in a form", maxFields, 1)
	case len(a["name"]) > maxName:
		r.page.leave("bytes in the name of a field", maxName, 1)
	default:
		r.form.fields = append(r.form.fields, field{a["name"], kind, cutText(a["value"], 200)})
	}
}

func (r *reader) closeForm() {
	if r.form == nil {
		return
	}
	if r.form.action != nil && len(r.page.forms) < maxForms {
		r.page.forms = append(r.page.forms, *r.form)
	} else if r.form.action != nil {
		r.page.leave("forms", maxForms, 1)
	}
	r.form = nil
}

// pair is a parameter as it stands in a query.
type pair struct{ name, value string }

const maxPairs = 50

// pairs reads a query in its order; url.Values has none.
func pairs(query string) []pair {
	out, _ := readPairs(query)
	return out
}

// readPairs is pairs, with how many there are more.
func readPairs(query string) (out []pair, left int) {
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		if len(out) == maxPairs {
			left++
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err == nil && err2 == nil {
			out = append(out, pair{n, v})
		}
	}
	return out, left
}

// with is u with one parameter set to value and the others as they are.
func with(u *url.URL, name, value string, all []pair) *url.URL {
	parts := make([]string, 0, len(all))
	for _, p := range all {
		if p.name == name {
			p.value = value
		}
		parts = append(parts, url.QueryEscape(p.name)+"="+url.QueryEscape(p.value))
	}
	out := *u
	out.RawQuery = strings.Join(parts, "&")
	return &out
}
