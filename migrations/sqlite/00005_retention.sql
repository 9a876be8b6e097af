-- Which scans are old enough to go, which of them still have an archive, and
-- which scan needs a blob.

-- +goose Up
-- The blob that the scan needs; null: none, or none any more.
alter table scans add column archive_blob text
    check (archive_blob is null or (archive is not null and archive_blob <> ''));
-- When retention took the archive away. The column archive still says what was
-- scanned.
alter table scans add column archive_removed_at integer
    check (archive_removed_at is null or (archive is not null and archive_blob is null));
update scans set archive_blob = nullif(json_extract(archive, '$.Blob'), '') where archive is not null;
-- By when they were accepted, and not by when they ended: what changes when a scan
-- ends is in no index, so its end is cheap. One that ended long ago was accepted
-- long ago, and few were and have not ended.
create index scans_by_age on scans (created_at);
create index scans_with_archive on scans (created_at) where archive is not null and archive_removed_at is null;
create index scans_by_blob on scans (archive_blob) where archive_blob is not null;

-- One row that names this database. What removes files because no scan here
-- needs them must know that they belong to this one and not to another.
create table origin (id text not null) strict;
insert into origin values (lower(hex(randomblob(16))));

-- +goose Down
drop table origin;
drop index scans_by_blob;
drop index scans_with_archive;
drop index scans_by_age;
alter table scans drop column archive_removed_at;
alter table scans drop column archive_blob;
