package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// zone is a name service that has what tests publish, and a web that has nothing.
type zone struct {
	mu  sync.Mutex
	txt map[string][]string
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if all := z.txt[strings.TrimSuffix(name, ".")]; all != nil {
		return all, nil
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func (z *zone) publish(t client.Target) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.txt == nil {
		z.txt = map[string][]string{}
	}
	z.txt[t.DNS.Name] = append(z.txt[t.DNS.Name], t.DNS.Value)
}

func (*zone) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNotFound, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// newTargets is a host on which a tenant must prove what it has scanned.
func newTargets(t *testing.T) *env {
	t.Helper()
	return newEnvMax(t, api.Config{}, maxArchive, func(d *api.Deps) {
		types := []intake.ScanType{{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1}}
		permit := func(ctx context.Context, tenant host.TenantID, url string) error {
			_, err := d.Targets.Hosts(ctx, tenant, url)
			return err
		}
		in, err := intake.New(d.Store.(*faulty).Store, nil, nil, types, func() {}, intake.Config{Permit: permit}, d.Log)
		if err != nil {
			t.Fatal(err)
		}
		d.Intake = in
	})
}

func denied(err error) (*client.Error, bool) {
	var refused *client.Error
	return refused, errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden && refused.Code == "target_not_permitted"
}

// TestTargets: what is proved may be scanned by who proved it, until it is taken
// away, and by nobody else.
func TestTargets(t *testing.T) {
	t.Parallel()
	e := newTargets(t)
	alice, bob := e.client(t, "alice"), e.client(t, "bob")
	scan := func(c *client.Client, url string) error {
		_, err := c.StartURL(t.Context(), url, client.StartOptions{Type: "dast"})
		return err
	}
	const url = "https://shop.example.com/"
	before, ok := denied(scan(bob, url))
	if !ok || !strings.Contains(before.Detail, "_securetag-challenge.shop.example.com") || len(before.Errors) != 1 || before.Errors[0].Pointer != "#/url" {
		t.Errorf("not proved: %+v", before)
	}
	made, err := alice.CreateTarget(t.Context(), "Shop.Example.com")
	if err != nil || made.Host != "shop.example.com" || made.Proven || made.Token == "" || made.DNS.Name != "_securetag-challenge.shop.example.com" {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := alice.CreateTarget(t.Context(), "shop.example.com:443"); status(err) != http.StatusConflict || !strings.Contains(err.Error(), "already") {
		t.Errorf("twice: %v", err)
	}
	if got, err := alice.VerifyTarget(t.Context(), made.ID); err != nil || got.Proven || !strings.Contains(got.Problem, "no TXT record") {
		t.Errorf("not published: %+v, %v", got, err)
	}
	if _, ok := denied(scan(alice, url)); !ok {
		t.Error("registering a target is enough")
	}
	e.zone.publish(made)
	proven, err := alice.VerifyTarget(t.Context(), made.ID)
	if err != nil || !proven.Proven || proven.Proof != "dns" || proven.ExpiresAt == nil || proven.Problem != "" {
		t.Errorf("published: %+v, %v", proven, err)
	}
	if err := scan(alice, url); err != nil {
		t.Errorf("proved: %v", err)
	}
	if err := scan(alice, "http://a.shop.example.com:8080/"); err != nil {
		t.Errorf("below what is proved: %v", err)
	}
	if _, ok := denied(scan(alice, "https://example.com/")); !ok {
		t.Error("above what is proved")
	}

	// Bob learns nothing of it, and what alice published proves nothing for him.
	after, _ := denied(scan(bob, url))
	before.RequestID, after.RequestID = "", ""
	if diff := cmp.Diff(before.Problem, after.Problem); diff != "" {
		t.Errorf("bob sees that alice proved it (-before +after):\n%s", diff)
	}
	his, err := bob.CreateTarget(t.Context(), "shop.example.com")
	if err != nil || his.Token == made.Token {
		t.Fatalf("%+v, %v", his, err)
	}
	if got, err := bob.VerifyTarget(t.Context(), his.ID); err != nil || got.Proven {
		t.Errorf("proved with alice's token: %+v, %v", got, err)
	}
	e.zone.publish(his)
	if got, err := bob.VerifyTarget(t.Context(), his.ID); err != nil || !got.Proven {
		t.Errorf("both may prove it: %+v, %v", got, err)
	}

	if all, err := alice.Targets(t.Context()); err != nil || len(all) != 1 || !cmp.Equal(all[0], proven) {
		t.Errorf("listed %+v, %v", all, err)
	}
	if err := alice.DeleteTarget(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := denied(scan(alice, url)); !ok {
		t.Error("a target that was removed still counts")
	}
	for _, id := range []string{made.ID, his.ID, "x"} {
		_, get := alice.Target(t.Context(), id)
		_, verify := alice.VerifyTarget(t.Context(), id)
		for i, err := range []error{get, verify, alice.DeleteTarget(t.Context(), id)} {
			if status(err) != http.StatusNotFound || !strings.Contains(err.Error(), "no target") {
				t.Errorf("call %d to target %s: %v", i, id, err)
			}
		}
	}
	var actions []string
	page, err := e.store.Audit(t.Context(), host.AuditQuery{})
	for _, l := range page {
		if l.Target == "target "+made.ID && l.Outcome == "done" {
			actions = append(actions, l.Action)
		}
	}
	if diff := cmp.Diff([]string{"delete-target", "verify-target", "verify-target", "create-target"}, actions); diff != "" || err != nil {
		t.Errorf("audit log, %v (-want +got):\n%s", err, diff)
	}
}

func TestTargetsRefused(t *testing.T) {
	t.Parallel()
	e := newTargets(t)
	alice := e.client(t, "alice")
	for _, name := range []string{"localhost", "10.0.0.1", "https://example.com/", "*.example.com", "a b", strings.Repeat("x", 300)} {
		if _, err := alice.CreateTarget(t.Context(), name); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%.40q: %v", name, err)
		}
	}
	for range host.MaxTargets {
		if _, err := alice.CreateTarget(t.Context(), string(host.NewTargetID())+".example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alice.CreateTarget(t.Context(), "example.com"); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "100 targets") {
		t.Errorf("one too many: %v", err)
	}
	if _, ok := denied(func() error {
		_, err := alice.StartURL(t.Context(), "http://127.0.0.1/", client.StartOptions{Type: "dast"})
		return err
	}()); !ok {
		t.Error("an address may be scanned")
	}
}
