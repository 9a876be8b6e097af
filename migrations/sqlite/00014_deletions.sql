-- Scans that their tenant wants removed: unseen at once, and removed bit by bit.
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
create table deletions (
    id          text primary key not null check (length(id) = 36),
    tenant_id   text not null references tenants (id) on delete cascade,
    scan_id     text, -- the one that it is about; null: a project's
    project     text check (project <> ''),
    created_at  integer not null,
    finished_at integer, -- when none was left; null: it goes on
    scans       integer not null default 0, -- that it is about
    check ((scan_id is null) <> (project is null))
) strict, without rowid;
create index deletions_by_tenant on deletions (tenant_id);
create index deletions_by_end on deletions (finished_at) where finished_at is not null;
create index deletions_pending on deletions (created_at) where finished_at is null;

-- The deletion that removes the scan; null: it stays. Whoever shows scans to a
-- tenant leaves out those that have one. It is no foreign key: SQLite could not
-- drop the column again.
alter table scans add column deletion_id text;
create index scans_deleted on scans (deletion_id, id) where deletion_id is not null;

-- +goose Down
drop index scans_deleted;
alter table scans drop column deletion_id;
drop table deletions;
