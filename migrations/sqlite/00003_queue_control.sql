-- What operators control the queue with: pauses, dead letters with the history
-- of their attempts, and keys of their own.
-- Times are Unix microseconds in UTC, ids canonical UUID text, JSON is text.

-- +goose Up

-- The scan's, so that neither a pause nor a count has to read the scan. '' on
-- jobs that had ended before.
alter table jobs add column scan_type text not null default '';
-- When the running attempt, or the last one, began.
alter table jobs add column claimed_at integer;
-- Since when the job is a dead letter; null: it is none.
alter table jobs add column dead_at integer check (dead_at is null or state = 'failed');
update jobs set scan_type = (select type from scans where scans.id = jobs.scan_id) where state in ('queued', 'running');

-- Lists dead letters by age; the rest is for their counts.
create index jobs_dead on jobs (dead_at, id, plugin, scan_type) where dead_at is not null;

-- Attempts that delivered nothing. One that does leaves no row here.
create table attempts (
    scan_id     text not null,
    tenant_id   text not null,
    job_id      text not null,
    lease_epoch integer not null check (lease_epoch >= 1),
    attempt     integer not null check (attempt >= 1),
    owner       text not null, -- the host that ran it
    started_at  integer not null,
    ended_at    integer not null,
    state       text not null -- in which it left the job
        check (state in ('queued', 'failed', 'canceled', 'timed_out')),
    crashed     integer not null check (crashed in (0, 1)),
    released    integer not null check (released in (0, 1)),
    error       text, -- JSON object
    primary key (scan_id, job_id, lease_epoch),
    foreign key (scan_id, tenant_id, job_id) references jobs (scan_id, tenant_id, id) on delete cascade
) strict, without rowid;

-- What is not dispatched at present. A handful of rows, read whole by every
-- dispatch and claim.
create table pauses (
    kind       text not null check (kind in ('all', 'plugin', 'scan_type')),
    name       text not null, -- of the plugin or the scan type
    reason     text not null default '',
    created_at integer not null,
    primary key (kind, name),
    check ((kind = 'all') = (name = ''))
) strict, without rowid;

create table operator_keys (
    id           text primary key not null check (length(id) = 36),
    name         text not null,
    prefix       text not null,
    hash         blob not null unique check (length(hash) = 32),
    created_at   integer not null,
    expires_at   integer,
    revoked_at   integer,
    last_used_at integer
) strict, without rowid;

-- +goose Down
drop table operator_keys;
drop table pauses;
drop table attempts;
drop index jobs_dead;
alter table jobs drop column dead_at;
alter table jobs drop column claimed_at;
alter table jobs drop column scan_type;
