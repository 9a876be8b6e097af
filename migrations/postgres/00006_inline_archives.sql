-- Small archives are kept with their scan: one commit for both, and no file to
-- make and sync. They are compressed already, so PostgreSQL must not try again.

-- +goose Up
alter table scans add column archive_data bytea;
alter table scans alter column archive_data set storage external;
-- A scan's row changes when its first job starts and when each ends, and none of
-- what changes is in an index: with room in its page the indexes stay as they are.
alter table scans set (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- +goose Down
alter table scans reset (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
alter table scans drop column archive_data;
