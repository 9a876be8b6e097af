-- Whom a tenant wants to be told of the ends of its scans, and what is to be told
-- or was.

-- +goose Up
create table webhooks (
    id               uuid primary key,
    tenant_id        uuid not null references tenants (id),
    project          text not null default '', -- of which scans; '': of all
    url              text not null check (url <> ''),
    events           text not null check (events <> ''), -- words with a space between
    secret           text not null check (secret <> ''), -- what messages are signed with, so no hash of it
    old_secret       text,
    old_secret_until timestamptz, -- until then they are signed with both
    created_at       timestamptz not null default now(),
    disabled_at      timestamptz, -- null: it is not
    disabled_reason  text not null default '',
    failing_since    timestamptz, -- the first failure after the last success
    paused_until     timestamptz not null default '-infinity', -- nothing is sent before
    unique (tenant_id, id),
    check ((old_secret is null) = (old_secret_until is null))
);

-- The outbox, and the log of what came of it. A row is written by the transaction
-- that ends the scan.
create table webhook_deliveries (
    id              uuid primary key default gen_random_uuid(), -- of the message, the same in every attempt
    tenant_id       uuid not null,
    webhook_id      uuid not null,
    event           text not null check (event <> ''),
    data            text not null, -- JSON object: what it says
    created_at      timestamptz not null default now(),
    state           text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts        integer not null default 0 check (attempts >= 0),
    next_at         timestamptz not null default now(), -- of the next attempt; while it is leased, the lease's end
    lease_id        uuid,
    lease_owner     text,
    last_attempt_at timestamptz,
    status          integer not null default 0, -- of HTTP, of the last attempt; 0: there was no answer
    error           text not null default '',
    took_us         bigint not null default 0,
    foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade,
    check ((lease_id is null) = (lease_owner is null)),
    check (lease_id is null or state = 'pending')
);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, next_at) where state = 'pending';
create index webhook_deliveries_log on webhook_deliveries (webhook_id, created_at, id);
create index webhook_deliveries_old on webhook_deliveries (created_at) where state <> 'pending';
create index webhook_deliveries_leased on webhook_deliveries (lease_owner) where lease_owner is not null;

-- +goose Down
drop table webhook_deliveries;
drop table webhooks;
