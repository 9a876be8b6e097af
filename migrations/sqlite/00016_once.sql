-- Requests with an Idempotency-Key that were accepted, for a day.

-- +goose Up
create table accepted_requests (
    tenant_id  text not null,
    key        blob not null check (length(key) = 32), -- SHA-256 of the route and the client's key
    digest     blob not null check (length(digest) = 32), -- SHA-256 of what was asked for
    scan_id    text not null,
    scan       text not null, -- JSON object: as it was accepted
    created_at integer not null,
    primary key (tenant_id, key),
    -- What is removed leaves nothing behind, and its key is free.
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
) strict;
create index accepted_requests_by_scan on accepted_requests (tenant_id, scan_id);
create index accepted_requests_by_age on accepted_requests (created_at);

-- +goose Down
drop table accepted_requests;
