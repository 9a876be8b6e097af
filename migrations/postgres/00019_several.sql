-- What several plugins say of one scan: remarks of each job, and which findings
-- of different plugins are at the same spot.

-- +goose Up
alter table jobs add column remarks text; -- JSON object: why there was nothing for its plugin, and notes; null: neither

-- A spot is a path and what is wrong there, in one number (host.SpotOf); null: it
-- is at none, or no other plugin looked. The last line is at most a hundred after
-- the first, so that whatever overlaps it is in one short range of the index.
alter table findings
    add column spot bigint,
    add column first_line integer,
    add column last_line integer;
create index findings_by_spot on findings (scan_id, spot, first_line) where spot is not null;

-- +goose Down
drop index findings_by_spot;
alter table findings drop column spot, drop column first_line, drop column last_line;
alter table jobs drop column remarks;
