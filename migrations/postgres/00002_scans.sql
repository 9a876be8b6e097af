-- Scans, their jobs and what the jobs found. The states and their transitions
-- are in host/state.go; the checks below refuse every row that no sequence of
-- transitions can lead to.
--
-- Text that came from outside and JSON are of type text: jsonb refuses \u0000
-- and would fail a whole batch because of one hostile string.

-- +goose Up
create table scans (
    id                  uuid primary key,
    tenant_id           uuid not null references tenants (id),
    type                text not null check (type <> ''),
    project             text not null default '',
    archive             text, -- JSON object
    url                 text,
    options             text, -- JSON object as the client gave it
    state               text not null default 'queued'
        check (state in ('queued', 'running', 'succeeded', 'partial', 'failed', 'canceled', 'timed_out')),
    created_at          timestamptz not null default now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    cancel_requested_at timestamptz,
    critical integer not null default 0,
    high     integer not null default 0,
    medium   integer not null default 0,
    low      integer not null default 0,
    info     integer not null default 0,
    unknown  integer not null default 0,
    unique (tenant_id, id), -- also lists a tenant's scans by time
    check ((archive is null) <> (url is null)),
    check ((state in ('succeeded', 'partial', 'failed', 'canceled', 'timed_out')) = (finished_at is not null))
);
create index scans_by_project on scans (tenant_id, project, id) where project <> '';

create table jobs (
    id               uuid primary key,
    tenant_id        uuid not null,
    scan_id          uuid not null,
    ordinal          integer not null check (ordinal >= 0), -- its place among the scan's jobs
    plugin           text not null check (plugin <> ''),
    state            text not null default 'queued'
        check (state in ('queued', 'running', 'succeeded', 'partial', 'failed', 'canceled', 'timed_out')),
    attempt          integer not null default 0,
    max_attempts     integer not null,
    crashes          integer not null default 0 check (crashes >= 0),
    timeout_us       bigint not null check (timeout_us > 0),
    progress         text not null default '{}', -- JSON object
    error            text, -- JSON object
    -- Never decremented: a retry budget that is given back is attempt's.
    lease_epoch      bigint not null default 0 check (lease_epoch >= 0),
    lease_id         uuid,
    lease_owner      text,
    lease_expires_at timestamptz,
    -- Findings of this epoch are the result; those of any other never show.
    result_epoch     bigint,
    -- When its doorbell was handed out; null: not since it became queued.
    dispatched_at    timestamptz,
    created_at       timestamptz not null default now(),
    run_at           timestamptz not null default now(),
    started_at       timestamptz,
    deadline_at      timestamptz,
    finished_at      timestamptz,
    critical integer not null default 0,
    high     integer not null default 0,
    medium   integer not null default 0,
    low      integer not null default 0,
    info     integer not null default 0,
    unknown  integer not null default 0,
    unique (scan_id, tenant_id, id),
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade,
    check (attempt between 0 and max_attempts and max_attempts >= 1),
    -- The first of these lets writers fence by lease_id without naming the state.
    check ((state = 'running') = (lease_id is not null)),
    check ((lease_id is null) = (lease_owner is null) and (lease_id is null) = (lease_expires_at is null)),
    check (state <> 'running' or (attempt >= 1 and lease_epoch >= 1 and started_at is not null)),
    check ((state in ('succeeded', 'partial', 'failed', 'canceled', 'timed_out')) = (finished_at is not null)),
    check ((state in ('succeeded', 'partial')) = (result_epoch is not null)),
    check (result_epoch is null or result_epoch = lease_epoch),
    check (dispatched_at is null or state = 'queued'),
    check ((started_at is null) = (deadline_at is null)),
    check (state not in ('failed', 'timed_out') or error is not null)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- No predicate here may follow from a fenced write's condition (id, lease_epoch,
-- lease_id) or from a claim's: with stale statistics the planner would take
-- that index instead of the primary key and read every running job.
create index jobs_ready on jobs (tenant_id, plugin, run_at, id) where state = 'queued' and dispatched_at is null;
create index jobs_next on jobs (run_at) where state = 'queued' and dispatched_at is null;
create index jobs_out on jobs (dispatched_at) where state = 'queued' and dispatched_at is not null;
create index jobs_busy on jobs (tenant_id)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);
create index jobs_overdue on jobs (deadline_at) where state = 'queued' and deadline_at is not null;
create index jobs_leased on jobs (lease_expires_at) where lease_expires_at is not null;

create table findings (
    id          uuid not null,
    tenant_id   uuid not null,
    scan_id     uuid not null,
    job_id      uuid not null,
    lease_epoch bigint not null,
    severity    smallint not null check (severity between 0 and 5), -- rank: 0 is critical
    rule_id     text not null,
    fingerprint text not null,
    title       text not null,
    message     text not null,
    detail      text not null, -- JSON object: the fields that are only shown
    created_at  timestamptz not null default now(),
    primary key (scan_id, severity, id), -- the order in which they are listed
    foreign key (scan_id, tenant_id, job_id) references jobs (scan_id, tenant_id, id) on delete cascade
);

-- +goose Down
drop table findings;
drop table jobs;
drop table scans;
