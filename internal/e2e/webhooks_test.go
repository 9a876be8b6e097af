package e2e_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/securetaghq/securetag/api/client"
)

// receiver is a server with a path for each way to answer a webhook.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	secrets map[string]string   // by path
	ids     map[string][]string // by path, of each request
	bad     []string            // what was wrong with requests
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{secrets: map[string]string{}, ids: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// requests gives the ids of the messages that came to a path.
func (r *receiver) requests(path string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.ids[path]...)
}

// note checks a request and counts it.
func (r *receiver) note(req *http.Request) (n int) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	path := req.URL.Path
	r.ids[path] = append(r.ids[path], req.Header.Get("Webhook-Id"))
	w, werr := standardwebhooks.NewWebhook(r.secrets[path])
	if err = errors.Join(err, werr); err == nil {
		err = w.Verify(body, req.Header)
	}
	if err != nil || !strings.Contains(string(body), `"type":"scan.succeeded"`) {
		r.bad = append(r.bad, path+": "+string(body))
	}
	return len(r.ids[path])
}

// ServeHTTP answers as the path says.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	n := r.note(req)
	switch req.URL.Path {
	case "/fails once":
		if n == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	case "/redirects":
		http.Redirect(w, req, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	case "/redirects here":
		http.Redirect(w, req, "/good", http.StatusTemporaryRedirect)
	case "/gone":
		w.WriteHeader(http.StatusGone)
	case "/hangs":
		<-req.Context().Done()
	case "/hangs once":
		if n == 1 {
			<-req.Context().Done()
		}
	case "/endless":
		for req.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}
}

// hook makes a webhook to a path.
func (c *cluster) hook(r *receiver, path string) client.Webhook {
	c.t.Helper()
	r.mu.Lock() // before the first message
	defer r.mu.Unlock()
	made, err := c.api(0, "hooks").CreateWebhook(c.t.Context(), client.WebhookRequest{URL: r.URL + strings.ReplaceAll(path, " ", "%20")})
	if err != nil {
		c.t.Fatalf("webhook %s: %v", path, err)
	}
	r.secrets[path] = made.Secret
	return made.Webhook
}

// delivered waits until the one delivery of a webhook is as the test wants it.
func (c *cluster) delivered(h client.Webhook, what string, ok func(client.Delivery) bool) client.Delivery {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 90*time.Second)
	defer cancel()
	var last []client.Delivery
	for i := 0; ctx.Err() == nil; i++ {
		page, err := c.api(i, "hooks").Deliveries(ctx, h.ID, client.DeliveryQuery{})
		if err == nil {
			if last = page.Items; len(last) == 1 && ok(last[0]) {
				return last[0]
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // polling an outside process
		}
	}
	c.t.Fatalf("the delivery to %s never was %s; last seen: %+v", h.URL, what, last)
	return client.Delivery{}
}

func taken(d client.Delivery) bool { return d.State == "delivered" }

// testWebhooks: what each kind of receiver does to its delivery and to nobody
// else's, and a host that is killed in the middle of deliveries loses none.
func testWebhooks(t *testing.T, p place) {
	r := startReceiver(t) // before the hosts, so that it ends after them
	c := start(t, p, settings{})
	c.keys["hooks"] = strings.TrimSpace(c.command(t, "key", "create", "--tenant", "a", "--scopes", "webhook:write"))
	hooks := map[string]client.Webhook{}
	for _, path := range []string{"/good", "/fails once", "/redirects", "/redirects here", "/gone", "/hangs", "/hangs once", "/endless"} {
		hooks[path] = c.hook(r, path)
	}
	for _, inside := range []string{"http://169.254.169.254/", "http://[::1]/", "http://2130706433/", "http://metadata.google.internal/", "file:///etc/passwd"} {
		var refused *client.Error
		if _, err := c.api(0, "hooks").CreateWebhook(t.Context(), client.WebhookRequest{URL: inside}); !errors.As(err, &refused) || refused.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("a webhook to %s: %v", inside, err)
		}
	}
	scan := c.wait(c.upload(0, "noop", sample(t), "").ID)
	good := c.delivered(hooks["/good"], "delivered", taken)
	if good.ScanID != scan.ID || good.Attempts != 1 || good.Status != http.StatusOK || good.Event != "scan.succeeded" {
		t.Errorf("delivery %+v of scan %s", good, scan.ID)
	}
	c.delivered(hooks["/endless"], "delivered", taken)
	c.delivered(hooks["/gone"], "given up", func(d client.Delivery) bool {
		return d.State == "failed" && d.Status == http.StatusGone && d.Attempts == 1
	})
	if h, err := c.api(0, "hooks").Webhook(t.Context(), hooks["/gone"].ID); err != nil || h.Enabled || !strings.Contains(h.DisabledReason, "410") {
		t.Errorf("the webhook whose receiver is gone: %+v, %v", h, err)
	}
	for _, path := range []string{"/redirects", "/redirects here"} {
		c.delivered(hooks[path], "refused", func(d client.Delivery) bool {
			return d.State == "pending" && d.Status == http.StatusTemporaryRedirect && strings.Contains(d.Error, "redirect, which is not followed")
		})
	}
	killInTheMiddle(t, c, r, hooks)
	again := c.delivered(hooks["/fails once"], "delivered", taken)
	if ids := r.requests("/fails once"); len(ids) != 2 || ids[0] != again.ID || ids[1] != again.ID || again.Attempts != 2 {
		t.Errorf("tried with the ids %v, delivery %+v", ids, again)
	}
	replayed, err := c.api(0, "hooks").ReplayDelivery(t.Context(), hooks["/good"].ID, good.ID)
	if err != nil || replayed.ID != good.ID {
		t.Errorf("replayed %+v, %v", replayed, err)
	}
	c.delivered(hooks["/good"], "delivered again", taken)
	if ids := r.requests("/good"); len(ids) != 2 || ids[0] != good.ID || ids[1] != good.ID {
		t.Errorf("the good one was asked with the ids %v", ids)
	}
	if r.mu.Lock(); len(r.bad) > 0 {
		t.Errorf("bad requests: %q", r.bad)
	}
	r.mu.Unlock()
}

// killInTheMiddle kills every host while two deliveries are under way.
func killInTheMiddle(t *testing.T, c *cluster, r *receiver, hooks map[string]client.Webhook) {
	t.Helper()
	for _, path := range []string{"/hangs", "/hangs once"} {
		c.delivered(hooks[path], "under way", func(d client.Delivery) bool {
			return d.State == "pending" && d.Attempts == 1 && len(r.requests(path)) == 1
		})
	}
	for _, h := range c.hosts {
		h.Kill(t)
	}
	for _, h := range c.hosts {
		h.Start(t)
	}
	d := c.delivered(hooks["/hangs once"], "delivered", taken)
	if ids := r.requests("/hangs once"); len(ids) != 2 || ids[0] != d.ID || ids[1] != d.ID {
		t.Errorf("tried with the ids %v, want %s twice", ids, d.ID)
	}
}
