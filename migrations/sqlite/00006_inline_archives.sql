-- Small archives are kept with their scan: one commit for both, and no file to
-- make and sync. A table of their own, because SQLite writes a row anew, with
-- all that is in it, whenever one of its columns changes.

-- +goose Up
create table archives (
    scan_id text primary key references scans (id) on delete cascade,
    data    blob not null
) strict;

-- +goose Down
drop table archives;
