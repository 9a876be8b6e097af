-- Hosts that tenants say are their own, to be scanned, and how they proved it.

-- +goose Up
create table targets (
    id         text primary key check (length(id) = 36),
    tenant_id  text not null references tenants (id),
    host       text not null check (host <> ''), -- a name in lower case, alone or with a port
    token      text not null check (token <> ''), -- what the tenant publishes
    created_at integer not null,
    proof      text not null default '' check (proof in ('', 'dns', 'well_known')),
    proven_at  integer, -- when a check last found the token
    checked_at integer, -- when the last check began
    fault      text not null default '', -- what it found wrong
    unique (tenant_id, host),
    check ((proof = '') = (proven_at is null))
) strict;
create index targets_due on targets (checked_at) where proven_at is not null;

-- +goose Down
drop table targets;
