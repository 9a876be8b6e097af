-- Files that jobs produced. A row is there only when its job delivered, and its
-- blob was durable before.

-- +goose Up
create table artifacts (
    id         uuid primary key,
    tenant_id  uuid not null,
    scan_id    uuid not null,
    job_id     uuid not null,
    name       text not null check (name <> ''),
    media_type text not null,
    size       bigint not null check (size >= 0),
    sha256     text not null,
    blob       text not null unique,
    created_at timestamptz not null default now(),
    unique (scan_id, job_id, name),
    foreign key (scan_id, tenant_id, job_id) references jobs (scan_id, tenant_id, id) on delete cascade
);

-- +goose Down
drop table artifacts;
