-- What a tenant may use: a plan, which the configuration explains by its name.
-- What it holds: counters, and a ledger of all that changed them.

-- +goose Up
alter table tenants
    add column plan text not null default '' check (length(plan) <= 63), -- '': the default plan
    add column override text; -- JSON object: what is different for this tenant; null: nothing
-- A weight is the plan's unless the tenant has one of its own.
alter table tenants alter column weight drop default, alter column weight drop not null;
update tenants set weight = null where weight = 1;

-- What a tenant holds, of what Accept must look at: it locks the row, so that no
-- two hosts give the same room away. Who gives something back does not wait for
-- that: it leaves a line in the ledger, which whoever finds the row full adds to
-- it first. A row is changed with every batch of scans: room on the page keeps
-- that in place.
create table usage (
    tenant_id uuid primary key references tenants (id) on delete cascade,
    storage   bigint not null default 0, -- bytes of archives that are kept
    queued    bigint not null default 0, -- scans that have neither started nor ended
    scans     bigint not null default 0, -- accepted on the day
    day       timestamptz not null default (date_trunc('day', now() at time zone 'utc') at time zone 'utc') -- when it began
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

-- Every change of what a tenant holds, one line for each transaction and tenant.
-- Lines are added and never changed, except that they are marked as counted. With
-- the days before, those that are counted add up to usage.
create table quota_ledger (
    id        bigint generated always as identity primary key,
    tenant_id uuid not null references tenants (id) on delete cascade,
    at        timestamptz not null default now(),
    reason    text not null check (reason in ('accept', 'start', 'cancel', 'retention', 'correct', 'found')),
    storage   bigint not null default 0,
    queued    bigint not null default 0,
    scans     bigint not null default 0,
    counted   boolean not null default false -- it is in usage
);
create index quota_ledger_pending on quota_ledger (tenant_id) where not counted;

-- What older lines add up to.
create table quota_days (
    tenant_id uuid not null references tenants (id) on delete cascade,
    day       timestamptz not null, -- when it began
    reason    text not null,
    storage   bigint not null,
    queued    bigint not null,
    scans     bigint not null,
    primary key (tenant_id, day, reason)
);

-- What is there already.
insert into quota_ledger (tenant_id, reason, storage, queued, counted)
select tenant_id, 'found',
    coalesce(sum((archive::json ->> 'Size')::bigint) filter (where archive_removed_at is null), 0),
    count(*) filter (where started_at is null and finished_at is null), true
from scans group by tenant_id;
insert into usage (tenant_id, storage, queued)
select t.id, coalesce(l.storage, 0), coalesce(l.queued, 0) from tenants t left join quota_ledger l on l.tenant_id = t.id;

-- +goose Down
drop table quota_days;
drop table quota_ledger;
drop table usage;
update tenants set weight = 1 where weight is null;
alter table tenants alter column weight set default 1, alter column weight set not null,
    drop column override, drop column plan;
