-- Who is isolated from whom, and the keys they come with.

-- +goose Up
create table tenants (
    id         uuid primary key,
    name       text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at timestamptz not null default now()
);

create table api_keys (
    id           uuid primary key,
    tenant_id    uuid not null references tenants (id),
    name         text not null,
    prefix       text not null,
    hash         bytea not null unique check (octet_length(hash) = 32),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
create index api_keys_by_tenant on api_keys (tenant_id, created_at, id);

-- +goose Down
drop table api_keys;
drop table tenants;
