-- What a change of a webhook is based on, and which scan a delivery tells of: it
-- goes when its tenant deletes the scan.

-- +goose Up
alter table webhooks add column version integer not null default 1 check (version > 0);
alter table webhook_deliveries add column scan_id uuid; -- null: of none
update webhook_deliveries set scan_id = (data::json ->> 'scan')::uuid where data::json ->> 'scan' is not null;
create index webhook_deliveries_by_scan on webhook_deliveries (scan_id) where scan_id is not null;

-- +goose Down
drop index webhook_deliveries_by_scan;
alter table webhook_deliveries drop column scan_id;
alter table webhooks drop column version;
