package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"golang.org/x/net/html"

	"github.com/securetaghq/securetag/sdk"
)

// checkReflected gives each parameter a value with characters that mean something
// in HTML, and looks whether they still do in the answer: not whether the text is
// there, but whether a browser would see an element that nobody wrote.
func (s *scan) checkReflected(ctx context.Context) error {
	for i, in := range s.targets {
		mark := fmt.Sprintf("stq%dx", i)
		ex, err := s.get(ctx, with(in.url, in.name, mark+breakout+`<`+mark+`>`, in.all))
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			continue
		}
		if !isHTML(ex) || ex.status >= 300 && ex.status < 400 { // no browser shows what redirects
			continue
		}
		where, at := reflected(ex.body, mark)
		if where == "" {
			continue
		}
		what := found{
			key: in.name, excerpt: around(ex.body, at, at+len(mark)), properties: map[string]string{"parameter": in.name, "context": where},
			message: fmt.Sprintf("The parameter %.100q comes back in the page as %s: a link can carry a script that runs as whoever follows it.", in.name, where),
		}
		if where != "an element" {
			what.confidence = sdk.ConfidenceMedium
		}
		s.report("reflected-input", ex, what)
	}
	return nil
}

// breakout ends whatever a value may stand in: text in quotes, and the elements in
// which there are no others.
const breakout = `"'></script></style></title></textarea></noscript></xmp>-->`

// reflected says as what a mark came back, and where; "" for nothing that harms.
func reflected(body []byte, mark string) (as string, at int) {
	if !bytes.Contains(lower(body), []byte(mark)) {
		return "", 0
	}
	z := html.NewTokenizer(bytes.NewReader(body))
	script, from := false, 0
	here := func(raw []byte) int { return from + max(bytes.Index(raw, []byte(mark)), 0) }
	for {
		kind := z.Next()
		raw := lower(z.Raw()) // before what follows changes it
		switch kind {
		case html.ErrorToken:
			return as, at
		case html.StartTagToken, html.SelfClosingTagToken:
			name, has := z.TagName()
			if string(name) == mark {
				return "an element", from
			}
			script = string(name) == "script"
			if has && bytes.Contains(raw, []byte(mark)) && endsQuotes(raw, attributes(z), mark) {
				as, at = "part of a tag, its quotes as they were", here(raw)
			}
		case html.EndTagToken:
			script = false
		case html.TextToken:
			// In a script the quotes are what ends a string; the rest stays text.
			if script && bytes.Contains(raw, []byte(mark+`"'>`)) {
				as, at = "part of a script, its quotes as they were", here(raw)
			}
		}
		from += len(raw)
	}
}

// lower is a copy with the letters of ASCII in lower case. bytes.ToLower makes bytes
// that are no UTF-8 into three each, and what is found there stands elsewhere.
func lower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] += 'a' - 'A'
		}
	}
	return out
}

// endsQuotes reports whether the quotes behind a mark end the value of an attribute,
// so that what follows becomes attributes, such as onfocus, although it cannot
// become an element.
func endsQuotes(raw []byte, values map[string]string, mark string) bool {
	behind := func(quote string) bool { return bytes.Contains(raw, []byte(mark+quote)) }
	both := behind(`"'`) // once: a tag may have as many attributes as there is room for
	single := both || behind(`&quot;'`) || behind(`&#34;'`) || behind(`&#x22;'`)
	for _, v := range values {
		switch strings.ToLower(v) {
		case mark: // in double quotes
			if both {
				return true
			}
		case mark + `"`: // in single ones
			if single {
				return true
			}
		}
	}
	return false
}
