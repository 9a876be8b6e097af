package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzPage: whatever a page is, reading it ends, keeps to its bounds, and gives
// links that are whole and can be asked for.
func FuzzPage(f *testing.F) {
	for _, body := range []string{
		`<base href="/x/"><a href="y?a=b#c">z</a><form action=/f method=POST><input type=password name=p><input name=q value="1"></form>`,
		`<meta http-equiv=refresh content="0; url='//a.test/'"><meta http-equiv="content-security-policy" content="script-src 'self', ;;">`,
		`<script src=//cdn.test/jquery-1.2.3.js></script><script>var a = "stq1x"'>"</script><iframe src="data:text/html,x"><img src=http://[::1>`,
		"<title>Index of /</title><a href=\"../\">..</a><pre>\n<a href=\"x\">", "<a <a <a href=<<>>\x00\xff", `<a href="\\a.test\b?c=\d">`,
	} {
		f.Add(body, "text/html", "/next", "default-src 'self'; script-src *")
	}
	f.Fuzz(func(t *testing.T, body, kind, location, policy string) {
		u, _ := url.Parse("https://site.test/dir/page?x=y")
		p := newPage(&exchange{url: u, status: 302, body: []byte(body), header: http.Header{
			"Content-Type": {kind}, "Location": {location}, "Content-Security-Policy": {policy},
		}}, 0)
		if len(p.links) > maxLinks+1 || len(p.forms) > maxForms || len(p.resources) > maxResources {
			t.Errorf("%d links, %d forms, %d resources", len(p.links), len(p.forms), len(p.resources))
		}
		for _, l := range p.links {
			checkLink(t, l)
		}
		for _, r := range p.resources {
			checkLink(t, r.url)
		}
		for _, fo := range p.forms {
			if fo.action != u {
				checkLink(t, fo.action)
			}
		}
		all := parsePolicies(append(p.policies, policy))
		if len(all) > maxPolicies {
			t.Errorf("%d policies", len(all))
		}
		weak(all)
		leadsOut(p)
		isListing(p.body)
		if as, at := reflected(p.body, "stq1x"); as != "" && !strings.HasPrefix(string(lower(p.body[at:])), "stq1x") && !strings.HasPrefix(string(lower(p.body[at:])), "<stq1x") {
			t.Errorf("%s is not at %d", as, at)
		}
	})
}

// checkLink: a link says the same when it is read again, so that what is in scope
// when it is looked at is so when it is asked for.
func checkLink(t *testing.T, l *url.URL) {
	t.Helper()
	again, err := url.Parse(l.String())
	if err != nil || again.Host != l.Host || again.Fragment != "" || again.User != nil || len(l.String()) > maxURL {
		t.Errorf("%q reads as %+v, %v", l, again, err)
		return
	}
	if twice := resolve(again, l.String()); twice == nil || twice.String() != l.String() {
		t.Errorf("%q resolves to %v", l, twice)
	}
	target, _ := url.Parse("https://site.test/")
	s, err := newScope(target, nil, func(*url.URL) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if s.has(l) && hostOf(again) != "site.test" {
		t.Errorf("%q is of the site", l)
	}
}

// FuzzRedaction: a secret whose form is known is not shown, whatever is around it.
func FuzzRedaction(f *testing.F) {
	key := "AKIA" + "Q3EGRIZ7WT5KHJMN"
	for _, s := range []string{"", "key: ", "password = ", "https://a:", "?token=", "Set-Cookie: a=", "\xff", "&%zz="} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		text := before + " " + key + " " + after
		if strings.Contains(before+after, key) {
			return
		}
		for _, got := range []string{redactText(text), redactSettings(text), redactCookie("a=" + key + ";" + after), redactHeader("Set-Cookie", "a="+key)} {
			if strings.Contains(got, key) {
				t.Errorf("%q shows the key: %q", text, got)
			}
		}
		redactURL(&url.URL{Scheme: "https", Host: "site.test", Path: before, RawQuery: text})
	})
}
