package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/net/html"

	"github.com/securetaghq/securetag/sdk"
)

// checkReflected gives each parameter a value with characters that mean something
// in HTML, and looks whether they still do in the answer: not whether the text is
// there, but whether a browser would see an element that nobody wrote.
func (s *scan) checkReflected(ctx context.Context) error {
	for i, in := range s.targets {
		mark := fmt.Sprintf("stq%dx", i)
		ex, err := s.get(ctx, with(in.url, in.name, mark+`"'></script></title></textarea>--><`+mark+`>`, in.all))
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			continue
		}
		if !isHTML(ex) {
			continue
		}
		where, at, ended := reflected(ex.body, mark)
		if ended {
			s.ended++
		}
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

// reflected says as what a mark came back, and where; "" for nothing that harms.
// ended: the page has a token that is too large, and may show it behind that.
func reflected(body []byte, mark string) (as string, at int, ended bool) {
	at = bytes.Index(body, []byte(mark))
	if at < 0 {
		return "", 0, false
	}
	z := html.NewTokenizer(bytes.NewReader(body))
	z.SetMaxBuf(maxToken)
	script := false
	for as = ""; ; {
		switch z.Next() {
		case html.ErrorToken:
			return as, at, errors.Is(z.Err(), html.ErrBufferExceeded)
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			if string(name) == mark {
				return "an element", at, false
			}
			script = string(name) == "script"
		case html.EndTagToken:
			script = false
		case html.TextToken:
			// In a script the quotes are what ends a string; the rest stays text.
			if script && bytes.Contains(z.Raw(), []byte(mark+`"'>`)) {
				as = "part of a script, its quotes as they were"
			}
		}
	}
}
