package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Webhooks take a key with the scope webhook:write.

// Webhook is an address that is told when scans end.
type Webhook struct {
	ID             string     `json:"id" format:"uuid"`
	URL            string     `json:"url"`
	Version        int        `json:"version" doc:"Of what people set; the ETag."`
	Project        string     `json:"project,omitempty" doc:"Only of its scans; left out: of all."`
	Events         []string   `json:"events" doc:"What it is told of."`
	Enabled        bool       `json:"enabled" doc:"Whether anything is sent."`
	DisabledAt     *time.Time `json:"disabled_at,omitempty"`
	DisabledReason string     `json:"disabled_reason,omitempty" doc:"Why nothing is sent, in words."`
	FailingSince   *time.Time `json:"failing_since,omitempty" doc:"Of the first failure after the last success."`
	OldSecretUntil *time.Time `json:"old_secret_until,omitempty" doc:"Until then messages are signed with the secret before the last rotation, too."`
	CreatedAt      time.Time  `json:"created_at"`
}

// NewWebhook is a webhook with its secret.
type NewWebhook struct {
	Webhook
	Secret string `json:"secret" doc:"With which you check signatures. It is shown only this once."`
}

// WebhookRequest says what webhook to make.
type WebhookRequest struct {
	URL     string   `json:"url" maxLength:"2048" doc:"Where to send: https or http, a public name." example:"https://ci.example.com/hooks/securetag"`
	Project string   `json:"project,omitempty" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"Only of the scans of this project. Default: of all."`
	Events  []string `json:"events,omitempty" maxItems:"10" doc:"What to be told of: scan.succeeded, scan.partial, scan.failed, scan.canceled, scan.timed_out. Default: all."`
}

// WebhookChange says what to change of a webhook; nil leaves it.
type WebhookChange struct {
	URL     *string  `json:"url,omitempty" maxLength:"2048"`
	Project *string  `json:"project,omitempty" pattern:"^[A-Za-z0-9_-]{0,64}$" doc:"\"\": of all projects."`
	Events  []string `json:"events,omitempty" minItems:"1" maxItems:"10"`
	Enabled *bool    `json:"enabled,omitempty" doc:"false: nothing is sent, and what waits has failed. true: takes that back, also when the host did it."`
}

// Delivery is a message to a webhook, and what came of it.
type Delivery struct {
	ID            string     `json:"id" format:"uuid" doc:"The webhook-id of the message, the same in every attempt."`
	WebhookID     string     `json:"webhook_id" format:"uuid"`
	Event         string     `json:"event"`
	ScanID        string     `json:"scan_id,omitempty" format:"uuid"`
	State         string     `json:"state" enum:"pending,delivered,failed" doc:"pending waits for its next attempt, or is in one."`
	Attempts      int        `json:"attempts" doc:"Begun since the event or the last replay."`
	CreatedAt     time.Time  `json:"created_at"`
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	LastAttemptAt *time.Time `json:"last_attempt_at,omitempty"`
	Status        int        `json:"status,omitempty" doc:"HTTP status of the last answer."`
	Error         string     `json:"error,omitempty" doc:"What was wrong with the last attempt, in words."`
	TookSeconds   float64    `json:"took_seconds,omitempty" doc:"Time of the last attempt, to the answer."`
}

func webhookPath(id string) string { return "/webhooks/" + url.PathEscape(id) }

// Webhooks lists them, oldest first.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var p Page[Webhook]
	_, err := c.get(ctx, "/webhooks", nil, &p)
	return p.Items, err
}

// Webhook gives one.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	var w Webhook
	_, err := c.get(ctx, webhookPath(id), nil, &w)
	return w, err
}

// CreateWebhook makes one. Its secret is in the answer and nowhere else.
func (c *Client) CreateWebhook(ctx context.Context, w WebhookRequest) (NewWebhook, error) {
	var out NewWebhook
	err := c.postJSON(ctx, "/webhooks", w, &out)
	return out, err
}

// UpdateWebhook changes one. version is that of the webhook on which the change
// is based, 0 for any; another one is an *Error with status 412.
func (c *Client) UpdateWebhook(ctx context.Context, id string, version int, w WebhookChange) (Webhook, error) {
	var out Webhook
	err := c.patch(ctx, webhookPath(id), version, w, &out)
	return out, err
}

// DeleteWebhook removes one with its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	_, err := c.send(ctx, request{method: http.MethodDelete, path: webhookPath(id)}, nil)
	return err
}

// RotateWebhook makes a new secret, which is in the answer and nowhere else.
// Messages are signed with both until overlap is over.
func (c *Client) RotateWebhook(ctx context.Context, id string, overlap time.Duration) (NewWebhook, error) {
	var out NewWebhook
	err := c.postJSON(ctx, webhookPath(id)+"/rotate", struct {
		Overlap int64 `json:"overlap_seconds"`
	}{int64(overlap / time.Second)}, &out)
	return out, err
}

// TestWebhook sends a message of the type webhook.test.
func (c *Client) TestWebhook(ctx context.Context, id string) (Delivery, error) {
	var d Delivery
	err := c.postJSON(ctx, webhookPath(id)+"/test", nil, &d)
	return d, err
}

// DeliveryQuery asks for deliveries. The zero value is everything.
type DeliveryQuery struct {
	State     string // pending, delivered or failed
	Limit     int    // deliveries a page; 0: as the host likes
	PageToken string // NextPageToken of the page before, with the same filters
}

// Deliveries gives one page, newest first.
func (c *Client) Deliveries(ctx context.Context, webhook string, q DeliveryQuery) (Page[Delivery], error) {
	var p Page[Delivery]
	_, err := c.get(ctx, webhookPath(webhook)+"/deliveries", values("state", q.State, "limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}

// AllDeliveries goes through all pages from q on. It ends after the first error.
func (c *Client) AllDeliveries(ctx context.Context, webhook string, q DeliveryQuery) iter.Seq2[Delivery, error] {
	return all(func(token string) (Page[Delivery], error) {
		if token != "" {
			q.PageToken = token
		}
		return c.Deliveries(ctx, webhook, q)
	})
}

// ReplayDelivery sends a message again, as if it had never been tried.
func (c *Client) ReplayDelivery(ctx context.Context, webhook, id string) (Delivery, error) {
	var d Delivery
	err := c.postJSON(ctx, webhookPath(webhook)+"/deliveries/"+url.PathEscape(id)+"/replay", nil, &d)
	return d, err
}
