package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/securetaghq/securetag/host"
)

// What a tenant asks for runs as a role that has no rows but that tenant's, however
// wrong the statement is (docs/decisions/0015-row-level-security.md). What hosts do
// for all tenants at once (Accept, the life of jobs, sweeps, counts) runs as the
// role of the connection, and so does looking up a key, which says who asks.
//
// A statement's plan is kept for one role: whoever needs the same one for both
// writes it down twice, or plans it each time.

// asTenant takes a tenant and makes the rest of a transaction that tenant's. It is
// sent with what follows and waits for no answer.
const asTenant = `select set_config('role', 'securetag_tenant', true), set_config('securetag.tenant', $1, true)`

// tenantBatch is batch for what a tenant asks for.
func (s *Store) tenantBatch(ctx context.Context, op string, t host.TenantID, fill func(*pgx.Batch)) error {
	return s.batch(ctx, op, s.as(t, fill))
}

// tenantRead is readBatch for what a tenant asks for.
func (s *Store) tenantRead(ctx context.Context, op string, t host.TenantID, fill func(*pgx.Batch)) error {
	return s.readBatch(ctx, op, s.as(t, fill))
}

func (s *Store) as(t host.TenantID, fill func(*pgx.Batch)) func(*pgx.Batch) {
	return func(b *pgx.Batch) {
		if s.unconfined == nil {
			b.Queue(asTenant, string(t))
		}
		fill(b)
	}
}

// become is as for a transaction that looks at answers in between.
func (s *Store) become(ctx context.Context, tx pgx.Tx, t host.TenantID) error {
	if s.unconfined != nil {
		return nil
	}
	_, err := tx.Exec(ctx, asTenant, string(t))
	return err
}

// RowSecurity says why the database does not keep tenants apart by itself; nil: it
// does.
func (s *Store) RowSecurity() error { return s.unconfined }

// makeRole makes the role of asTenant, and lets this one become it, as far as that
// is missing and allowed. Roles belong to the server: hosts of another database on
// it may do the same at this moment.
const makeRole = `
do $$ declare may text := case when current_setting('server_version_num')::int < 160000 then 'MEMBER' else 'SET' end;
begin
    begin
        if not exists (select from pg_roles where rolname = 'securetag_tenant') then
            create role securetag_tenant nologin;
        end if;
    exception when insufficient_privilege or duplicate_object or unique_violation then null;
    end;
    begin
        if not pg_has_role(current_user, 'securetag_tenant', may) then
            execute format('grant securetag_tenant to %I', current_user);
        end if;
    exception when insufficient_privilege or undefined_object or unique_violation then null;
    end;
end $$`

// grantRole gives that role its rights: on what has policies, and of tenants to read
// its own. On nothing else, such as operators' keys and the audit log.
const grantRole = `
do $$ declare t text; begin
    perform pg_advisory_xact_lock(7165318207314581301); -- two at once would fail
    if not has_schema_privilege('securetag_tenant', current_schema(), 'usage') then
        execute format('grant usage on schema %I to securetag_tenant', current_schema());
    end if;
    for t in select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r' and relrowsecurity
        and relname <> 'tenants' and not (has_table_privilege('securetag_tenant', oid, 'select') and has_table_privilege('securetag_tenant', oid, 'insert')
        and has_table_privilege('securetag_tenant', oid, 'update') and has_table_privilege('securetag_tenant', oid, 'delete'))
    loop
        execute format('grant select, insert, update, delete on %I to securetag_tenant', t);
    end loop;
    if not has_table_privilege('securetag_tenant', 'tenants', 'select') then
        grant select on tenants to securetag_tenant;
    end if;
end $$`

// confine finds out whether the database can keep tenants apart, and does what is
// missing for that. That it cannot is no error: not everybody may make roles.
func (s *Store) confine(ctx context.Context) error {
	return s.do(ctx, "make the role of tenants", func(ctx context.Context) error {
		if _, err := s.pool.Exec(ctx, makeRole); err != nil {
			return err
		}
		err := s.confined(ctx)
		if refused(err) {
			if _, gerr := s.pool.Exec(ctx, grantRole); gerr == nil {
				err = s.confined(ctx)
			} else if !refused(gerr) {
				return gerr
			}
		}
		if refused(err) {
			s.unconfined = fmt.Errorf("%s; to change that, let a superuser run: create role securetag_tenant nologin; grant securetag_tenant to %q; "+
				"and then the owner of the tables start a host", err.Error(), s.pool.Config().ConnConfig.User)
			return nil
		}
		s.unconfined = nil
		return err
	})
}

// everyTable reads none of the rows, and needs the right to read them.
const everyTable = `
select count(*) from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r' and relrowsecurity
    and not (row_security_active(oid) and has_table_privilege(oid, 'select') and (relname = 'tenants' or has_table_privilege(oid, 'insert')))`

// confined tries it.
func (s *Store) confined(ctx context.Context) error {
	b := &pgx.Batch{}
	b.Queue(asTenant, "")
	var missing int
	b.Queue(everyTable).QueryRow(func(row pgx.Row) error { return row.Scan(&missing) })
	b.Queue(`select 1 from scans limit 0`)
	err := s.pool.SendBatch(ctx, b).Close()
	if err == nil && missing > 0 {
		return &pgconn.PgError{Code: "42501", Message: fmt.Sprintf("the role securetag_tenant has not its rights on %d tables", missing)}
	}
	return err
}

// refused reports whether the server said that something is not allowed, or that
// there is no such role.
func refused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "42501" || pg.Code == "22023" || pg.Code == "42704")
}
