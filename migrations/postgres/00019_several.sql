-- What several plugins say of one scan: remarks of each job, and which findings
-- of different plugins are at the same spot.
--
-- Each statement is a transaction of its own and may be done twice: the index
-- reads all findings, and until it is made nobody could read or write one, or keep
-- the lease of a job.

-- +goose NO TRANSACTION
-- +goose Up
alter table jobs add column if not exists remarks text; -- JSON object: why there was nothing for its plugin, and notes; null: neither

-- A spot is a path and what is wrong there, in one number (host.SpotOf); null: it
-- is at none, or no other plugin looked. The last line is at most a hundred after
-- the first, so that whatever overlaps it is in one short range of the index.
alter table findings
    add column if not exists spot bigint,
    add column if not exists first_line integer,
    add column if not exists last_line integer;
drop index concurrently if exists findings_by_spot; -- of an attempt that broke off
create index concurrently findings_by_spot on findings (scan_id, spot, first_line) where spot is not null;

-- +goose Down
drop index if exists findings_by_spot;
alter table findings drop column if exists spot, drop column if exists first_line, drop column if exists last_line;
alter table jobs drop column if exists remarks;
