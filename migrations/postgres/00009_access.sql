-- What keys may do, tenants that are suspended or on their way out, and the
-- audit log.

-- +goose Up
alter table tenants
    add column suspended_at timestamptz, -- null: it is not
    add column suspended_reason text not null default '',
    add column deleted_at timestamptz, -- since when its data is being removed; null: it stays
    -- What must not start is read from one column.
    add check (deleted_at is null or suspended_at is not null);
create index tenants_suspended on tenants (id) where suspended_at is not null;

-- Words with a space between. Keys of before keep what they could.
alter table api_keys add column scopes text not null default 'finding:write scan:read scan:write' check (scopes <> '');

-- What operators did and who was refused. It names tenants and keys as text: it
-- outlives them.
create table audit (
    id      uuid primary key, -- version 7: lists by time
    at      timestamptz not null default now(),
    actor   text not null, -- operator, command line or address
    name    text not null, -- which one
    action  text not null check (action <> ''),
    target  text not null default '', -- what it was done to
    outcome text not null default '',
    source  text not null default '', -- the address it came from
    request text not null default '', -- id of the request
    times   bigint not null default 1 check (times >= 1) -- how often, within a minute
);
create index audit_by_age on audit (at);

-- A line is added and never changed, and goes when it is a year old.
-- +goose StatementBegin
create function keep_audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and old.at < now() - interval '365 days' then
        return old;
    end if;
    raise exception 'the audit log is append-only: constraint audit_keep' using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger audit_keep before update or delete on audit for each row execute function keep_audit();
create trigger audit_keep_all before truncate on audit for each statement execute function keep_audit();

-- +goose Down
drop table audit;
drop function keep_audit;
alter table api_keys drop column scopes;
drop index tenants_suspended;
alter table tenants drop column deleted_at, drop column suspended_reason, drop column suspended_at;
