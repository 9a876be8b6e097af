-- Fair dispatch: what a tenant's share is, how urgent a scan is, and lanes, by
-- which Dispatch finds ready work without reading the backlog
-- (docs/decisions/0004-lanes.md).

-- +goose Up
alter table tenants
    add column weight double precision not null default 1 check (weight between 0.01 and 100),
    add column concurrency integer check (concurrency >= 0); -- null: the configured default; 0: no cap

-- 0 is high, 1 normal, 2 low: in order. The job's is the scan's.
alter table scans add column priority smallint not null default 1 check (priority between 0 and 2);
alter table jobs add column priority smallint not null default 1 check (priority between 0 and 2);

-- Jobs that Dispatch looks at together: the queued ones of a tenant, a plugin, a
-- scan type and a priority. A row says that there may be some that are ready.
-- Small, read whole and changed often: room on the page keeps changes in place,
-- and dead rows are cleared early.
create table lanes (
    tenant_id  uuid not null references tenants (id) on delete cascade,
    plugin     text not null,
    scan_type  text not null,
    priority   smallint not null,
    -- -infinity: live. A time: resting, since every job waits for a retry, the
    -- first until then. A lane can have one row of each kind.
    wake_at    timestamptz not null default '-infinity',
    since      timestamptz not null default now(),
    -- When Dispatch last took all that was ready; null: there was more.
    empty_at   timestamptz,
    primary key (tenant_id, plugin, scan_type, priority, wake_at)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.2,
    autovacuum_analyze_threshold = 200, autovacuum_vacuum_cost_delay = 0);
create index lanes_resting on lanes (wake_at) where wake_at > '-infinity';

-- What each tenant has had of late, in turns: one job takes 1/weight of one.
create table turns (
    tenant_id uuid primary key references tenants (id) on delete cascade,
    began     double precision not null, -- when its last job's turn began
    ends      double precision not null, -- and when its next one may begin
    served_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.2,
    autovacuum_analyze_threshold = 200, autovacuum_vacuum_cost_delay = 0);

-- The indexes of jobs, fewer than before: each one costs every job at each step.
-- The rule of 00002 for predicates holds.
drop index jobs_ready;
drop index jobs_next;
drop index jobs_out;
drop index jobs_busy;
drop index jobs_leased;
-- One lane is one range of it, in the order in which its jobs go.
create index jobs_lane on jobs (tenant_id, plugin, scan_type, priority, run_at, id)
    where state = 'queued' and dispatched_at is null;
-- Whatever runs or is handed out: as many as all hosts have slots and doorbells,
-- so it is read whole, by Dispatch and by the sweeps for leases. Its key is no
-- time: new entries then fall among dead ones and clear them away.
create index jobs_busy on jobs (tenant_id, plugin)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);

insert into lanes (tenant_id, plugin, scan_type, priority)
select distinct tenant_id, plugin, scan_type, priority from jobs where state = 'queued' and dispatched_at is null;

-- A job that is queued again, whatever made it so, has a lane. (Accept sees to
-- its own: a trigger for each new job would cost more than the statement.)
-- +goose StatementBegin
create function keep_lane() returns trigger language plpgsql as $$
begin
    update lanes set empty_at = null
    where wake_at = '-infinity' and (tenant_id, plugin, scan_type, priority) = (
        select tenant_id, plugin, scan_type, priority from lanes
        where tenant_id = new.tenant_id and plugin = new.plugin and scan_type = new.scan_type and priority = new.priority
          and wake_at = '-infinity' and empty_at is not null for no key update skip locked);
    insert into lanes (tenant_id, plugin, scan_type, priority)
    values (new.tenant_id, new.plugin, new.scan_type, new.priority) on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd
create trigger jobs_keep_lane after update on jobs for each row
    when (new.state = 'queued' and new.dispatched_at is null and (old.state <> 'queued' or old.dispatched_at is not null))
    execute function keep_lane();

-- +goose Down
drop trigger jobs_keep_lane on jobs;
drop function keep_lane;
drop index jobs_busy;
drop index jobs_lane;
drop table turns;
drop table lanes;
alter table jobs drop column priority;
alter table scans drop column priority;
alter table tenants drop column concurrency, drop column weight;
create index jobs_ready on jobs (tenant_id, plugin, run_at, id) where state = 'queued' and dispatched_at is null;
create index jobs_next on jobs (run_at) where state = 'queued' and dispatched_at is null;
create index jobs_out on jobs (dispatched_at) where state = 'queued' and dispatched_at is not null;
create index jobs_busy on jobs (tenant_id)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);
create index jobs_leased on jobs (lease_expires_at) where lease_expires_at is not null;
