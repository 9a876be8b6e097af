package api_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// key makes a key of a tenant that the env knows by a name.
func (e *env) key(t *testing.T, name, tenant string, scopes ...host.Scope) host.Key {
	t.Helper()
	secret, key := apikey.New()
	key.TenantID, key.Name, key.Scopes, e.keys[name] = e.tenants[tenant], name, scopes, secret
	if err := e.store.CreateKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return key
}

// TestScopes takes the routes from the document: with a key that has every scope
// but one, each either does its work or names the one scope that is missing, and
// there is no route that every key opens.
func TestScopes(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	id := string(host.NewScanID())
	for _, without := range host.AllScopes() {
		others := slices.DeleteFunc(host.AllScopes(), func(s host.Scope) bool { return s == without })
		e.key(t, "all but "+string(without), "alice", others...)
		e.key(t, "only "+string(without), "alice", without)
	}
	for path, methods := range routes(t, e) {
		for _, method := range methods {
			var needed []string
			for _, scope := range host.AllScopes() {
				resp, body := e.do(t, "all but "+string(scope), method, strings.NewReplacer("{id}", id, "{artifact}", id).Replace(path), "", nil)
				if resp.StatusCode != http.StatusForbidden {
					continue
				}
				p := problem(t, resp, body)
				if p.Code != "insufficient_scope" || !strings.Contains(p.Detail, "scope "+string(scope)+";") ||
					!strings.Contains(resp.Header.Get("WWW-Authenticate"), `scope="`+string(scope)+`"`) {
					t.Errorf("%s %s without %s: %+v", method, path, scope, p)
				}
				needed = append(needed, string(scope))
			}
			if len(needed) != 1 {
				t.Errorf("%s %s needs the scopes %v, want one", method, path, needed)
				continue
			}
			resp, body := e.do(t, "only "+needed[0], method, strings.NewReplacer("{id}", id, "{artifact}", id).Replace(path), "", nil)
			if resp.StatusCode == http.StatusForbidden {
				t.Errorf("%s %s with %s alone: %s", method, path, needed[0], body)
			}
		}
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	made, err := ann.CreateTenant(t.Context(), "acme", "")
	if err != nil || made.Name != "acme" || made.SuspendedAt != nil {
		t.Fatalf("made %+v, %v", made, err)
	}
	if _, err := ann.CreateTenant(t.Context(), "acme", ""); status(err) != http.StatusConflict {
		t.Errorf("made twice: %v", err)
	}
	var names []string
	for token := ""; ; {
		page, err := ann.Tenants(t.Context(), 1, token)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Items {
			names = append(names, one.Name)
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if want := []string{"acme", "alice", "bob", "revoked"}; !slices.Equal(names, want) {
		t.Errorf("pages of one: %v, want %v", names, want)
	}
	if got, err := ann.SuspendTenant(t.Context(), "alice", "unpaid"); err != nil || got.SuspendedAt == nil || got.SuspendedReason != "unpaid" {
		t.Errorf("suspended %+v, %v", got, err)
	}
	resp, body := e.do(t, "alice", http.MethodGet, "/scans", "", nil)
	if p := problem(t, resp, body); p.Status != http.StatusForbidden || p.Code != "tenant_suspended" {
		t.Errorf("its key: %+v", p)
	}
	if resp, _ := e.do(t, "bob", http.MethodGet, "/scans", "", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("another's key: %d", resp.StatusCode)
	}
	if got, err := ann.ResumeTenant(t.Context(), "alice"); err != nil || got.SuspendedAt != nil {
		t.Errorf("resumed %+v, %v", got, err)
	}
	if err := ann.DeleteTenant(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
	if got, err := ann.Tenant(t.Context(), "acme"); err != nil || got.DeletedAt == nil {
		t.Errorf("while it goes: %+v, %v", got, err)
	}
	if _, err := ann.ResumeTenant(t.Context(), "acme"); status(err) != http.StatusConflict {
		t.Errorf("resumed while it goes: %v", err)
	}
	if _, err := e.store.DropTenant(t.Context(), 10); err != nil {
		t.Error(err)
	}
	if _, err := ann.Tenant(t.Context(), "acme"); status(err) != http.StatusNotFound {
		t.Errorf("when it is gone: %v", err)
	}
}

func status(err error) int {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

// TestKeysOfTenants: operators and keys with the scope admin do the same, each for
// their tenant.
func TestKeysOfTenants(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	e.key(t, "boss", "alice", host.ScopeAdmin)
	for who, c := range map[string]struct {
		client *client.Client
		tenant string
	}{"operator": {ann, "alice"}, "the tenant": {e.client(t, "boss"), ""}} {
		made, err := c.client.CreateKey(t.Context(), c.tenant, client.KeyRequest{Name: who, Scopes: []string{"scan:read"}, ExpiresInSeconds: 3600})
		if err != nil || made.Secret == "" || made.ExpiresAt == nil || !slices.Equal(made.Scopes, []string{"scan:read"}) {
			t.Fatalf("%s made %+v, %v", who, made, err)
		}
		e.keys["old"] = made.Secret
		next, err := c.client.RotateKey(t.Context(), c.tenant, made.ID, time.Hour)
		if err != nil || next.Name != who || next.Secret == made.Secret {
			t.Fatalf("%s rotated %+v, %v", who, next, err)
		}
		e.keys["next"] = next.Secret
		for _, key := range []string{"old", "next"} {
			if resp, body := e.do(t, key, http.MethodGet, "/scans", "", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: key %s within the overlap: %s", who, key, body)
			}
		}
		if err := c.client.RevokeKey(t.Context(), c.tenant, made.ID); err != nil {
			t.Error(err)
		}
		all, err := c.client.Keys(t.Context(), c.tenant)
		i := slices.IndexFunc(all, func(k client.APIKey) bool { return k.ID == made.ID })
		if err != nil || i < 0 || all[i].RevokedAt == nil {
			t.Errorf("%s: keys %+v, %v", who, all, err)
		}
		for _, id := range []string{"x", string(host.NewKeyID())} {
			if err := c.client.RevokeKey(t.Context(), c.tenant, id); status(err) != http.StatusNotFound {
				t.Errorf("%s: revoke %s: %v", who, id, err)
			}
		}
		if _, err := c.client.RotateKey(t.Context(), c.tenant, made.ID, 0); status(err) != http.StatusConflict {
			t.Errorf("%s: rotate a revoked one: %v", who, err)
		}
		if _, err := c.client.CreateKey(t.Context(), c.tenant, client.KeyRequest{Scopes: []string{"root"}}); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: a scope that is none: %v", who, err)
		}
	}
}

// TestAudit: each change is a line, by whom and to what, and no line tells a key.
func TestAudit(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	if _, err := ann.Pause(t.Context(), "all", "", ""); err != nil {
		t.Fatal(err)
	}
	made, err := ann.CreateKey(t.Context(), "alice", client.KeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = ann.SuspendTenant(t.Context(), "nobody", "")
	page, err := ann.Audit(t.Context(), client.AuditQuery{Limit: 2})
	if err != nil || len(page.Items) != 2 || page.NextPageToken == "" {
		t.Fatalf("page %+v, %v", page, err)
	}
	next, err := ann.Audit(t.Context(), client.AuditQuery{Limit: 2, PageToken: page.NextPageToken})
	if err != nil || len(next.Items) != 1 || next.NextPageToken != "" {
		t.Fatalf("next page %+v, %v", next, err)
	}
	if full, err := ann.Audit(t.Context(), client.AuditQuery{Limit: 3}); err != nil || len(full.Items) != 3 || full.NextPageToken != "" {
		t.Errorf("a page that is full and the last: %+v, %v", full, err)
	}
	for i, want := range []client.AuditLine{
		{Action: "suspend-tenant", Target: "tenant nobody", Outcome: "not_found"},
		{Action: "create-key", Target: "tenant alice, key " + made.ID, Outcome: "done"},
		{Action: "pause", Outcome: "done"},
	} {
		got := append(page.Items, next.Items...)[i]
		if got.Action != want.Action || got.Target != want.Target || got.Outcome != want.Outcome || got.Actor != "operator" ||
			got.Name != "ann" || got.Source != "127.0.0.1" || got.Request == "" || got.Times != 1 {
			t.Errorf("line %+v, want %+v by ann", got, want)
		}
	}
	if _, err := ann.Audit(t.Context(), client.AuditQuery{Action: "pause", PageToken: page.NextPageToken}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("a token of another filter: %v", err)
	}
	_, body := e.do(t, "ann", http.MethodGet, "/admin/audit", "", nil)
	for name, secret := range e.keys {
		if strings.Contains(body, secret[len(secret)-20:]) {
			t.Errorf("the log tells the key of %s", name)
		}
	}
}

// TestRefusedAreAudited: those of an address within a minute are one line.
func TestRefusedAreAudited(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	e.keys["bad"] = "stag_nothing"
	for range 3 {
		e.do(t, "bad", http.MethodGet, "/scans", "", nil)
	}
	e.do(t, "alice", http.MethodGet, "/admin/queue", "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.api.Run(ctx); err != nil { // writes what there is, and ends
		t.Fatal(err)
	}
	page, err := ann.Audit(t.Context(), client.AuditQuery{Actor: "address"})
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	for _, l := range page.Items {
		want := map[string]int{"authenticate": 3, "authenticate as operator": 1}[l.Action]
		if l.Times != want || l.Name != "127.0.0.1" || l.Outcome != "unauthorized" {
			t.Errorf("line %+v, want %d times", l, want)
		}
	}
}

// TestRefusedAreSlowed: whoever fails again and again from one address is told
// to wait, and a good key from there is not.
func TestRefusedAreSlowed(t *testing.T) {
	t.Parallel()
	e, pass := limited(t, host.Plan{}, api.Limits{})
	e.keys["bad"], _ = apikey.New()
	for i := range 31 {
		resp, body := e.do(t, "bad", http.MethodGet, "/scans", "", nil)
		p := problem(t, resp, body)
		if i < 30 && p.Status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %+v", i, p)
		}
		if i == 30 && (p.Status != http.StatusTooManyRequests || !slices.Equal(p.Violated, []string{"refused"}) || resp.Header.Get("Retry-After") == "") {
			t.Errorf("attempt %d: %+v", i, p)
		}
		if resp, body := e.do(t, "bob", http.MethodGet, "/scans", "", nil); resp.StatusCode != http.StatusOK {
			t.Fatalf("a good key meanwhile: %s", body)
		}
	}
	pass(time.Minute)
	if resp, _ := e.do(t, "bad", http.MethodGet, "/scans", "", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a minute later: %d", resp.StatusCode)
	}
}
