-- Fair dispatch: what a tenant's share is, how urgent a scan is, and lanes, by
-- which Dispatch finds ready work without reading the backlog
-- (docs/decisions/0004-lanes.md).
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
alter table tenants add column weight real not null default 1 check (weight between 0.01 and 100);
alter table tenants add column concurrency integer check (concurrency >= 0); -- null: the configured default; 0: no cap

-- 0 is high, 1 normal, 2 low: in order. The job's is the scan's.
alter table scans add column priority integer not null default 1 check (priority between 0 and 2);
alter table jobs add column priority integer not null default 1 check (priority between 0 and 2);

-- Jobs that Dispatch looks at together: the queued ones of a tenant, a plugin, a
-- scan type and a priority. A row says that there may be some that are ready.
create table lanes (
    tenant_id text not null references tenants (id) on delete cascade,
    plugin    text not null,
    scan_type text not null,
    priority  integer not null,
    -- 0: live. A time: resting, since every job waits for a retry, the first
    -- until then. There is one writer, so a lane is the one or the other.
    wake_at   integer not null default 0,
    since     integer not null,
    primary key (tenant_id, plugin, scan_type, priority)
) strict, without rowid;

-- What each tenant has had of late, in turns: one job takes 1/weight of one.
create table turns (
    tenant_id text primary key not null references tenants (id) on delete cascade,
    began     real not null, -- when its last job's turn began
    ends      real not null, -- and when its next one may begin
    served_at integer not null
) strict, without rowid;

-- The same indexes as on PostgreSQL.
drop index jobs_ready;
drop index jobs_next;
drop index jobs_out;
drop index jobs_busy;
drop index jobs_leased;
-- One lane is one range of it, in the order in which its jobs go.
create index jobs_lane on jobs (tenant_id, plugin, scan_type, priority, run_at, id)
    where state = 'queued' and dispatched_at is null;
-- Whatever runs or is handed out: as many as all hosts have slots and doorbells.
create index jobs_busy on jobs (tenant_id, plugin)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);

insert into lanes (tenant_id, plugin, scan_type, priority, since)
select distinct tenant_id, plugin, scan_type, priority, 0 from jobs where state = 'queued' and dispatched_at is null;

-- A job that is queued again, whatever made it so, has a live lane. Accept sees
-- to its own.
-- +goose StatementBegin
create trigger jobs_keep_lane after update on jobs
when new.state = 'queued' and new.dispatched_at is null and (old.state <> 'queued' or old.dispatched_at is not null)
begin
    insert into lanes (tenant_id, plugin, scan_type, priority, since)
    values (new.tenant_id, new.plugin, new.scan_type, new.priority, new.run_at)
    on conflict do update set wake_at = 0 where wake_at > 0;
end;
-- +goose StatementEnd

-- +goose Down
drop trigger jobs_keep_lane;
drop index jobs_busy;
drop index jobs_lane;
drop table turns;
drop table lanes;
alter table jobs drop column priority;
alter table scans drop column priority;
alter table tenants drop column concurrency;
alter table tenants drop column weight;
create index jobs_ready on jobs (tenant_id, plugin, run_at, id) where state = 'queued' and dispatched_at is null;
create index jobs_next on jobs (run_at) where state = 'queued' and dispatched_at is null;
create index jobs_out on jobs (dispatched_at) where state = 'queued' and dispatched_at is not null;
create index jobs_busy on jobs (tenant_id)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);
create index jobs_leased on jobs (lease_expires_at) where lease_expires_at is not null;
