-- What operators control the queue with: pauses, dead letters with the history
-- of their attempts, and keys of their own.

-- +goose Up

-- The scan's, so that neither a pause nor a count has to read the scan. '' on
-- jobs that had ended before.
alter table jobs add column scan_type text not null default '';
-- When the running attempt, or the last one, began.
alter table jobs add column claimed_at timestamptz;
-- Since when the job is a dead letter; null: it is none.
alter table jobs add column dead_at timestamptz check (dead_at is null or state = 'failed');
update jobs j set scan_type = s.type from scans s where s.id = j.scan_id and j.state in ('queued', 'running');

-- Lists dead letters by age; the rest is for their counts.
create index jobs_dead on jobs (dead_at, id, plugin, scan_type) where dead_at is not null;

-- Attempts that delivered nothing. One that does leaves no row here.
create table attempts (
    scan_id     uuid not null,
    tenant_id   uuid not null,
    job_id      uuid not null,
    lease_epoch bigint not null check (lease_epoch >= 1),
    attempt     integer not null check (attempt >= 1),
    owner       text not null, -- the host that ran it
    started_at  timestamptz not null,
    ended_at    timestamptz not null default now(),
    state       text not null -- in which it left the job
        check (state in ('queued', 'failed', 'canceled', 'timed_out')),
    crashed     boolean not null,
    released    boolean not null,
    error       text, -- JSON object
    primary key (scan_id, job_id, lease_epoch),
    foreign key (scan_id, tenant_id, job_id) references jobs (scan_id, tenant_id, id) on delete cascade
);

-- What is not dispatched at present. A handful of rows, read whole by every
-- dispatch and claim.
create table pauses (
    kind       text not null check (kind in ('all', 'plugin', 'scan_type')),
    name       text not null, -- of the plugin or the scan type
    reason     text not null default '',
    created_at timestamptz not null default now(),
    primary key (kind, name),
    check ((kind = 'all') = (name = ''))
);

create table operator_keys (
    id           uuid primary key,
    name         text not null,
    prefix       text not null,
    hash         bytea not null unique check (octet_length(hash) = 32),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- +goose Down
drop table operator_keys;
drop table pauses;
drop table attempts;
drop index jobs_dead;
alter table jobs drop column dead_at, drop column claimed_at, drop column scan_type;
