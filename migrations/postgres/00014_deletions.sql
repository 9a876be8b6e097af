-- Scans that their tenant wants removed: unseen at once, and removed bit by bit.

-- +goose Up
create table deletions (
    id          uuid primary key,
    tenant_id   uuid not null references tenants (id) on delete cascade,
    scan_id     uuid, -- the one that it is about; null: a project's
    project     text check (project <> ''),
    created_at  timestamptz not null default now(),
    -- When all scans that it is about had their mark, which a project's get some at
    -- a time; null: some may lack it.
    marked_at   timestamptz,
    finished_at timestamptz, -- when none was left; null: it goes on
    scans       integer not null default 0, -- that were marked
    unique (tenant_id, id),
    check ((scan_id is null) <> (project is null)),
    check (finished_at is null or marked_at is not null)
);
create index deletions_by_end on deletions (finished_at) where finished_at is not null;
create index deletions_pending on deletions (created_at) where finished_at is null;

-- The deletion that removes the scan; null: it stays. Whoever shows scans to a
-- tenant leaves out those that have one.
alter table scans add column deletion_id uuid,
    add foreign key (tenant_id, deletion_id) references deletions (tenant_id, id);
create index scans_deleted on scans (deletion_id, id) where deletion_id is not null;

-- +goose Down
drop index scans_deleted;
alter table scans drop column deletion_id;
drop table deletions;
