package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/watch"
	"github.com/securetaghq/securetag/internal/testserver"
)

// The three tables that a new route may have to be added to.

// isolation is one run of the test below.
type isolation struct {
	*env
	doc    *openAPI
	plain  *http.Client
	estate map[string]object
	marks  []string // what only alice may read
}

// TestIsolation takes every route and method from the document, so that a new one
// cannot be forgotten, and calls it with every wrong key against what alice has:
// 404, 401 and 403 and nothing else, in the same words as for what nobody has.
func TestIsolation(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		isolate(t, newWatched(t, api.Config{}, watch.Config{}).env)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		s, err := postgres.Open(t.Context(), postgres.Config{URL: testserver.Postgres(t), MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		isolate(t, newWatched(t, api.Config{}, watch.Config{}, func(d *api.Deps) { d.Store.(*faulty).Store = s }).env)
	})
}

func isolate(t *testing.T, e *env) {
	i := &isolation{env: e, doc: loadDoc(t, e.api), plain: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(i.plain.CloseIdleConnections)
	i.people(t)
	i.estate = e.estate(t)
	all := operations(t, i.doc)
	i.complete(t, all)
	before := i.alicesView(t, all)
	i.marks = append(secretsOfAlice(), uuids.FindAllString(strings.Join(slices.Collect(maps.Values(before)), " "), -1)...)
	for _, o := range all {
		switch o.guard {
		case "tenant":
			i.same(t, o, http.StatusUnauthorized, "nobody", "unknown", "expired", "revoked", "ann", "fired")
			i.same(t, o, http.StatusForbidden, "suspended")
			bob, alice := i.without(t, o)
			i.same(t, o, http.StatusForbidden, bob, alice)
			i.strangers(t, o)
		case "operator":
			i.same(t, o, http.StatusUnauthorized, "nobody", "unknown", "expired", "revoked", "suspended", "bob", "alice", "fired", "retired")
		default:
			if !slices.Contains(open(), o.method+" "+o.path) {
				t.Errorf("%s %s asks for no key: give it Security, or say in open() that everybody may", o.method, o.path)
			}
		}
	}
	if diff := cmp.Diff(before, i.alicesView(t, all)); diff != "" {
		t.Errorf("after all that, what alice sees has changed (-before +after):\n%s", diff)
	}
	i.truth(t, all)
}

// people makes keys of all who must not get in.
func (i *isolation) people(t *testing.T) {
	t.Helper()
	suspended := host.Tenant{ID: host.NewTenantID(), Name: "suspended"}
	if err := i.store.CreateTenant(t.Context(), suspended); err != nil {
		t.Fatal(err)
	}
	i.tenants["suspended"] = suspended.ID
	i.key(t, "suspended", "suspended", host.AllScopes()...)
	if err := i.store.Suspend(t.Context(), suspended.ID, "test"); err != nil {
		t.Fatal(err)
	}
	secret, expired := apikey.New()
	expired.TenantID, expired.Scopes, expired.ExpiresAt = i.tenants["alice"], host.AllScopes(), time.Now().Add(-time.Minute)
	if err := i.store.CreateKey(t.Context(), expired); err != nil {
		t.Fatal(err)
	}
	i.keys["expired"] = secret
	i.keys["unknown"], _ = apikey.New()
	i.operator(t, "ann", nil)
	i.operator(t, "fired", nil)
	i.operator(t, "retired", func(k *host.OperatorKey) { k.ExpiresAt = time.Now().Add(-time.Minute) })
	for _, scope := range host.AllScopes() {
		others := slices.DeleteFunc(host.AllScopes(), func(s host.Scope) bool { return s == scope })
		i.key(t, "bob without "+string(scope), "bob", others...)
		i.key(t, "alice without "+string(scope), "alice", others...)
	}
}

// complete fails for what the tables lack.
func (i *isolation) complete(t *testing.T, all []operation) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range all {
		for _, p := range slices.Concat(o.params, o.queries) {
			if _, ok := i.estate[p.object]; !ok && o.guard == "tenant" {
				t.Errorf("%s %s takes %s, and the isolation test does not know what alice has there: add %q to estate", o.method, o.path, p.name, p.object)
			}
		}
		seen[o.method+" "+o.path] = true
	}
	for _, route := range i.api.Routes() {
		if !seen[route] && !slices.Contains(pages(), route) {
			t.Errorf("%s is not in the document, so nothing tests who may call it: register it with huma", route)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// answered is what the client sees, without what differs from request to request.
type answered struct {
	Status int
	Header http.Header
	Body   string
}

// ask calls an operation as who, with the values for its parameters and queries.
// What was sent is not in the answer, wherever it is echoed.
func (i *isolation) ask(t *testing.T, who string, o operation, values map[string]string) answered {
	t.Helper()
	path, query, sent := o.path, url.Values{}, []string{}
	for _, p := range o.params {
		path = strings.Replace(path, p.name, url.PathEscape(values[p.object]), 1)
		sent = append(sent, values[p.object])
	}
	for name, value := range values {
		if rest, ok := strings.CutPrefix(name, "?"); ok {
			query.Set(rest, value)
			sent = append(sent, value)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var body io.Reader
	media := ""
	if o.media != "" {
		var text string
		text, media = o.body(t, i.doc)
		if given, ok := bodies()[o.id]; ok {
			text = given
			for object, value := range values {
				text = strings.ReplaceAll(text, "<"+object+">", value)
			}
		}
		body = strings.NewReader(text)
	}
	if who == "nobody" {
		who = ""
	}
	var a answered
	if o.streams {
		a = i.begin(t, who, o.method, path)
	} else {
		a = i.call(t, who, o, path, media, body)
	}
	a.Body = strings.ReplaceAll(a.Body, a.Header.Get("X-Request-Id"), "")
	for _, name := range []string{"X-Request-Id", "Date", "Content-Length"} { // the body is compared
		a.Header.Del(name)
	}
	for _, s := range sent {
		a.Body = strings.ReplaceAll(a.Body, s, "<sent>")
	}
	return a
}

// call sends what an operation wants. A change may be based on whatever is there.
func (i *isolation) call(t *testing.T, who string, o operation, path, media string, body io.Reader) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), o.method, i.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if who != "" {
		req.Header.Set("X-API-Key", i.keys[who])
	}
	if o.matches {
		req.Header.Set("If-Match", "*")
	}
	resp, text := i.send(t, req)
	return answered{resp.StatusCode, resp.Header, text}
}

// begin is call for an operation whose success has no end: that is not read.
func (i *isolation) begin(t *testing.T, who, method, path string) answered {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, i.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if who != "" {
		req.Header.Set("X-API-Key", i.keys[who])
	}
	resp, err := i.plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text []byte
	if resp.StatusCode >= http.StatusBadRequest {
		if text, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	return answered{resp.StatusCode, resp.Header, string(text)}
}

// values are alice's, and each of the others has one that is nobody's.
func (i *isolation) values(o operation) (alices map[string]string, nobodys []map[string]string) {
	alices = map[string]string{}
	for _, p := range o.params {
		alices[p.object] = i.estate[p.object].alices
	}
	for _, p := range o.params {
		for _, none := range i.estate[p.object].none {
			other := maps.Clone(alices)
			other[p.object] = none
			nobodys = append(nobodys, other)
		}
	}
	return alices, nobodys
}

// same checks that all of the people get one answer, whatever they ask for.
func (i *isolation) same(t *testing.T, o operation, status int, people ...string) {
	t.Helper()
	alices, nobodys := i.values(o)
	if len(people) > 1 && len(nobodys) > 0 {
		nobodys = nobodys[:1] // who is refused at the door
	}
	var first *answered
	for _, who := range people {
		for _, values := range append(nobodys, alices) {
			got := i.ask(t, who, o, values)
			if got.Status != status {
				t.Errorf("%s %s of %v with the key %q: %d, want %d\n%s", o.method, o.path, values, who, got.Status, status, got.Body)
			}
			if first == nil {
				first = &got
			}
			if diff := cmp.Diff(*first, got); diff != "" {
				t.Errorf("%s %s of %v with the key %q tells more than another answer (-other +this):\n%s", o.method, o.path, values, who, diff)
			}
		}
	}
}

// without finds which of the keys that lack one scope cannot do an operation.
func (i *isolation) without(t *testing.T, o operation) (bob, alice string) {
	t.Helper()
	alices, nobodys := i.values(o)
	var scopes []string
	for _, scope := range host.AllScopes() {
		if i.ask(t, "bob without "+string(scope), o, append(nobodys, alices)[0]).Status == http.StatusForbidden {
			scopes = append(scopes, string(scope))
		}
	}
	if len(scopes) != 1 {
		t.Fatalf("%s %s needs the scopes %v, want one: add it to scopeOf", o.method, o.path, scopes)
	}
	return "bob without " + scopes[0], "alice without " + scopes[0]
}

// strangers: another tenant, with every right of its own, has nothing of alice's
// where one thing is asked for, and only its own where many are.
func (i *isolation) strangers(t *testing.T, o operation) {
	t.Helper()
	if len(o.params) > 0 {
		i.same(t, o, http.StatusNotFound, "bob")
		alices, nobodys := i.values(o)
		if diff := cmp.Diff(i.ask(t, "alice", o, nobodys[0]), i.ask(t, "bob", o, alices)); diff != "" {
			t.Errorf("%s %s tells bob of alice's more than alice of what she has not (-alice +bob):\n%s", o.method, o.path, diff)
		}
		if o.method == http.MethodGet {
			o.method = http.MethodHead
			i.same(t, o, http.StatusNotFound, "bob")
		}
		return
	}
	got := i.ask(t, "bob", o, nil)
	if got.Status >= http.StatusBadRequest && got.Status != http.StatusNotImplemented && got.Status != http.StatusConflict { // as it was done before
		t.Errorf("%s %s for bob himself: %d; if the body is why, add one to bodies()\n%s", o.method, o.path, got.Status, got.Body)
	}
	i.tellsNothing(t, o, got)
	for _, p := range o.queries {
		asked := i.ask(t, "bob", o, map[string]string{p.object: i.estate[p.object].alices})
		i.tellsNothing(t, o, asked)
		none := i.ask(t, "bob", o, map[string]string{p.object: i.estate[p.object].none[0]})
		if diff := cmp.Diff(none, asked); diff != "" && o.method == http.MethodGet && p.object != "?type" && p.object != "?plugin" {
			t.Errorf("%s %s by %s tells alice's from nobody's (-nobody's +alice's):\n%s", o.method, o.path, p.name, diff)
		}
	}
	if !o.pages {
		return
	}
	var page client.Page[any]
	_, body := i.do(t, "alice", o.method, o.path+"?limit=1", "", nil)
	if err := json.Unmarshal([]byte(body), &page); err != nil || page.NextPageToken == "" {
		t.Errorf("%s %s: alice has one page, and this test needs a second: make more in estate (%v)", o.method, o.path, err)
	}
	stolen := i.ask(t, "bob", o, map[string]string{"?page_token": page.NextPageToken})
	if diff := cmp.Diff(i.ask(t, "bob", o, map[string]string{"?page_token": "AAAA"}), stolen); diff != "" || stolen.Status != http.StatusUnprocessableEntity {
		t.Errorf("%s %s takes a page token of another tenant's (-garbage +alice's):\n%s", o.method, o.path, diff)
	}
}

func (i *isolation) tellsNothing(t *testing.T, o operation, a answered) {
	t.Helper()
	all := fmt.Sprint(a)
	for _, mark := range i.marks {
		if strings.Contains(all, mark) {
			t.Errorf("%s %s tells bob of alice's %q:\n%s", o.method, o.path, mark, all)
		}
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

var lastUsed = regexp.MustCompile(`,?"last_used_at":"[^"]*"`)

// alicesView is all that she can read.
func (i *isolation) alicesView(t *testing.T, all []operation) map[string]string {
	t.Helper()
	view := map[string]string{}
	for _, o := range all {
		if o.guard != "tenant" || o.method != http.MethodGet || o.streams {
			continue
		}
		path := o.path
		for _, p := range o.params {
			path = strings.Replace(path, p.name, i.estate[p.object].alices, 1)
		}
		resp, body := i.do(t, "alice", o.method, path, "", nil)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s for alice herself: %d; what estate makes is not hers\n%s", path, resp.StatusCode, body)
		}
		view[o.path] = lastUsed.ReplaceAllString(body, "")
	}
	return view
}

// truth: alice herself can do each operation with what the tables say, so that
// the others were refused for no other reason.
func (i *isolation) truth(t *testing.T, all []operation) {
	t.Helper()
	for _, o := range all {
		if o.guard != "tenant" || o.method == http.MethodGet {
			continue // alicesView did
		}
		i.estate = i.env.estate(t) // what is there may be gone
		alices, _ := i.values(o)
		got := i.ask(t, "alice", o, alices)
		if got.Status >= http.StatusBadRequest && got.Status != http.StatusConflict && got.Status != http.StatusNotImplemented {
			t.Errorf("%s %s for alice herself: %d, so it does not show who else may; add to bodies() or estate\n%s", o.method, o.path, got.Status, got.Body)
		}
	}
}
