-- Options that nobody is shown: a login of a target, for one. They are sealed under
-- a key that is not in the database, and gone when the scan has ended.

-- +goose Up
alter table scans
    add column secrets bytea check (finished_at is null or secrets is null),
    add column secret_options text; -- JSON array of their names, in order; null: there are none
alter table scans alter column secrets set storage external;

-- +goose Down
alter table scans drop column secrets, drop column secret_options;
