-- Row-level security under the application's own checks: whoever is the role
-- securetag_tenant sees and writes rows of the tenant in securetag.tenant, and none
-- when that is not set. The role is made, and given its rights, by the host
-- (host/postgres/confine.go): it belongs to the whole server, and not everybody may
-- make one. Who owns the tables, and every other role, sees all as before.
--
-- A table that a later migration makes with a tenant_id needs the same policy; a
-- test says so.

-- +goose Up
-- +goose StatementBegin
do $$ declare t text; begin
    for t in select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
             where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by 1
    loop
        execute format('alter table %I enable row level security', t);
        execute format($p$create policy own_tenant on %I using (
            (select current_user <> 'securetag_tenant')
            or tenant_id = (select nullif(current_setting('securetag.tenant', true), '')::uuid))$p$, t);
    end loop;
end $$;
-- +goose StatementEnd
alter table tenants enable row level security;
create policy own_tenant on tenants using (
    (select current_user <> 'securetag_tenant')
    or id = (select nullif(current_setting('securetag.tenant', true), '')::uuid));

-- +goose Down
-- +goose StatementBegin
do $$ declare t text; begin
    for t in select c.relname from pg_class c join pg_policy p on p.polrelid = c.oid and p.polname = 'own_tenant'
             where c.relnamespace = current_schema()::regnamespace order by 1
    loop
        execute format('drop policy own_tenant on %I', t);
        execute format('alter table %I disable row level security', t);
    end loop;
end $$;
-- +goose StatementEnd
