-- Hosts that tenants say are their own, to be scanned, and how they proved it.

-- +goose Up
create table targets (
    id         uuid primary key,
    tenant_id  uuid not null references tenants (id),
    host       text not null check (host <> ''), -- a name in lower case, alone or with a port
    token      text not null check (token <> ''), -- what the tenant publishes
    created_at timestamptz not null default now(),
    proof      text not null default '' check (proof in ('', 'dns', 'well_known')),
    proven_at  timestamptz, -- when a check last found the token
    checked_at timestamptz, -- when the last check began
    fault      text not null default '', -- what it found wrong
    unique (tenant_id, host),
    check ((proof = '') = (proven_at is null))
);
create index targets_due on targets (checked_at) where proven_at is not null;

alter table targets enable row level security;
create policy own_tenant on targets using (
    (select current_user <> 'securetag_tenant')
    or tenant_id = (select nullif(current_setting('securetag.tenant', true), '')::uuid));

-- +goose Down
drop table targets;
