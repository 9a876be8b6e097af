package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func scanWebhook(scan func(...any) error) (host.Webhook, error) {
	var r record.Webhook
	err := scan(r.Dest(at)...)
	return r.Value(), err
}

func scanDelivery(scan func(...any) error) (host.Delivery, error) {
	var r record.Delivery
	if err := scan(r.Dest(at)...); err != nil {
		return host.Delivery{}, err
	}
	return r.Value()
}

// CreateWebhook implements host.WebhookStore.
func (s *Store) CreateWebhook(ctx context.Context, w host.Webhook) (out host.Webhook, err error) {
	op := fmt.Sprintf("create webhook %.64q", string(w.ID))
	events, err := record.Events(w.Events)
	if err == nil {
		err = record.CheckWebhook(w)
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", op, err)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `select count(*) from webhooks where tenant_id = ?`, string(w.TenantID)).Scan(&n); err != nil {
			return err
		}
		if n >= host.MaxWebhooks {
			return fmt.Errorf("the tenant has %d: %w", n, host.ErrConflict)
		}
		_, err := tx.ExecContext(ctx, `insert into webhooks (id, tenant_id, project, url, events, secret, created_at) values (?, ?, ?, ?, ?, ?, ?)`,
			string(w.ID), string(w.TenantID), record.Clean(w.Project), record.Clean(w.URL), events, w.Secret, tx.now)
		if err != nil {
			return err
		}
		out, err = tx.webhook(ctx, w.TenantID, w.ID)
		return err
	})
	return out, err
}

const oneWebhook = `select ` + record.WebhookColumns + ` from webhooks w where tenant_id = ? and id = ?`

func (tx tx) webhook(ctx context.Context, t host.TenantID, id host.WebhookID) (host.Webhook, error) {
	return scanWebhook(tx.QueryRowContext(ctx, oneWebhook, string(t), string(id)).Scan)
}

// Webhooks implements host.WebhookStore.
func (s *Store) Webhooks(ctx context.Context, t host.TenantID) (all []host.Webhook, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		w, err := scanWebhook(r.Scan)
		all = append(all, w)
		return err
	}, `select `+record.WebhookColumns+` from webhooks w where tenant_id = ? order by created_at, id`, string(t))
	if err != nil {
		return nil, translate(ctx, "list webhooks", err)
	}
	return all, nil
}

// Webhook implements host.WebhookStore.
func (s *Store) Webhook(ctx context.Context, t host.TenantID, id host.WebhookID) (host.Webhook, error) {
	w, err := scanWebhook(s.readers.QueryRowContext(ctx, oneWebhook, string(t), string(id)).Scan)
	if err != nil {
		return host.Webhook{}, translate(ctx, fmt.Sprintf("read webhook %.64q", string(id)), err)
	}
	return w, nil
}

// disabledByTenant is why a webhook is disabled that its tenant disabled.
const disabledByTenant = "by request"

// updateWebhook takes tenant, id, project, URL and events, each null to leave it,
// whether it is to be enabled, null for as it is, why it is disabled if it is to
// be, the time, and the version that it must have, 0 for any.
const updateWebhook = `
update webhooks set version = version + 1, project = coalesce(?3, project), url = coalesce(?4, url), events = coalesce(?5, events),
    disabled_at = case when ?6 then null when not ?6 then coalesce(disabled_at, ?8) else disabled_at end,
    disabled_reason = case when ?6 then '' when not ?6 and disabled_at is null then ?7 else disabled_reason end,
    failing_since = case when ?6 then null else failing_since end,
    paused_until = case when ?6 then 0 else paused_until end
where tenant_id = ?1 and id = ?2 and ?9 in (0, version)`

// giveUp is what becomes of the pending deliveries of a webhook that is disabled.
const giveUp = `
update webhook_deliveries set state = 'failed', error = 'the webhook was disabled', lease_id = null, lease_owner = null
where webhook_id = ? and state = 'pending'`

// UpdateWebhook implements host.WebhookStore.
func (s *Store) UpdateWebhook(ctx context.Context, t host.TenantID, id host.WebhookID, version int, c host.WebhookChange) (w host.Webhook, err error) {
	op := fmt.Sprintf("change webhook %.64q", string(id))
	var events *string
	if c.Events != nil {
		text, err := record.Events(c.Events)
		if err != nil {
			return w, fmt.Errorf("%s: %w", op, err)
		}
		events = &text
	}
	if c.URL != nil && *c.URL == "" {
		return w, fmt.Errorf("%s: it has no URL: %w", op, host.ErrInvalid)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		err := changed(tx.ExecContext(ctx, updateWebhook, string(t), string(id), cleanOrNull(c.Project), cleanOrNull(c.URL), events, c.Enabled, disabledByTenant, tx.now, version))
		if version != 0 && errors.Is(err, host.ErrNotFound) {
			if _, err := tx.webhook(ctx, t, id); err != nil {
				return err
			}
			return fmt.Errorf("it is not at version %d: %w", version, host.ErrStale)
		}
		if err == nil && c.Enabled != nil && !*c.Enabled {
			_, err = tx.ExecContext(ctx, giveUp, string(id))
		}
		if err != nil {
			return err
		}
		w, err = tx.webhook(ctx, t, id)
		return err
	})
	return w, err
}

func cleanOrNull(s *string) *string {
	if s == nil {
		return nil
	}
	return new(record.Clean(*s))
}

// RotateWebhook implements host.WebhookStore.
func (s *Store) RotateWebhook(ctx context.Context, t host.TenantID, id host.WebhookID, secret string, overlap time.Duration) (w host.Webhook, err error) {
	err = s.write(ctx, fmt.Sprintf("rotate the secret of webhook %.64q", string(id)), func(ctx context.Context, tx tx) error {
		err := changed(tx.ExecContext(ctx, `
update webhooks set secret = ?3, old_secret = case when ?4 > 0 then secret end, old_secret_until = case when ?4 > 0 then ?5 + ?4 end
where tenant_id = ?1 and id = ?2`, string(t), string(id), secret, record.Micros(max(overlap, 0)), tx.now))
		if err != nil {
			return err
		}
		w, err = tx.webhook(ctx, t, id)
		return err
	})
	return w, err
}

// DeleteWebhook implements host.WebhookStore.
func (s *Store) DeleteWebhook(ctx context.Context, t host.TenantID, id host.WebhookID) error {
	return s.write(ctx, fmt.Sprintf("delete webhook %.64q", string(id)), func(ctx context.Context, tx tx) error {
		return changed(tx.ExecContext(ctx, `delete from webhooks where tenant_id = ? and id = ?`, string(t), string(id)))
	})
}

// enabled gives ErrConflict when a webhook is disabled.
func (tx tx) enabled(ctx context.Context, t host.TenantID, id host.WebhookID) error {
	w, err := tx.webhook(ctx, t, id)
	if err == nil && !w.DisabledAt.IsZero() {
		return fmt.Errorf("the webhook is disabled: %w", host.ErrConflict)
	}
	return err
}

func (tx tx) delivery(ctx context.Context, webhook host.WebhookID, id host.DeliveryID) (host.Delivery, error) {
	return scanDelivery(tx.QueryRowContext(ctx,
		`select `+record.DeliveryColumns+` from webhook_deliveries d where webhook_id = ? and id = ?`, string(webhook), string(id)).Scan)
}

// TestWebhook implements host.DeliveryStore.
func (s *Store) TestWebhook(ctx context.Context, t host.TenantID, id host.WebhookID) (d host.Delivery, err error) {
	err = s.write(ctx, fmt.Sprintf("test webhook %.64q", string(id)), func(ctx context.Context, tx tx) error {
		if err := tx.enabled(ctx, t, id); err != nil {
			return err
		}
		message := host.NewDeliveryID()
		_, err := tx.ExecContext(ctx,
			`insert into webhook_deliveries (id, tenant_id, webhook_id, event, data, created_at, next_at) values (?1, ?2, ?3, ?4, '{}', ?5, ?5)`,
			string(message), string(t), string(id), string(host.EventTest), tx.now)
		if err != nil {
			return err
		}
		d, err = tx.delivery(ctx, id, message)
		return err
	})
	return d, err
}

// Redeliver implements host.DeliveryStore.
func (s *Store) Redeliver(ctx context.Context, t host.TenantID, id host.WebhookID, message host.DeliveryID) (d host.Delivery, err error) {
	err = s.write(ctx, fmt.Sprintf("deliver %.64q again", string(message)), func(ctx context.Context, tx tx) error {
		if err := tx.enabled(ctx, t, id); err != nil {
			return err
		}
		// The lease of an attempt that is under way ends at next_at.
		_, err := tx.ExecContext(ctx, `
update webhook_deliveries set state = 'pending', attempts = 0, next_at = ?3, lease_id = null, lease_owner = null
where webhook_id = ?1 and id = ?2 and (lease_id is null or next_at <= ?3)`, string(id), string(message), tx.now)
		if err != nil {
			return err
		}
		d, err = tx.delivery(ctx, id, message)
		return err
	})
	return d, err
}

// deliveries takes webhook, state ("" for any), the place to continue behind and
// a limit.
const deliveries = `
select ` + record.DeliveryColumns + ` from webhook_deliveries d
where d.webhook_id = ?1 and (?2 = '' or d.state = ?2) and (d.created_at, d.id) < (?3, ?4)
order by d.created_at desc, d.id desc limit ?5`

// Deliveries implements host.DeliveryStore.
func (s *Store) Deliveries(ctx context.Context, t host.TenantID, id host.WebhookID, q host.DeliveryQuery) (all []host.Delivery, err error) {
	op := fmt.Sprintf("list the deliveries of webhook %.64q", string(id))
	after, err := record.Newest(q.After)
	if err == nil {
		_, err = s.Webhook(ctx, t, id)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		d, err := scanDelivery(r.Scan)
		all = append(all, d)
		return err
	}, deliveries, string(id), record.Clean(string(q.State)), after.CreatedAt.UnixMicro(), string(after.ID), record.Limit(q.Limit, 50, 500))
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	return all, nil
}
