package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// WebhookEvent is what a tenant can be told of.
type WebhookEvent string

// A scan that ends is one of these, by its state. A dead letter that is requeued
// makes its scan end a second time.
const (
	EventScanSucceeded WebhookEvent = "scan.succeeded"
	EventScanPartial   WebhookEvent = "scan.partial"
	EventScanFailed    WebhookEvent = "scan.failed"
	EventScanCanceled  WebhookEvent = "scan.canceled"
	EventScanTimedOut  WebhookEvent = "scan.timed_out"
	// EventTest is sent when somebody asks for it, and never chosen.
	EventTest WebhookEvent = "webhook.test"
)

// WebhookEvents lists those that can be chosen. Each is "scan." and a final state,
// which the stores rely on.
func WebhookEvents() []WebhookEvent {
	return []WebhookEvent{EventScanSucceeded, EventScanPartial, EventScanFailed, EventScanCanceled, EventScanTimedOut}
}

// ParseWebhookEvents reads words. ErrInvalid for one that is no event; none at
// all are every one. Each is there once, in order.
func ParseWebhookEvents(words []string) ([]WebhookEvent, error) {
	var out []WebhookEvent
	for _, w := range words {
		if !slices.Contains(WebhookEvents(), WebhookEvent(w)) {
			return nil, fmt.Errorf("%.64q is no event; there are %s: %w", w, eventNames(), ErrInvalid)
		}
		out = append(out, WebhookEvent(w))
	}
	if len(out) == 0 {
		return WebhookEvents(), nil
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func eventNames() string {
	var names []string
	for _, e := range WebhookEvents() {
		names = append(names, string(e))
	}
	return strings.Join(names, ", ")
}

// MaxWebhooks is how many webhooks a tenant may have.
const MaxWebhooks = 20

// Webhook is an address that a tenant wants to be told at.
type Webhook struct {
	ID       WebhookID
	TenantID TenantID
	Version  int    // of what people set, from 1
	Project  string // only of its scans; "": of all
	URL      string
	Events   []WebhookEvent // at least one
	// Secret signs the messages, and OldSecret too until OldSecretUntil. Only
	// CreateWebhook and RotateWebhook take a Secret and only ClaimDeliveries
	// gives them: no other query reads them.
	Secret, OldSecret string
	OldSecretUntil    time.Time // zero: there is no old one any more

	CreatedAt      time.Time
	DisabledAt     time.Time // zero: it is not
	DisabledReason string
	FailingSince   time.Time // of the first failure after the last success; zero: none
}

// WebhookChange is what to change; nil leaves it.
type WebhookChange struct {
	Project, URL *string
	Events       []WebhookEvent
	// Enabled takes a disabling back, with what the failures led to; false
	// disables, and what is pending has failed.
	Enabled *bool
}

// DeliveryState says where a delivery stands.
type DeliveryState string

const (
	DeliveryPending   DeliveryState = "pending"   // waits for its next attempt, or is in one
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryFailed    DeliveryState = "failed"    // given up
)

// Delivery is a message to one webhook, and what came of it.
type Delivery struct {
	ID        DeliveryID // also of the message: the same in every attempt
	WebhookID WebhookID
	Event     WebhookEvent
	Scan      ScanEnd // zero for EventTest
	State     DeliveryState
	Attempts  int
	CreatedAt time.Time
	NextAt    time.Time // of the next attempt, or the lease's end during one; zero when it is not pending

	// Of the last attempt:
	LastAttemptAt time.Time // zero: there was none
	Status        int       // of HTTP; 0: there was no answer
	Error         string    // what was wrong, in words; "" when nothing was
	Took          time.Duration
}

// ScanEnd is a scan as it was when it ended.
type ScanEnd struct {
	ID                    ScanID
	Type, Project         string
	State                 State
	Counts                Counts
	CreatedAt, FinishedAt time.Time
}

// WebhookStore keeps webhooks. Every method takes the tenant and sees nothing of
// any other: what it has not is ErrNotFound.
//
// From the moment in which CreateWebhook returns, each transaction that ends a
// scan of the tenant, in whatever way, also writes a pending delivery for each
// webhook that wants to hear of it: both or neither. Of a scan that is deleted
// nobody hears.
type WebhookStore interface {
	// CreateWebhook stores one and returns it as stored, without secrets.
	// ErrConflict when the tenant has MaxWebhooks.
	CreateWebhook(ctx context.Context, w Webhook) (Webhook, error)
	// Webhooks lists them, oldest first.
	Webhooks(ctx context.Context, t TenantID) ([]Webhook, error)
	Webhook(ctx context.Context, t TenantID, id WebhookID) (Webhook, error)
	// UpdateWebhook changes one whose version is that; 0 is any. ErrStale, and
	// nothing has changed, when it is another. A new secret, and what deliveries
	// lead to, are no new version.
	UpdateWebhook(ctx context.Context, t TenantID, id WebhookID, version int, c WebhookChange) (Webhook, error)
	// RotateWebhook signs with secret from now on, and with the one before too
	// until overlap is over. An older one is forgotten.
	RotateWebhook(ctx context.Context, t TenantID, id WebhookID, secret string, overlap time.Duration) (Webhook, error)
	// DeleteWebhook removes it with its deliveries.
	DeleteWebhook(ctx context.Context, t TenantID, id WebhookID) error
}

// DeliveryStore is what a tenant sees of deliveries, as with WebhookStore.
type DeliveryStore interface {
	// TestWebhook adds a delivery of EventTest. ErrConflict when the webhook is
	// disabled.
	TestWebhook(ctx context.Context, t TenantID, id WebhookID) (Delivery, error)
	// Deliveries lists, newest first.
	Deliveries(ctx context.Context, t TenantID, id WebhookID, q DeliveryQuery) ([]Delivery, error)
	// Redeliver makes a delivery pending again, due now, as if it had never been
	// tried. One that is in an attempt stays as it is. ErrConflict when the
	// webhook is disabled.
	Redeliver(ctx context.Context, t TenantID, id WebhookID, d DeliveryID) (Delivery, error)
}

// DeliveryQuery narrows deliveries. Limit 0 means 50, at most 500.
type DeliveryQuery struct {
	State DeliveryState // only in this one; "" for all
	After *DeliveryCursor
	Limit int
}

// DeliveryCursor is the last delivery of the page before.
type DeliveryCursor struct {
	CreatedAt time.Time
	ID        DeliveryID
}

// OutboxStore is what delivering needs of the store. Any number of hosts may call
// it side by side.
type OutboxStore interface {
	// ClaimDeliveries takes due deliveries for owner, until ttl from now: at most
	// limit, at most one of each tenant, chosen by chance among its webhooks and
	// the oldest of that one, so that no backlog keeps others waiting. Webhooks
	// that are disabled, or paused, or among those to leave out are left out.
	// Attempts grows by one. What is not finished when ttl is over is due again.
	ClaimDeliveries(ctx context.Context, q ClaimDeliveries) ([]DeliveryClaim, error)
	// FinishDelivery ends an attempt. It says whether the webhook is disabled
	// since. ErrLeaseLost when the lease is gone, and nothing has changed.
	FinishDelivery(ctx context.Context, o DeliveryOutcome) (disabled bool, err error)
	// ReleaseDeliveries gives back what owner holds, due now and the attempt not
	// counted, and returns how many. Only for an owner that is known to be dead.
	ReleaseDeliveries(ctx context.Context, owner string) (int, error)
	// DropDeliveries removes those that are not pending and older than age, at
	// most limit, and returns how many.
	DropDeliveries(ctx context.Context, age time.Duration, limit int) (int, error)
	// OutboxStats counts what is pending.
	OutboxStats(ctx context.Context) (OutboxStats, error)
}

// ClaimDeliveries says what to take.
type ClaimDeliveries struct {
	Owner           string
	TTL             time.Duration
	Limit           int
	WithoutWebhooks []WebhookID // that have enough under way
	WithoutTenants  []TenantID
}

// DeliveryClaim is a delivery that is this host's to make.
type DeliveryClaim struct {
	Delivery
	Webhook Webhook // with its secrets; the old one only while it counts
	Lease   string
}

// DeliveryOutcome is how an attempt ended.
type DeliveryOutcome struct {
	ID    DeliveryID
	Lease string
	State DeliveryState // pending: it is tried again after Retry
	Retry time.Duration
	// Release takes the attempt back: it was not made. Nothing but State and
	// Retry counts then.
	Release bool

	Status int
	Error  string
	Took   time.Duration
	// Pause keeps everything from the webhook for so long.
	Pause time.Duration
	// Disable is why the webhook is to be disabled; "" leaves it.
	Disable string
	// DisableAfter disables it when it has failed for longer; 0: never.
	DisableAfter time.Duration
}

// OutboxStats is the outbox at one moment.
type OutboxStats struct {
	Pending int           // waiting or in an attempt
	Oldest  time.Duration // how long the one that is due for longest has been; 0: none is
}
