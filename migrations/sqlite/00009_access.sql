-- What keys may do, tenants that are suspended or on their way out, and the
-- audit log.
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
alter table tenants add column suspended_at integer; -- null: it is not
alter table tenants add column suspended_reason text not null default '';
-- Since when its data is being removed; null: it stays.
alter table tenants add column deleted_at integer check (deleted_at is null or suspended_at is not null);
create index tenants_suspended on tenants (id) where suspended_at is not null;

-- Words with a space between. Keys of before keep what they could.
alter table api_keys add column scopes text not null default 'finding:write scan:read scan:write' check (scopes <> '');

-- What operators did and who was refused. It names tenants and keys as text: it
-- outlives them.
create table audit (
    id      text primary key not null check (length(id) = 36), -- version 7: lists by time
    at      integer not null,
    actor   text not null, -- operator, command line or address
    name    text not null, -- which one
    action  text not null check (action <> ''),
    target  text not null default '', -- what it was done to
    outcome text not null default '',
    source  text not null default '', -- the address it came from
    request text not null default '', -- id of the request
    times   integer not null default 1 check (times >= 1) -- how often, within a minute
) strict, without rowid;
create index audit_by_age on audit (at);

-- A line is added and never changed, and goes when it is a year old.
-- +goose StatementBegin
create trigger audit_keep_change before update on audit begin
    select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_keep before delete on audit when old.at >= (unixepoch() - 365 * 86400) * 1000000 begin
    select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd

-- +goose Down
drop table audit;
alter table api_keys drop column scopes;
drop index tenants_suspended;
alter table tenants drop column deleted_at;
alter table tenants drop column suspended_reason;
alter table tenants drop column suspended_at;
