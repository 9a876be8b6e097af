package api_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func newHooks(t *testing.T) *env {
	t.Helper()
	return newEnvMax(t, api.Config{}, maxArchive, func(d *api.Deps) {
		d.CheckTarget = func(url string) error {
			if strings.Contains(url, "169.254") {
				return errors.New("it is not a public address")
			}
			return nil
		}
	})
}

const hookURL = "https://ci.example.com/hooks"

func TestWebhooks(t *testing.T) {
	t.Parallel()
	e := newHooks(t)
	alice, bob := e.client(t, "alice"), e.client(t, "bob")
	if all, err := alice.Webhooks(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("none yet: %v, %v", all, err)
	}
	made, err := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL, Project: "shop", Events: []string{"scan.failed"}})
	if err != nil || !strings.HasPrefix(made.Secret, "whsec_") || len(made.Secret) != len("whsec_")+44 || !made.Enabled || !slices.Equal(made.Events, []string{"scan.failed"}) {
		t.Fatalf("made %+v, %v", made, err)
	}
	got, err := alice.Webhook(t.Context(), made.ID)
	if diff := cmp.Diff(made.Webhook, got); diff != "" || err != nil {
		t.Errorf("%v (-made +got):\n%s", err, diff)
	}
	if _, body := e.do(t, "alice", http.MethodGet, "/webhooks", "", nil); strings.Contains(body, "whsec_") {
		t.Errorf("the secret is shown again: %s", body)
	}
	url, project, off, on := hookURL+"/2", "", false, true
	got, err = alice.UpdateWebhook(t.Context(), made.ID, 0, client.WebhookChange{URL: &url, Project: &project, Events: []string{"scan.partial", "scan.failed"}, Enabled: &off})
	if err != nil || got.URL != url || got.Project != "" || got.Enabled || got.DisabledAt == nil || got.DisabledReason != "by request" || len(got.Events) != 2 {
		t.Errorf("changed %+v, %v", got, err)
	}
	if _, err := alice.TestWebhook(t.Context(), made.ID); status(err) != http.StatusConflict {
		t.Errorf("test while it is disabled: %v", err)
	}
	if got, err = alice.UpdateWebhook(t.Context(), made.ID, 0, client.WebhookChange{Enabled: &on}); err != nil || !got.Enabled || got.URL != url {
		t.Errorf("enabled %+v, %v", got, err)
	}
	next, err := alice.RotateWebhook(t.Context(), made.ID, time.Hour)
	if err != nil || next.Secret == made.Secret || next.OldSecretUntil == nil || time.Until(*next.OldSecretUntil) > time.Hour {
		t.Errorf("rotated %+v, %v", next, err)
	}
	if next, err = alice.RotateWebhook(t.Context(), made.ID, 0); err != nil || next.OldSecretUntil != nil {
		t.Errorf("rotated at once %+v, %v", next, err)
	}
	resp, body := e.do(t, "alice", http.MethodPost, "/webhooks/"+made.ID+"/rotate", "", nil)
	if resp.StatusCode != http.StatusCreated || !strings.Contains(body, "old_secret_until") {
		t.Errorf("rotated without a word: %s", body)
	}
	theirs(t, bob, made.ID)
	if err := alice.DeleteWebhook(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	theirs(t, alice, made.ID)
	page, err := e.store.Audit(t.Context(), host.AuditQuery{Action: "create-webhook"})
	if err != nil || len(page) != 1 || page[0].Actor != host.ActorKey || page[0].Target != "webhook "+made.ID {
		t.Errorf("audit %+v, %v", page, err)
	}
}

// TestWebhookVersions: a change that is based on what is not so any more changes
// nothing, and one that says nothing of it is made.
func TestWebhookVersions(t *testing.T) {
	t.Parallel()
	e := newHooks(t)
	resp, body := e.do(t, "alice", http.MethodPost, "/webhooks", "application/json", strings.NewReader(`{"url":"`+hookURL+`"}`))
	path := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("ETag") != `"1"` || !strings.Contains(body, `"version":1`) {
		t.Fatalf("made %d %q: %s", resp.StatusCode, resp.Header.Get("ETag"), body)
	}
	resp, _ = e.do(t, "alice", http.MethodGet, path, "", nil)
	tag := resp.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"1.`) {
		t.Errorf("read with the ETag %q, want it to begin with the version", tag)
	}
	for _, c := range []struct {
		name, who, path, match string
		status                 int
		tag                    string
	}{
		{"what was read", "alice", path, tag, 200, `"2"`},
		{"what was read before that", "alice", path, tag, 412, ""},
		{"no version", "alice", path, `W/"2"`, 412, ""},
		{"anything", "alice", path, "*", 200, `"3"`},
		{"nothing", "alice", path, "", 200, `"4"`},
		{"another's", "bob", path, `"4"`, 404, ""},
		{"another's, no version", "bob", path, `"x"`, 404, ""},
		{"none", "alice", "/webhooks/x", `"x"`, 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, e.url+c.path, strings.NewReader(`{"project":"shop"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", e.keys[c.who])
		req.Header.Set("Content-Type", "application/json")
		if c.match != "" {
			req.Header.Set("If-Match", c.match)
		}
		resp, body := e.send(t, req)
		if got := resp.Header.Get("ETag"); resp.StatusCode != c.status || got != c.tag {
			t.Errorf("based on %s: %d %s %s, want %d %s", c.name, resp.StatusCode, got, body, c.status, c.tag)
		}
	}
	id := strings.TrimPrefix(path, "/webhooks/")
	if w, err := e.client(t, "alice").UpdateWebhook(t.Context(), id, 4, client.WebhookChange{}); err != nil || w.Version != 5 {
		t.Errorf("by the client: %+v, %v", w, err)
	}
	if _, err := e.client(t, "alice").UpdateWebhook(t.Context(), id, 4, client.WebhookChange{}); status(err) != http.StatusPreconditionFailed {
		t.Errorf("once more: %v, want 412", err)
	}
}

// theirs: whatever is done to a webhook that is not the client's, there is none.
func theirs(t *testing.T, c *client.Client, id string) {
	t.Helper()
	for _, id := range []string{id, "x"} {
		_, read := c.Webhook(t.Context(), id)
		_, change := c.UpdateWebhook(t.Context(), id, 0, client.WebhookChange{})
		_, rotate := c.RotateWebhook(t.Context(), id, 0)
		_, test := c.TestWebhook(t.Context(), id)
		_, list := c.Deliveries(t.Context(), id, client.DeliveryQuery{})
		_, replay := c.ReplayDelivery(t.Context(), id, string(host.NewDeliveryID()))
		for i, err := range []error{read, change, rotate, test, list, replay, c.DeleteWebhook(t.Context(), id)} {
			if status(err) != http.StatusNotFound {
				t.Errorf("call %d to webhook %s: %v", i, id, err)
			}
		}
	}
}

func TestWebhooksRefused(t *testing.T) {
	t.Parallel()
	e := newHooks(t)
	alice := e.client(t, "alice")
	made, err := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL})
	if err != nil || len(made.Events) != len(host.WebhookEvents()) {
		t.Fatalf("made %+v, %v", made, err)
	}
	inside := "http://169.254.169.254/"
	_, change := alice.UpdateWebhook(t.Context(), made.ID, 0, client.WebhookChange{URL: &inside})
	_, create := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: inside})
	_, event := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL, Events: []string{"webhook.test"}})
	_, project := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL, Project: "a b"})
	for want, err := range map[string]error{"#/url": change, " #/url": create, "#/events": event, "#/project": project} {
		var refused *client.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusUnprocessableEntity || len(refused.Errors) != 1 || refused.Errors[0].Pointer != strings.TrimSpace(want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := alice.Webhook(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	for range host.MaxWebhooks - 1 {
		if _, err := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL}); status(err) != http.StatusConflict || !strings.Contains(err.Error(), "20 webhooks") {
		t.Errorf("one too many: %v", err)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	e := newHooks(t)
	alice := e.client(t, "alice")
	made, err := alice.CreateWebhook(t.Context(), client.WebhookRequest{URL: hookURL})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for range 5 {
		d, err := alice.TestWebhook(t.Context(), made.ID)
		if err != nil || d.State != "pending" || d.Event != "webhook.test" || d.NextAttemptAt == nil {
			t.Fatalf("test %+v, %v", d, err)
		}
		want = append([]string{d.ID}, want...)
	}
	var got []string
	for d, err := range alice.AllDeliveries(t.Context(), made.ID, client.DeliveryQuery{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
	claims, err := e.store.ClaimDeliveries(t.Context(), host.ClaimDeliveries{Owner: "o", TTL: time.Minute, Limit: 1})
	if err != nil || len(claims) != 1 || claims[0].Webhook.Secret != made.Secret {
		t.Fatalf("claimed %+v, %v", claims, err)
	}
	c := claims[0]
	_, err = e.store.FinishDelivery(t.Context(), host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryFailed, Status: 500, Error: "the receiver answered 500", Took: 1500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	page, err := alice.Deliveries(t.Context(), made.ID, client.DeliveryQuery{State: "failed"})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("failed %+v, %v", page, err)
	}
	if d := page.Items[0]; d.ID != string(c.ID) || d.Status != 500 || d.Error != "the receiver answered 500" || d.TookSeconds != 1.5 || d.Attempts != 1 || d.NextAttemptAt != nil || d.LastAttemptAt == nil {
		t.Errorf("failed %+v", d)
	}
	again, err := alice.ReplayDelivery(t.Context(), made.ID, string(c.ID))
	if err != nil || again.ID != string(c.ID) || again.State != "pending" || again.Attempts != 0 {
		t.Errorf("replayed %+v, %v", again, err)
	}
	for _, path := range []string{"/deliveries?page_token=x", "/deliveries?state=lost", "/deliveries?limit=0"} {
		if resp, body := e.do(t, "alice", http.MethodGet, "/webhooks/"+made.ID+path, "", nil); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
