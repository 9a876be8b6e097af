-- Files that jobs produced. A row is there only when its job delivered, and its
-- blob was durable before.

-- +goose Up
create table artifacts (
    id         text primary key check (length(id) = 36),
    tenant_id  text not null,
    scan_id    text not null,
    job_id     text not null,
    name       text not null check (name <> ''),
    media_type text not null,
    size       integer not null check (size >= 0),
    sha256     text not null,
    blob       text not null unique,
    created_at integer not null,
    unique (scan_id, job_id, name),
    foreign key (scan_id, tenant_id, job_id) references jobs (scan_id, tenant_id, id) on delete cascade
) strict;

-- +goose Down
drop table artifacts;
