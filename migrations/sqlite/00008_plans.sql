-- What a tenant may use: a plan, which the configuration explains by its name.
-- What it holds: counters, and a ledger of all that changed them.
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
alter table tenants add column plan text not null default '' check (length(plan) <= 63); -- '': the default plan
alter table tenants add column override text; -- JSON object: what is different for this tenant; null: nothing
-- A weight is the plan's unless the tenant has one of its own.
alter table tenants rename column weight to weight_before;
alter table tenants add column weight real check (weight between 0.01 and 100);
update tenants set weight = nullif(weight_before, 1);
alter table tenants drop column weight_before;

-- What a tenant holds. There is one writer, so whatever changes it does so at once.
create table usage (
    tenant_id text primary key not null references tenants (id) on delete cascade,
    storage   integer not null default 0, -- bytes of archives that are kept
    queued    integer not null default 0, -- scans that have neither started nor ended
    scans     integer not null default 0, -- accepted on the day
    day       integer not null default 0  -- when it began
) strict, without rowid;

-- Every change of what a tenant holds, one line for each transaction and tenant.
-- Lines are added and never changed. With the days before they add up to usage.
create table quota_ledger (
    id        integer primary key,
    tenant_id text not null references tenants (id) on delete cascade,
    at        integer not null,
    reason    text not null check (reason in ('accept', 'start', 'cancel', 'retention', 'correct', 'found')),
    storage   integer not null default 0,
    queued    integer not null default 0,
    scans     integer not null default 0
) strict;

-- What older lines add up to.
create table quota_days (
    tenant_id text not null references tenants (id) on delete cascade,
    day       integer not null, -- when it began
    reason    text not null,
    storage   integer not null,
    queued    integer not null,
    scans     integer not null,
    primary key (tenant_id, day, reason)
) strict, without rowid;

-- What is there already.
insert into quota_ledger (tenant_id, at, reason, storage, queued)
select tenant_id, cast(unixepoch('subsec') * 1000000 as integer), 'found',
    coalesce(sum(cast(archive ->> 'Size' as integer)) filter (where archive_removed_at is null), 0),
    count(*) filter (where started_at is null and finished_at is null)
from scans group by tenant_id;
insert into usage (tenant_id, storage, queued)
select t.id, coalesce(l.storage, 0), coalesce(l.queued, 0) from tenants t left join quota_ledger l on l.tenant_id = t.id;

-- +goose Down
drop table quota_days;
drop table quota_ledger;
drop table usage;
alter table tenants rename column weight to weight_before;
alter table tenants add column weight real not null default 1 check (weight between 0.01 and 100);
update tenants set weight = coalesce(weight_before, 1);
alter table tenants drop column weight_before;
alter table tenants drop column override;
alter table tenants drop column plan;
