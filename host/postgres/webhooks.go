package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func toWebhook(row pgx.CollectableRow) (host.Webhook, error) {
	var r record.Webhook
	err := row.Scan(r.Dest(at)...)
	return r.Value(), err
}

func toDelivery(row pgx.CollectableRow) (host.Delivery, error) {
	var r record.Delivery
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.Delivery{}, err
	}
	return r.Value()
}

// insertWebhook takes id, tenant, project, URL, events, secret and how many a
// tenant may have, and stores nothing when it has so many. The tenant is locked.
const insertWebhook = `
insert into webhooks as w (id, tenant_id, project, url, events, secret)
select $1::text::uuid, $2::text::uuid, $3::text, $4::text, $5::text, $6::text where (select count(*) from webhooks where tenant_id = $2::text::uuid) < $7
returning ` + record.WebhookColumns

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
	var found []host.Webhook
	insert := s.as(w.TenantID, func(b *pgx.Batch) {
		b.Queue(insertWebhook, string(w.ID), string(w.TenantID), record.Clean(w.Project), record.Clean(w.URL), events, w.Secret, host.MaxWebhooks).
			Query(func(rows pgx.Rows) (err error) {
				found, err = pgx.CollectRows(rows, toWebhook)
				return err
			})
	})
	err = s.batch(ctx, op, func(b *pgx.Batch) {
		// Before it is the tenant's: the role of tenants may not lock one.
		b.Queue(`select 1 from tenants where id = $1 for no key update`, string(w.TenantID))
		insert(b)
	})
	switch {
	case err != nil:
		return out, err
	case len(found) == 0:
		return out, fmt.Errorf("%s: the tenant has %d: %w", op, host.MaxWebhooks, host.ErrConflict)
	}
	return found[0], nil
}

// Webhooks implements host.WebhookStore.
func (s *Store) Webhooks(ctx context.Context, t host.TenantID) (all []host.Webhook, err error) {
	const op = "list webhooks"
	if !record.IsID(t) {
		return nil, nil
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`select `+record.WebhookColumns+` from webhooks w where tenant_id = $1 order by created_at, id`, string(t)).
			Query(func(rows pgx.Rows) (err error) {
				all, err = pgx.CollectRows(rows, toWebhook)
				return err
			})
	})
	return all, err
}

// oneWebhook runs a statement of a webhook's tenant and id, which are its first
// two arguments, and gives the row that it returns.
func (s *Store) oneWebhook(ctx context.Context, verb, statement string, t host.TenantID, id host.WebhookID, args ...any) (w host.Webhook, err error) {
	op := fmt.Sprintf("%s webhook %.64q", verb, string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return w, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(statement, append([]any{string(t), string(id)}, args...)...).Query(func(rows pgx.Rows) (err error) {
			w, err = pgx.CollectExactlyOneRow(rows, toWebhook)
			return err
		})
	})
	return w, err
}

// Webhook implements host.WebhookStore.
func (s *Store) Webhook(ctx context.Context, t host.TenantID, id host.WebhookID) (host.Webhook, error) {
	return s.oneWebhook(ctx, "read", `select `+record.WebhookColumns+` from webhooks w where tenant_id = $1 and id = $2`, t, id)
}

// disabledByTenant is why a webhook is disabled that its tenant disabled.
const disabledByTenant = "by request"

// updateWebhook takes tenant, id, project, URL and events, each null to leave it,
// whether it is to be enabled, null for as it is, why it is disabled if it is to
// be, and the version that it must have, 0 for any. What is pending of one that is
// disabled has failed.
const updateWebhook = `
with changed as (
    update webhooks w set version = version + 1, project = coalesce($3::text, project), url = coalesce($4::text, url), events = coalesce($5::text, events),
        disabled_at = case when $6::bool then null when not $6::bool then coalesce(disabled_at, now()) else disabled_at end,
        disabled_reason = case when $6::bool then '' when not $6::bool and disabled_at is null then $7::text else disabled_reason end,
        failing_since = case when $6::bool then null else failing_since end,
        paused_until = case when $6::bool then '-infinity' else paused_until end
    where tenant_id = $1 and id = $2 and $8::int in (0, version)
    returning *
), given_up as (
    update webhook_deliveries d set ` + giveUp + `
    from changed c where d.webhook_id = c.id and d.state = 'pending' and not $6::bool
)
select ` + record.WebhookColumns + ` from changed w`

// giveUp is what becomes of the pending deliveries of a webhook that is disabled.
const giveUp = `state = 'failed', error = 'the webhook was disabled', lease_id = null, lease_owner = null`

// UpdateWebhook implements host.WebhookStore.
func (s *Store) UpdateWebhook(ctx context.Context, t host.TenantID, id host.WebhookID, version int, c host.WebhookChange) (host.Webhook, error) {
	var events *string
	if c.Events != nil {
		text, err := record.Events(c.Events)
		if err != nil {
			return host.Webhook{}, fmt.Errorf("change webhook %.64q: %w", string(id), err)
		}
		events = &text
	}
	if c.URL != nil && *c.URL == "" {
		return host.Webhook{}, fmt.Errorf("change webhook %.64q: it has no URL: %w", string(id), host.ErrInvalid)
	}
	w, err := s.oneWebhook(ctx, "change", updateWebhook, t, id, cleanOrNull(c.Project), cleanOrNull(c.URL), events, c.Enabled, disabledByTenant, version)
	if version != 0 && errors.Is(err, host.ErrNotFound) {
		if _, err := s.Webhook(ctx, t, id); err != nil {
			return w, err
		}
		return w, fmt.Errorf("change webhook %.64q: it is not at version %d: %w", string(id), version, host.ErrStale)
	}
	return w, err
}

func cleanOrNull(s *string) *string {
	if s == nil {
		return nil
	}
	return new(record.Clean(*s))
}

// rotateWebhook takes tenant, id, the new secret and how long the old one counts,
// in microseconds.
const rotateWebhook = `
update webhooks w set secret = $3, old_secret = case when $4::bigint > 0 then secret end,
    old_secret_until = case when $4::bigint > 0 then now() + $4::bigint * interval '1 microsecond' end
where tenant_id = $1 and id = $2
returning ` + record.WebhookColumns

// RotateWebhook implements host.WebhookStore.
func (s *Store) RotateWebhook(ctx context.Context, t host.TenantID, id host.WebhookID, secret string, overlap time.Duration) (host.Webhook, error) {
	return s.oneWebhook(ctx, "rotate the secret of", rotateWebhook, t, id, secret, record.Micros(max(overlap, 0)))
}

// DeleteWebhook implements host.WebhookStore.
func (s *Store) DeleteWebhook(ctx context.Context, t host.TenantID, id host.WebhookID) error {
	_, err := s.oneWebhook(ctx, "delete", `delete from webhooks w where tenant_id = $1 and id = $2 returning `+record.WebhookColumns, t, id)
	return err
}

// enabledWebhook takes tenant and webhook and locks it; ErrConflict when it is
// disabled.
func enabledWebhook(ctx context.Context, tx pgx.Tx, t host.TenantID, id host.WebhookID) error {
	var disabled bool
	err := tx.QueryRow(ctx, `select disabled_at is not null from webhooks where tenant_id = $1 and id = $2 for no key update`, string(t), string(id)).Scan(&disabled)
	if err == nil && disabled {
		return fmt.Errorf("the webhook is disabled: %w", host.ErrConflict)
	}
	return err
}

// onEnabled runs a statement that returns a delivery, when its webhook is
// enabled.
func (s *Store) onEnabled(ctx context.Context, op string, t host.TenantID, id host.WebhookID, statement string, args ...any) (d host.Delivery, err error) {
	if !record.IsID(t) || !record.IsID(id) {
		return d, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.do(ctx, op, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if err := s.become(ctx, tx, t); err != nil {
				return err
			}
			if err := enabledWebhook(ctx, tx, t, id); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, statement, args...)
			if err != nil {
				return err
			}
			d, err = pgx.CollectExactlyOneRow(rows, toDelivery)
			return err
		})
	})
	if err != nil {
		return host.Delivery{}, err
	}
	return d, nil
}

// TestWebhook implements host.DeliveryStore.
func (s *Store) TestWebhook(ctx context.Context, t host.TenantID, id host.WebhookID) (host.Delivery, error) {
	return s.onEnabled(ctx, fmt.Sprintf("test webhook %.64q", string(id)), t, id,
		`insert into webhook_deliveries as d (id, tenant_id, webhook_id, event, data) values ($1, $2, $3, $4, '{}') returning `+record.DeliveryColumns,
		string(host.NewDeliveryID()), string(t), string(id), string(host.EventTest))
}

// redeliver takes webhook and delivery. The lease of an attempt that is under way
// ends at next_at.
const redeliver = `
update webhook_deliveries d set state = 'pending',
    attempts = case when busy.yes then attempts else 0 end, next_at = case when busy.yes then next_at else now() end,
    lease_id = case when busy.yes then lease_id end, lease_owner = case when busy.yes then lease_owner end
from (select id, lease_id is not null and next_at > now() as yes from webhook_deliveries where webhook_id = $1 and id = $2 for no key update) busy
where d.id = busy.id
returning ` + record.DeliveryColumns

// Redeliver implements host.DeliveryStore.
func (s *Store) Redeliver(ctx context.Context, t host.TenantID, id host.WebhookID, d host.DeliveryID) (host.Delivery, error) {
	op := fmt.Sprintf("deliver %.64q again", string(d))
	if !record.IsID(d) {
		return host.Delivery{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	return s.onEnabled(ctx, op, t, id, redeliver, string(id), string(d))
}

// deliveries takes tenant, webhook, state ("" for any), the place to continue
// behind and a limit.
const deliveries = `
select ` + record.DeliveryColumns + ` from webhook_deliveries d
where d.tenant_id = $1 and d.webhook_id = $2 and ($3 = '' or d.state = $3) and (d.created_at, d.id) < ($4, $5::text::uuid)
order by d.created_at desc, d.id desc limit $6`

// Deliveries implements host.DeliveryStore.
func (s *Store) Deliveries(ctx context.Context, t host.TenantID, id host.WebhookID, q host.DeliveryQuery) (all []host.Delivery, err error) {
	op := fmt.Sprintf("list the deliveries of webhook %.64q", string(id))
	after, err := record.Newest(q.After)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if !record.IsID(t) || !record.IsID(id) {
		return nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`select 1 from webhooks where tenant_id = $1 and id = $2`, string(t), string(id)).Query(func(rows pgx.Rows) error {
			_, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
			return err
		})
		b.Queue(deliveries, string(t), string(id), record.Clean(string(q.State)), after.CreatedAt, string(after.ID), record.Limit(q.Limit, 50, 500)).
			Query(func(rows pgx.Rows) (err error) {
				all, err = pgx.CollectRows(rows, toDelivery)
				return err
			})
	})
	return all, err
}
