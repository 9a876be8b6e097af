package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestPermittedHosts: whatever links, redirects and options say, a scan asks only
// the hosts that its tenant may have scanned.
func TestPermittedHosts(t *testing.T) {
	t.Parallel()
	var other, self string
	foreign := serve(t, "other.test", nil, htmlPage("other"), nil)
	other = foreign.http
	s := serve(t, "site.test", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/leaves":
			http.Redirect(w, r, other+"/in", http.StatusFound)
		case strings.HasPrefix(r.Host, "www."):
			htmlPage("www").ServeHTTP(w, r)
		case r.URL.Path == "/www":
			http.Redirect(w, r, strings.Replace(self, "site.test", "www.site.test", 1)+"/", http.StatusFound)
		default:
			htmlPage(fmt.Sprintf(`<a href="%s/linked">x</a> <a href="/leaves">y</a> <a href="/page">z</a>`, other)).ServeHTTP(w, r)
		}
	}), nil)
	self = s.http
	port := ":" + urlPort(t, s.http)
	for name, tt := range map[string]struct {
		path   string
		only   []string
		hosts  []string
		status string
		reason string
		beyond bool // the other site is asked
	}{
		"nobody says":     {"/", nil, []string{strings.TrimPrefix(other, "http://")}, sdktest.Succeeded, "", true},
		"both":            {"/", []string{"site.test", "other.test"}, []string{strings.TrimPrefix(other, "http://")}, sdktest.Succeeded, "", true},
		"every one":       {"/", []string{"*"}, nil, sdktest.Succeeded, "", false},
		"the option":      {"/", []string{"site.test", "*.site.test"}, []string{strings.TrimPrefix(other, "http://")}, sdktest.Refused, "your tenant may not have scanned", false},
		"links":           {"/", []string{"site.test"}, nil, sdktest.Succeeded, "", false},
		"its port":        {"/", []string{"site.test" + port}, nil, sdktest.Succeeded, "", false},
		"another port":    {"/", []string{"site.test:1"}, nil, sdktest.Refused, "not one of the hosts that this scan may call", false},
		"another host":    {"/", []string{"other.test"}, nil, sdktest.Refused, "not one of the hosts that this scan may call", false},
		"only below":      {"/", []string{"*.site.test"}, nil, sdktest.Refused, "not one of the hosts that this scan may call", false},
		"to www":          {"/www", []string{"site.test", "www.site.test"}, nil, sdktest.Succeeded, "", false},
		"to www, refused": {"/www", []string{"site.test"}, nil, sdktest.Failed, "which is another site", false},
	} {
		foreign.mu.Lock()
		foreign.asked = nil
		foreign.mu.Unlock()
		s.url, s.only = s.http+tt.path, tt.only
		r := s.scan(t, nil, map[string]any{"passive": true, "hosts": append([]string{}, tt.hosts...)})
		if r.Status != tt.status || !strings.Contains(r.Reason, tt.reason) {
			t.Errorf("%s: %s %s, want %s %s", name, r.Status, r.Reason, tt.status, tt.reason)
		}
		if asked := foreign.requests(); len(asked) > 0 != tt.beyond {
			t.Errorf("%s: the other site was asked for %q", name, asked)
		}
	}
}

func urlPort(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
