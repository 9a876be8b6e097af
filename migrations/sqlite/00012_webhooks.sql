-- Whom a tenant wants to be told of the ends of its scans, and what is to be told
-- or was.
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
create table webhooks (
    id               text primary key check (length(id) = 36),
    tenant_id        text not null references tenants (id),
    project          text not null default '', -- of which scans; '': of all
    url              text not null check (url <> ''),
    events           text not null check (events <> ''), -- words with a space between
    secret           text not null check (secret <> ''), -- what messages are signed with, so no hash of it
    old_secret       text,
    old_secret_until integer, -- until then they are signed with both
    created_at       integer not null,
    disabled_at      integer, -- null: it is not
    disabled_reason  text not null default '',
    failing_since    integer, -- the first failure after the last success
    paused_until     integer not null default 0, -- nothing is sent before
    unique (tenant_id, id),
    check ((old_secret is null) = (old_secret_until is null))
) strict;

-- The outbox, and the log of what came of it. A row is written by the transaction
-- that ends the scan.
create table webhook_deliveries (
    id              text primary key check (length(id) = 36), -- of the message, the same in every attempt
    tenant_id       text not null,
    webhook_id      text not null,
    event           text not null check (event <> ''),
    data            text not null, -- JSON object: what it says
    created_at      integer not null,
    state           text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts        integer not null default 0 check (attempts >= 0),
    next_at         integer not null, -- of the next attempt; while it is leased, the lease's end
    lease_id        text,
    lease_owner     text,
    last_attempt_at integer,
    status          integer not null default 0, -- of HTTP, of the last attempt; 0: there was no answer
    error           text not null default '',
    took_us         integer not null default 0,
    foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade,
    check ((lease_id is null) = (lease_owner is null)),
    check (lease_id is null or state = 'pending')
) strict;
create index webhook_deliveries_due on webhook_deliveries (webhook_id, next_at) where state = 'pending';
create index webhook_deliveries_log on webhook_deliveries (webhook_id, created_at, id);
create index webhook_deliveries_old on webhook_deliveries (created_at) where state <> 'pending';
create index webhook_deliveries_leased on webhook_deliveries (lease_owner) where lease_owner is not null;

-- +goose Down
drop table webhook_deliveries;
drop table webhooks;
