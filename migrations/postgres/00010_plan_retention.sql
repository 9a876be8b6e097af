-- Which scans of a tenant are old enough to go: how long is its plan's to say.

-- +goose Up
-- Like the one it replaces it holds nothing that changes when a scan ends, and it
-- grows at one end for each tenant.
create index scans_by_tenant_age on scans (tenant_id, created_at);
drop index scans_by_age;

-- +goose Down
create index scans_by_age on scans (created_at);
drop index scans_by_tenant_age;
