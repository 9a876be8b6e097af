package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// randomID is a UUID of version 4.
const randomID = `lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
    substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`

// tellWebhooks takes scans that have ended just now, as JSON, and the time, and
// writes what their tenants' webhooks are to hear. Of what is deleted nobody is
// told.
const tellWebhooks = `
insert into webhook_deliveries (id, tenant_id, webhook_id, scan_id, event, data, created_at, next_at)
select ` + randomID + `, s.tenant_id, w.id, s.id, 'scan.' || s.state, json_object(
    'scan', s.id, 'type', s.type, 'project', s.project, 'state', s.state,
    'critical', s.critical, 'high', s.high, 'medium', s.medium, 'low', s.low, 'info', s.info, 'other', s.unknown,
    'created', s.created_at, 'finished', s.finished_at), ?2, ?2
from scans s join webhooks w on w.tenant_id = s.tenant_id
where s.id in (select value from json_each(?1)) and s.deletion_id is null and w.disabled_at is null and (w.project = '' or w.project = s.project)
  and instr(' ' || w.events || ' ', ' scan.' || s.state || ' ') > 0`

// due says whether anything may be claimed, without a transaction that writes.
const due = `select exists (select 1 from webhook_deliveries where state = 'pending' and next_at <= ?)`

// claimable takes the time, webhooks and tenants to leave out as JSON, and a
// limit. Of each tenant it gives the oldest delivery that is due of one of its
// webhooks.
const claimable = `
select id from (
    select id, row_number() over (partition by tenant_id order by random()) as turn from (
        select d.id, w.tenant_id, row_number() over (partition by d.webhook_id order by d.next_at) as place
        from webhook_deliveries d join webhooks w on w.id = d.webhook_id
        where d.state = 'pending' and d.next_at <= ?1 and w.disabled_at is null and w.paused_until <= ?1
          and w.id not in (select value from json_each(?2) where value is not null) and w.tenant_id not in (select value from json_each(?3) where value is not null)
    ) where place = 1
) where turn = 1 order by random() limit ?4`

const claimed = `
select ` + record.DeliveryColumns + `, ` + record.WebhookColumns + `, w.secret, coalesce(case when w.old_secret_until > ?2 then w.old_secret end, '')
from webhook_deliveries d join webhooks w on w.id = d.webhook_id where d.id = ?1`

// ClaimDeliveries implements host.OutboxStore.
func (s *Store) ClaimDeliveries(ctx context.Context, q host.ClaimDeliveries) (out []host.DeliveryClaim, err error) {
	const op = "claim deliveries"
	var some bool
	if err := s.readers.QueryRowContext(ctx, due, s.cfg.Now().UnixMicro()).Scan(&some); err != nil {
		return nil, translate(ctx, op, err)
	}
	if !some {
		return nil, nil
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		out = nil
		var ids []string
		err := rows(ctx, tx, func(r *sql.Rows) error {
			var id string
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		}, claimable, tx.now, list(q.WithoutWebhooks), list(q.WithoutTenants), max(q.Limit, 0))
		if err != nil {
			return err
		}
		for _, id := range ids {
			c, err := tx.claimDelivery(ctx, id, q)
			if err != nil {
				return err
			}
			out = append(out, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (tx tx) claimDelivery(ctx context.Context, id string, q host.ClaimDeliveries) (c host.DeliveryClaim, err error) {
	c.Lease = uuid.NewString()
	_, err = tx.ExecContext(ctx, `update webhook_deliveries set attempts = attempts + 1, next_at = ?, lease_id = ?, lease_owner = ? where id = ?`,
		tx.now+record.Micros(q.TTL), c.Lease, record.Clean(q.Owner), id)
	if err != nil {
		return c, err
	}
	var d record.Delivery
	var w record.Webhook
	dest := append(append(d.Dest(at), w.Dest(at)...), &w.Secret, &w.OldSecret)
	if err := tx.QueryRowContext(ctx, claimed, id, tx.now).Scan(dest...); err != nil {
		return c, err
	}
	c.Webhook = w.Value()
	c.Delivery, err = d.Value()
	return c, err
}

// finishDelivery takes delivery and lease, the state, when it is due again and
// whether the attempt is given back, the time, and what came of it. It returns
// the webhook.
const finishDelivery = `
update webhook_deliveries set state = ?3, attempts = attempts - ?5,
    next_at = case when ?3 = 'pending' then ?4 else next_at end, lease_id = null, lease_owner = null,
    last_attempt_at = case when ?5 then last_attempt_at else ?6 end,
    status = case when ?5 then status else ?7 end, error = case when ?5 then error else ?8 end, took_us = case when ?5 then took_us else ?9 end
where id = ?1 and lease_id = ?2
returning webhook_id`

// noteResult takes a webhook, the time, whether the attempt failed, until when it
// is paused, since when it must have failed to be disabled, 0 for never, and why
// it is disabled at once, ” if it is not. Of a webhook that goes well nothing is
// written. It returns whether it is disabled since.
const noteResult = `
update webhooks set failing_since = case when ?3 then coalesce(failing_since, ?2) end,
    paused_until = case when ?3 then max(paused_until, ?4) else 0 end,
    disabled_at = case when ?6 <> '' or ?3 and failing_since <= ?5 then ?2 end,
    disabled_reason = case when ?6 <> '' then ?6
        when ?3 and failing_since <= ?5 then 'every delivery has failed since ' || strftime('%Y-%m-%d', failing_since / 1000000, 'unixepoch') else '' end
where id = ?1 and disabled_at is null and (?3 or failing_since is not null or paused_until > 0)
returning disabled_at is not null`

// FinishDelivery implements host.OutboxStore.
func (s *Store) FinishDelivery(ctx context.Context, o host.DeliveryOutcome) (disabled bool, err error) {
	op := fmt.Sprintf("finish delivery %.64q", string(o.ID))
	if err := record.CheckDelivery(o); err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		var webhook string
		err := tx.QueryRowContext(ctx, finishDelivery, string(o.ID), o.Lease, string(o.State), tx.now+record.Micros(o.Retry), o.Release, tx.now,
			o.Status, record.Clean(o.Error), record.Micros(o.Took)).Scan(&webhook)
		if errors.Is(err, sql.ErrNoRows) {
			return host.ErrLeaseLost
		}
		if err != nil || o.Release {
			return err
		}
		var limit int64
		if o.DisableAfter > 0 {
			limit = tx.now - record.Micros(o.DisableAfter)
		}
		err = tx.QueryRowContext(ctx, noteResult, webhook, tx.now, o.State != host.DeliveryDelivered, tx.now+record.Micros(o.Pause),
			limit, record.Clean(o.Disable)).Scan(&disabled)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil && disabled {
			_, err = tx.ExecContext(ctx, giveUp, webhook)
		}
		return err
	})
	return disabled && err == nil, err
}

// ReleaseDeliveries implements host.OutboxStore.
func (s *Store) ReleaseDeliveries(ctx context.Context, owner string) (int, error) {
	return s.count(ctx, fmt.Sprintf("give back the deliveries of %q", owner), func(tx tx) (sql.Result, error) {
		return tx.ExecContext(ctx, `
update webhook_deliveries set attempts = attempts - 1, next_at = ?, lease_id = null, lease_owner = null
where lease_owner = ? and attempts > 0`, tx.now, record.Clean(owner))
	})
}

// DropDeliveries implements host.OutboxStore.
func (s *Store) DropDeliveries(ctx context.Context, age time.Duration, limit int) (int, error) {
	return s.count(ctx, "remove old deliveries", func(tx tx) (sql.Result, error) {
		return tx.ExecContext(ctx, `
delete from webhook_deliveries where id in (
    select id from webhook_deliveries where state <> 'pending' and created_at < ? order by created_at limit ?)`,
			tx.now-record.Micros(age), max(limit, 0))
	})
}

// count runs one statement and gives how many rows it changed.
func (s *Store) count(ctx context.Context, op string, f func(tx) (sql.Result, error)) (n int, err error) {
	err = s.write(ctx, op, func(_ context.Context, tx tx) error {
		r, err := f(tx)
		if err != nil {
			return err
		}
		rows, err := r.RowsAffected()
		n = int(rows)
		return err
	})
	return n, err
}

// OutboxStats implements host.OutboxStore.
func (s *Store) OutboxStats(ctx context.Context) (out host.OutboxStats, err error) {
	var age int64
	err = s.readers.QueryRowContext(ctx, `select count(*), coalesce(max(?1 - min(next_at), 0), 0) from webhook_deliveries where state = 'pending'`,
		s.cfg.Now().UnixMicro()).Scan(&out.Pending, &age)
	if err != nil {
		return out, translate(ctx, "count the outbox", err)
	}
	out.Oldest = time.Duration(age) * time.Microsecond
	return out, nil
}
