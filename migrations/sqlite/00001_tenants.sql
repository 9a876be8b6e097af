-- Who is isolated from whom, and the keys they come with. Times are Unix
-- microseconds in UTC, ids canonical UUID text.

-- +goose Up
create table tenants (
    id         text primary key not null check (length(id) = 36),
    name       text not null unique
        check (length(name) between 1 and 63 and name not glob '*[^a-z0-9-]*' and name not glob '-*'),
    created_at integer not null
) strict, without rowid;

create table api_keys (
    id           text primary key not null check (length(id) = 36),
    tenant_id    text not null references tenants (id),
    name         text not null,
    prefix       text not null,
    hash         blob not null unique check (length(hash) = 32),
    created_at   integer not null,
    expires_at   integer,
    revoked_at   integer,
    last_used_at integer
) strict, without rowid;
create index api_keys_by_tenant on api_keys (tenant_id, created_at, id);

-- +goose Down
drop table api_keys;
drop table tenants;
