-- What a change of a webhook is based on, and which scan a delivery tells of: it
-- goes when its tenant deletes the scan.
--
-- Each statement is a transaction of its own and may be done twice. Together they
-- would keep every scan from ending for as long as the update and the index take:
-- whatever ends one looks at webhooks.

-- +goose NO TRANSACTION
-- +goose Up
alter table webhooks add column if not exists version integer not null default 1 check (version > 0);
alter table webhook_deliveries add column if not exists scan_id uuid; -- null: of none
update webhook_deliveries set scan_id = (data::json ->> 'scan')::uuid where scan_id is null and data::json ->> 'scan' is not null;
drop index concurrently if exists webhook_deliveries_by_scan; -- of an attempt that broke off
create index concurrently webhook_deliveries_by_scan on webhook_deliveries (scan_id) where scan_id is not null;

-- +goose Down
drop index if exists webhook_deliveries_by_scan;
alter table webhook_deliveries drop column if exists scan_id;
alter table webhooks drop column if exists version;
