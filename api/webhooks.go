package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerWebhooks(doc huma.API) {
	op := func(id, method, path, summary, description string, status int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, DefaultStatus: status,
			Tags: []string{"webhooks"}, Security: security(), BodyReadTimeout: -1} // body.go has its own
	}
	const once = "The secret is in the answer, and shown only this once."
	huma.Register(doc, op("list-webhooks", http.MethodGet, "/webhooks", "List webhooks", "Oldest first.", http.StatusOK), a.listWebhooks)
	huma.Register(doc, op("create-webhook", http.MethodPost, "/webhooks", "Be told when scans end",
		fmt.Sprintf("A tenant has at most %d. ", host.MaxWebhooks)+once, http.StatusCreated), a.createWebhook)
	huma.Register(doc, op("get-webhook", http.MethodGet, "/webhooks/{id}", "A webhook, and how it does", "", http.StatusOK), a.getWebhook)
	update := op("update-webhook", http.MethodPatch, "/webhooks/{id}", "Change, disable or enable a webhook",
		"What is left out stays. With If-Match: 412 when somebody changed the webhook since. Without, whoever is last counts.", http.StatusOK)
	update.Metadata = map[string]any{unconditional: true}
	huma.Register(doc, update, a.updateWebhook)
	huma.Register(doc, op("delete-webhook", http.MethodDelete, "/webhooks/{id}", "Remove a webhook with its deliveries", "", http.StatusNoContent), a.deleteWebhook)
	huma.Register(doc, op("rotate-webhook", http.MethodPost, "/webhooks/{id}/rotate", "Replace a webhook's secret",
		"Messages are signed with the old secret, too, until the overlap is over. "+once, http.StatusCreated), a.rotateWebhook)
	huma.Register(doc, op("test-webhook", http.MethodPost, "/webhooks/{id}/test", "Send a message of the type webhook.test",
		"It is sent as any other. What comes of it is among the deliveries.", http.StatusAccepted), a.testWebhook)
	huma.Register(doc, op("list-deliveries", http.MethodGet, "/webhooks/{id}/deliveries", "Messages to a webhook, newest first",
		"One that was delivered or given up stays for 30 days, or until its scan is deleted.", http.StatusOK), a.listDeliveries)
	huma.Register(doc, op("replay-delivery", http.MethodPost, "/webhooks/{id}/deliveries/{delivery}/replay", "Send a message again",
		"With the same webhook-id and body, as if it had never been tried. One that is being sent is left to it.", http.StatusAccepted), a.replayDelivery)
}

// NamedWebhook is a webhook in a path.
type NamedWebhook struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the webhook."`
}

type webhooksOutput struct{ Body client.Page[client.Webhook] }

type webhookOutput struct {
	ETag string `header:"ETag" doc:"Version of the webhook, for If-Match."`
	Body client.Webhook
}

func answerWebhook(w host.Webhook) *webhookOutput {
	return &webhookOutput{etag(w.Version), wireWebhook(w)}
}

type newWebhookOutput struct {
	Location string `header:"Location" doc:"Where the webhook is."`
	ETag     string `header:"ETag" doc:"Version of the webhook, for If-Match."`
	Body     client.NewWebhook
}

func answerSecret(w host.Webhook, secret string) *newWebhookOutput {
	return &newWebhookOutput{"/webhooks/" + string(w.ID), etag(w.Version), client.NewWebhook{Webhook: wireWebhook(w), Secret: secret}}
}

type deliveryOutput struct {
	Location string `header:"Location" doc:"The deliveries of the webhook, which say what comes of it."`
	Body     client.Delivery
}

func answerDelivery(d host.Delivery) *deliveryOutput {
	return &deliveryOutput{"/webhooks/" + string(d.WebhookID) + "/deliveries", wireDelivery(d)}
}

func wireWebhook(w host.Webhook) client.Webhook {
	out := client.Webhook{
		ID: string(w.ID), Version: w.Version, URL: w.URL, Project: w.Project, Enabled: w.DisabledAt.IsZero(), DisabledAt: wireTime(w.DisabledAt),
		DisabledReason: w.DisabledReason, FailingSince: wireTime(w.FailingSince), CreatedAt: w.CreatedAt.UTC(),
	}
	if w.OldSecretUntil.After(time.Now()) {
		out.OldSecretUntil = wireTime(w.OldSecretUntil)
	}
	for _, e := range w.Events {
		out.Events = append(out.Events, string(e))
	}
	return out
}

func wireDelivery(d host.Delivery) client.Delivery {
	return client.Delivery{
		ID: string(d.ID), WebhookID: string(d.WebhookID), Event: string(d.Event), ScanID: string(d.Scan.ID), State: string(d.State), Attempts: d.Attempts,
		CreatedAt: d.CreatedAt.UTC(), NextAttemptAt: wireTime(d.NextAt), LastAttemptAt: wireTime(d.LastAttemptAt),
		Status: d.Status, Error: d.Error, TookSeconds: d.Took.Seconds(),
	}
}

// webhookSecret makes what messages are signed with, in the standard's form.
func webhookSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never returns an error
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

func (a *API) listWebhooks(ctx context.Context, _ *struct{}) (*webhooksOutput, error) {
	all, err := a.deps.Store.Webhooks(ctx, recordOf(ctx).tenant)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &webhooksOutput{}
	out.Body.Items = []client.Webhook{}
	for _, w := range all {
		out.Body.Items = append(out.Body.Items, wireWebhook(w))
	}
	return out, nil
}

func (a *API) createWebhook(ctx context.Context, in *struct{ Body client.WebhookRequest }) (*newWebhookOutput, error) {
	w := host.Webhook{ID: host.NewWebhookID(), TenantID: recordOf(ctx).tenant, Project: in.Body.Project, URL: in.Body.URL, Secret: webhookSecret()}
	var err error
	if w.Events, err = webhookEvents(in.Body.Events); err != nil {
		return nil, err
	}
	if err := a.checkTarget(w.URL); err != nil {
		return nil, err
	}
	recordOf(ctx).about("webhook " + string(w.ID))
	made, err := a.deps.Store.CreateWebhook(ctx, w)
	if errors.Is(err, host.ErrConflict) {
		p := problemOf(err, nil)
		p.Detail = fmt.Sprintf("Your tenant has %d webhooks, which is the most there can be. Delete one that is not needed any more.", host.MaxWebhooks)
		return nil, p
	}
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerSecret(made, w.Secret), nil
}

func webhookEvents(words []string) ([]host.WebhookEvent, error) {
	events, err := host.ParseWebhookEvents(words)
	if err != nil {
		return nil, invalidBody("events", "The events are scan.succeeded, scan.partial, scan.failed, scan.canceled and scan.timed_out.")
	}
	return events, nil
}

// checkTarget says what is wrong with a URL, as far as it shows by itself.
func (a *API) checkTarget(url string) error {
	if a.deps.CheckTarget == nil {
		return nil
	}
	if err := a.deps.CheckTarget(url); err != nil {
		return invalidBody("url", "This address cannot be called: "+err.Error()+".")
	}
	return nil
}

// webhook reads an id from a path, which is what the request is about.
func webhook(ctx context.Context, in NamedWebhook) (host.TenantID, host.WebhookID, error) {
	id, err := host.ParseID[host.WebhookID](in.ID)
	if err != nil {
		return "", "", webhookProblem(err)
	}
	recordOf(ctx).about("webhook " + string(id))
	return recordOf(ctx).tenant, id, nil
}

func (a *API) getWebhook(ctx context.Context, in *NamedWebhook) (*webhookOutput, error) {
	t, id, err := webhook(ctx, *in)
	if err != nil {
		return nil, err
	}
	w, err := a.deps.Store.Webhook(ctx, t, id)
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerWebhook(w), nil
}

func (a *API) updateWebhook(ctx context.Context, in *struct {
	NamedWebhook
	IfMatch string                `header:"If-Match" maxLength:"64" doc:"ETag of the webhook that the change is based on; * or left out: any."`
	Body    *client.WebhookChange // nil changes nothing
}) (*webhookOutput, error) {
	t, id, err := webhook(ctx, in.NamedWebhook)
	if err != nil {
		return nil, err
	}
	version := 0 // a client may be older than the versions
	if in.IfMatch != "" {
		if version, err = matched(in.IfMatch); err != nil {
			return a.staleWebhook(ctx, t, id, err)
		}
	}
	if in.Body == nil {
		in.Body = &client.WebhookChange{}
	}
	c := host.WebhookChange{Project: in.Body.Project, URL: in.Body.URL, Enabled: in.Body.Enabled}
	if len(in.Body.Events) > 0 {
		if c.Events, err = webhookEvents(in.Body.Events); err != nil {
			return nil, err
		}
	}
	if c.URL != nil {
		if err := a.checkTarget(*c.URL); err != nil {
			return nil, err
		}
	}
	w, err := a.deps.Store.UpdateWebhook(ctx, t, id, version, c)
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerWebhook(w), nil
}

// staleWebhook is for an If-Match that is of no version: what is not there is
// missing all the same, and not stale.
func (a *API) staleWebhook(ctx context.Context, t host.TenantID, id host.WebhookID, stale error) (*webhookOutput, error) {
	if _, err := a.deps.Store.Webhook(ctx, t, id); err != nil {
		return nil, webhookProblem(err)
	}
	return nil, webhookProblem(stale)
}

func (a *API) deleteWebhook(ctx context.Context, in *NamedWebhook) (*struct{}, error) {
	t, id, err := webhook(ctx, *in)
	if err != nil {
		return nil, err
	}
	if err := a.deps.Store.DeleteWebhook(ctx, t, id); err != nil {
		return nil, webhookProblem(err)
	}
	return nil, nil //nolint:nilnil // no content
}

type webhookOverlap struct {
	Overlap *int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long the old secret still counts. Default: a day."`
}

func (a *API) rotateWebhook(ctx context.Context, in *struct {
	NamedWebhook
	Body *webhookOverlap
}) (*newWebhookOutput, error) {
	t, id, err := webhook(ctx, in.NamedWebhook)
	if err != nil {
		return nil, err
	}
	overlap := 24 * time.Hour
	if in.Body != nil && in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	secret := webhookSecret()
	w, err := a.deps.Store.RotateWebhook(ctx, t, id, secret, overlap)
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerSecret(w, secret), nil
}

func (a *API) testWebhook(ctx context.Context, in *NamedWebhook) (*deliveryOutput, error) {
	t, id, err := webhook(ctx, *in)
	if err != nil {
		return nil, err
	}
	d, err := a.deps.Store.TestWebhook(ctx, t, id)
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerDelivery(d), nil
}

type deliveriesInput struct {
	NamedWebhook
	State     string `query:"state" enum:"pending,delivered,failed" doc:"Only in this state."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Deliveries a page."`
	PageToken string `query:"page_token" maxLength:"256" doc:"next_page_token of the page before, with the same filters."`
}

type deliveriesOutput struct{ Body client.Page[client.Delivery] }

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	t, id, err := webhook(ctx, in.NamedWebhook)
	if err != nil {
		return nil, err
	}
	scope := []string{string(t), "deliveries", in.ID, in.State}
	q := host.DeliveryQuery{State: host.DeliveryState(in.State), Limit: in.Limit + 1}
	if in.PageToken != "" {
		cursor, ok := a.tokens.open(scope, in.PageToken)
		last := readDeadCursor(cursor)
		if !ok || last == nil {
			return nil, badToken()
		}
		q.After = &host.DeliveryCursor{CreatedAt: last.DeadAt, ID: host.DeliveryID(last.ID)}
	}
	all, err := a.deps.Store.Deliveries(ctx, t, id, q)
	if err != nil {
		return nil, webhookProblem(err)
	}
	out := &deliveriesOutput{}
	out.Body.Items = []client.Delivery{}
	if len(all) > in.Limit {
		all = all[:in.Limit]
		last := all[in.Limit-1]
		out.Body.NextPageToken = a.tokens.seal(scope, deadCursor(host.DeadCursor{DeadAt: last.CreatedAt, ID: host.JobID(last.ID)}))
	}
	for _, d := range all {
		out.Body.Items = append(out.Body.Items, wireDelivery(d))
	}
	return out, nil
}

func (a *API) replayDelivery(ctx context.Context, in *struct {
	NamedWebhook
	Delivery string `path:"delivery" maxLength:"64" doc:"Id of the delivery."`
}) (*deliveryOutput, error) {
	t, id, err := webhook(ctx, in.NamedWebhook)
	if err != nil {
		return nil, err
	}
	message, err := host.ParseID[host.DeliveryID](in.Delivery)
	if err != nil {
		return nil, webhookProblem(err)
	}
	d, err := a.deps.Store.Redeliver(ctx, t, id, message)
	if err != nil {
		return nil, webhookProblem(err)
	}
	return answerDelivery(d), nil
}

func webhookProblem(err error) error {
	p := problemOf(err, nil)
	switch {
	case errors.Is(err, host.ErrNotFound):
		p.Detail = "Your tenant has no webhook, or it no delivery, with this id."
	case errors.Is(err, host.ErrConflict):
		p.Detail = "The webhook is disabled: PATCH it with enabled true first."
	}
	return p
}
