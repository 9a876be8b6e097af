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

// tellWebhooks stands behind the statement that derives scans, whose changed rows
// are derived, and writes what their tenants' webhooks are to hear: whatever
// changes a scan to a final state does it in the same transaction. For a tenant
// without webhooks it is one look into an index, when a scan ends. The lock keeps
// a webhook that is being deleted from failing the whole with its foreign key. Of
// what is deleted nobody is told.
const tellWebhooks = `
insert into webhook_deliveries (tenant_id, webhook_id, scan_id, event, data)
select s.tenant_id, w.id, s.id, 'scan.' || s.state, json_build_object(
    'scan', s.id, 'type', s.type, 'project', s.project, 'state', s.state,
    'critical', s.critical, 'high', s.high, 'medium', s.medium, 'low', s.low, 'info', s.info, 'other', s.unknown,
    'created', (extract(epoch from s.created_at) * 1000000)::bigint, 'finished', (extract(epoch from s.finished_at) * 1000000)::bigint)::text
from derived s cross join lateral (
    select id from webhooks
    where tenant_id = s.tenant_id and disabled_at is null and (project = '' or project = s.project)
      and position(' scan.' || s.state || ' ' in ' ' || events || ' ') > 0
    for key share
) w
where s.finished_at is not null and s.deletion_id is null`

// forgetTold removes what webhooks were told of some scans, or were to be, with
// what it says: which is the condition on webhook_deliveries, with its arguments.
// The caller has the locks of the scans, so that nothing more is added. The
// webhooks are locked first: see lockWebhookOf.
func forgetTold(b *pgx.Batch, which string, args ...any) {
	b.Queue(`select 1 from webhooks where id = any(array(select distinct webhook_id from webhook_deliveries where `+which+`)) order by id for no key update`, args...)
	b.Queue(`delete from webhook_deliveries where `+which, args...)
}

// claimDeliveries takes a limit, the owner, the lease's length in microseconds,
// and webhooks and tenants to leave out. lane is every webhook with something
// pending, found by as many looks into the index, so that a backlog of one costs
// nothing. Of two hosts that want the same delivery one goes without.
const claimDeliveries = `
with recursive lane (id) as (
    (select webhook_id from webhook_deliveries where state = 'pending' order by webhook_id limit 1)
    union all
    select (select webhook_id from webhook_deliveries where state = 'pending' and webhook_id > lane.id order by webhook_id limit 1)
    from lane where lane.id is not null
), ready as (
    select due.id, row_number() over (partition by w.tenant_id order by random()) as turn
    from lane join webhooks w on w.id = lane.id cross join lateral (
        select d.id from webhook_deliveries d where d.webhook_id = w.id and d.state = 'pending' and d.next_at <= now() order by d.next_at limit 1
    ) due
    where w.disabled_at is null and w.paused_until <= now()
      and not w.id = any($4::text[]::uuid[]) and not w.tenant_id = any($5::text[]::uuid[])
), picked as (
    select id from webhook_deliveries
    where id = any(array(select id from ready where turn = 1 order by random() limit $1))
      and state = 'pending' and next_at <= now() for no key update skip locked
), claimed as (
    update webhook_deliveries d set attempts = d.attempts + 1, next_at = now() + $3 * interval '1 microsecond',
        lease_id = gen_random_uuid(), lease_owner = $2
    from picked where d.id = picked.id
    returning d.*
)
select ` + record.DeliveryColumns + `, ` + record.WebhookColumns + `, w.secret,
    coalesce(case when w.old_secret_until > now() then w.old_secret end, ''), d.lease_id
from claimed d join webhooks w on w.id = d.webhook_id`

// ClaimDeliveries implements host.OutboxStore.
func (s *Store) ClaimDeliveries(ctx context.Context, q host.ClaimDeliveries) (out []host.DeliveryClaim, err error) {
	err = s.do(ctx, "claim deliveries", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, claimDeliveries, max(q.Limit, 0), record.Clean(q.Owner), record.Micros(q.TTL),
			ids(q.WithoutWebhooks), ids(q.WithoutTenants))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c host.DeliveryClaim, err error) {
			var d record.Delivery
			var w record.Webhook
			dest := append(append(d.Dest(at), w.Dest(at)...), &w.Secret, &w.OldSecret, &c.Lease)
			if err := row.Scan(dest...); err != nil {
				return c, err
			}
			c.Webhook = w.Value()
			c.Delivery, err = d.Value()
			return c, err
		})
		return err
	})
	return out, err
}

// lockWebhookOf takes a delivery. It stands before what ends an attempt, so that
// webhooks are always locked before their deliveries.
const lockWebhookOf = `
select 1 from webhooks where id = (select webhook_id from webhook_deliveries where id = $1) for no key update`

// finishDelivery takes delivery and lease, the state, the delay in microseconds,
// whether the attempt is given back, and what came of it. It returns the webhook.
const finishDelivery = `
update webhook_deliveries set state = $3, attempts = attempts - $5::bool::int,
    next_at = case when $3 = 'pending' then now() + $4::bigint * interval '1 microsecond' else next_at end, lease_id = null, lease_owner = null,
    last_attempt_at = case when $5::bool then last_attempt_at else now() end,
    status = case when $5::bool then status else $6 end, error = case when $5::bool then error else $7 end,
    took_us = case when $5::bool then took_us else $8 end
where id = $1 and lease_id = $2::text::uuid
returning webhook_id`

// noteResult takes a webhook, whether the attempt failed, a pause and the time
// after which failures disable it, in microseconds, 0 for never, and why it is
// disabled at once, ” if it is not. Of a webhook that goes well nothing is
// written. It returns whether it is disabled since.
const noteResult = `
update webhooks set failing_since = case when $2::bool then coalesce(failing_since, now()) end,
    paused_until = case when $2::bool then greatest(paused_until, now() + $3::bigint * interval '1 microsecond') else '-infinity' end,
    disabled_at = case when $5 <> '' or $2::bool and $4::bigint > 0 and failing_since <= now() - $4::bigint * interval '1 microsecond' then now() end,
    disabled_reason = case when $5 <> '' then $5
        when $2::bool and $4::bigint > 0 and failing_since <= now() - $4::bigint * interval '1 microsecond' then 'every delivery has failed since ' ||
            to_char(failing_since at time zone 'utc', 'YYYY-MM-DD') else '' end
where id = $1 and disabled_at is null and ($2::bool or failing_since is not null or paused_until > '-infinity')
returning disabled_at is not null`

// FinishDelivery implements host.OutboxStore.
func (s *Store) FinishDelivery(ctx context.Context, o host.DeliveryOutcome) (disabled bool, err error) {
	op := fmt.Sprintf("finish delivery %.64q", string(o.ID))
	if err := record.CheckDelivery(o); err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	if !record.IsID(o.ID) || !record.IsID(o.Lease) {
		return false, fmt.Errorf("%s: %w", op, host.ErrLeaseLost)
	}
	err = s.do(ctx, op, func(ctx context.Context) error {
		disabled = false
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockWebhookOf, string(o.ID)); err != nil {
				return err
			}
			var webhook string
			err := tx.QueryRow(ctx, finishDelivery, string(o.ID), o.Lease, string(o.State), record.Micros(o.Retry), o.Release,
				o.Status, record.Clean(o.Error), record.Micros(o.Took)).Scan(&webhook)
			if errors.Is(err, pgx.ErrNoRows) {
				return host.ErrLeaseLost
			}
			if err != nil || o.Release {
				return err
			}
			err = tx.QueryRow(ctx, noteResult, webhook, o.State != host.DeliveryDelivered, record.Micros(o.Pause),
				record.Micros(o.DisableAfter), record.Clean(o.Disable)).Scan(&disabled)
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			if err == nil && disabled {
				_, err = tx.Exec(ctx, `update webhook_deliveries set `+giveUp+` where webhook_id = $1 and state = 'pending'`, webhook)
			}
			return err
		})
	})
	return disabled && err == nil, err
}

// ReleaseDeliveries implements host.OutboxStore.
func (s *Store) ReleaseDeliveries(ctx context.Context, owner string) (n int, err error) {
	err = s.do(ctx, fmt.Sprintf("give back the deliveries of %q", owner), func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `
update webhook_deliveries set attempts = attempts - 1, next_at = now(), lease_id = null, lease_owner = null
where lease_owner = $1 and attempts > 0`, record.Clean(owner))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// DropDeliveries implements host.OutboxStore.
func (s *Store) DropDeliveries(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	err = s.do(ctx, "remove old deliveries", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `
delete from webhook_deliveries where id = any(array(
    select id from webhook_deliveries where state <> 'pending' and created_at < now() - $1 * interval '1 microsecond'
    order by created_at limit $2 for update skip locked))`, record.Micros(age), max(limit, 0))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// OutboxStats implements host.OutboxStore.
func (s *Store) OutboxStats(ctx context.Context) (out host.OutboxStats, err error) {
	err = s.read(ctx, "count the outbox", func(ctx context.Context) error {
		var age int64
		err := s.pool.QueryRow(ctx, `
select count(*), coalesce(greatest((extract(epoch from now() - min(next_at)) * 1000000)::bigint, 0), 0)
from webhook_deliveries where state = 'pending'`).Scan(&out.Pending, &age)
		out.Oldest = time.Duration(age) * time.Microsecond
		return err
	})
	return out, err
}
