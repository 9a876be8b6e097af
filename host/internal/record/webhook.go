package record

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
)

// WebhookColumns are those of webhooks w that WebhookDest takes.
const WebhookColumns = `w.id, w.tenant_id, w.version, w.project, w.url, w.events, w.old_secret_until, w.created_at, w.disabled_at, w.disabled_reason, w.failing_since`

// Webhook is a row as it is read.
type Webhook struct {
	host.Webhook
	events string
}

// Dest is where to scan WebhookColumns.
func (r *Webhook) Dest(at AtFunc) []any {
	w := &r.Webhook
	return []any{&w.ID, &w.TenantID, &w.Version, &w.Project, &w.URL, &r.events, at(&w.OldSecretUntil), at(&w.CreatedAt), at(&w.DisabledAt), &w.DisabledReason, at(&w.FailingSince)}
}

// Value reads it.
func (r *Webhook) Value() host.Webhook {
	for e := range strings.FieldsSeq(r.events) {
		r.Events = append(r.Events, host.WebhookEvent(e))
	}
	return r.Webhook
}

// Events are a webhook's in their column.
func Events(all []host.WebhookEvent) (string, error) {
	var words []string
	for _, e := range all {
		words = append(words, string(e))
	}
	parsed, err := host.ParseWebhookEvents(words)
	if err != nil {
		return "", err
	}
	words = words[:0]
	for _, e := range parsed {
		words = append(words, string(e))
	}
	return strings.Join(words, " "), nil
}

// CheckWebhook refuses what the tables would.
func CheckWebhook(w host.Webhook) error {
	switch {
	case !IsID(w.ID) || !IsID(w.TenantID):
		return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
	case w.URL == "" || w.Secret == "":
		return fmt.Errorf("it has no URL or no secret: %w", host.ErrInvalid)
	}
	return nil
}

// DeliveryColumns are those of webhook_deliveries d that Delivery takes.
const DeliveryColumns = `d.id, d.webhook_id, d.event, d.data, d.state, d.attempts, d.created_at, d.next_at, d.last_attempt_at, d.status, d.error, d.took_us`

// Delivery is a row as it is read.
type Delivery struct {
	host.Delivery
	data string
	took int64
}

// Dest is where to scan DeliveryColumns.
func (r *Delivery) Dest(at AtFunc) []any {
	d := &r.Delivery
	return []any{&d.ID, &d.WebhookID, &d.Event, &r.data, &d.State, &d.Attempts, at(&d.CreatedAt), at(&d.NextAt), at(&d.LastAttemptAt), &d.Status, &d.Error, &r.took}
}

// ended is a scan's end as it is stored; the stores write it in SQL.
type ended struct {
	Scan, Type, Project, State               string
	Critical, High, Medium, Low, Info, Other int
	Created, Finished                        int64 // Unix microseconds
}

// Value reads it.
func (r *Delivery) Value() (host.Delivery, error) {
	d := r.Delivery
	d.Took = time.Duration(r.took) * time.Microsecond
	if d.State != host.DeliveryPending {
		d.NextAt = time.Time{}
	}
	var e ended
	if err := decode("data", &r.data, &e); err != nil {
		return d, err
	}
	if e.Scan != "" {
		d.Scan = host.ScanEnd{
			ID: host.ScanID(e.Scan), Type: e.Type, Project: e.Project, State: host.State(e.State),
			Counts:    host.Counts{Critical: e.Critical, High: e.High, Medium: e.Medium, Low: e.Low, Info: e.Info, Unknown: e.Other},
			CreatedAt: time.UnixMicro(e.Created).UTC(), FinishedAt: time.UnixMicro(e.Finished).UTC(),
		}
	}
	return d, nil
}

// Newest is the cursor of a list that is newest first; nil begins at its start.
func Newest(c *host.DeliveryCursor) (host.DeliveryCursor, error) {
	if c == nil {
		return host.DeliveryCursor{CreatedAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}, nil
	}
	if !IsID(c.ID) {
		return *c, fmt.Errorf("cursor %.64q is not a UUID: %w", string(c.ID), host.ErrInvalid)
	}
	return *c, nil
}

// CheckDelivery refuses an outcome that no attempt has.
func CheckDelivery(o host.DeliveryOutcome) error {
	known := []host.DeliveryState{host.DeliveryPending, host.DeliveryDelivered, host.DeliveryFailed}
	if !slices.Contains(known, o.State) || o.Retry < 0 || o.Pause < 0 || o.DisableAfter < 0 || o.Release && o.State != host.DeliveryPending {
		return fmt.Errorf("outcome %q of an attempt, again after %v: %w", o.State, o.Retry, host.ErrInvalid)
	}
	return nil
}
