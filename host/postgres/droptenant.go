package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// pickTenantScans is pickOldScans for the ended scans of a tenant, of any age.
const pickTenantScans = `
select ` + record.OldColumns + ` from scans s
where s.tenant_id = $1 and s.finished_at is not null order by s.id limit $2 for update skip locked`

// DropTenant implements host.RetentionStore. One whose jobs still run does not
// keep the others.
func (s *Store) DropTenant(ctx context.Context, limit int) (host.Dropped, error) {
	deleted, err := s.strings(ctx, "find tenants to remove", `select id from tenants where deleted_at is not null order by deleted_at, id`)
	if err != nil {
		return host.Dropped{}, err
	}
	for _, t := range deleted {
		if out, err := s.dropTenant(ctx, t, limit); err != nil || out.More {
			return out, err
		}
	}
	return host.Dropped{}, nil
}

func (s *Store) dropTenant(ctx context.Context, t string, limit int) (host.Dropped, error) {
	open, err := s.strings(ctx, "find the scans of a tenant that go on",
		`select id from scans where tenant_id = $1 and finished_at is null and cancel_requested_at is null order by id limit $2`, t, max(limit, 0))
	if err != nil {
		return host.Dropped{}, err
	}
	if err := s.cancelAll(ctx, t, open); err != nil {
		return host.Dropped{}, err
	}
	out, err := s.dropPicked(ctx, "remove the scans of a tenant", limit, nil, pickTenantScans, t)
	if err != nil || len(open)+out.Scans > 0 {
		out.More = err == nil
		return out, err
	}
	if out, err = s.dropProjectFindings(ctx, t); err != nil || out.More {
		return out, err
	}
	err = s.do(ctx, "remove a tenant", func(ctx context.Context) error {
		out = host.Dropped{}
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			var gone bool
			// Who accepts a scan at the moment holds the tenant by its key.
			err := tx.QueryRow(ctx, `select not exists (select from scans where tenant_id = t.id) from tenants t where id = $1 for update`, t).Scan(&gone)
			if errors.Is(err, pgx.ErrNoRows) || err == nil && !gone {
				return nil // another host did it, or its jobs still run
			}
			if err != nil {
				return err
			}
			for _, table := range []string{"api_keys", "webhooks", "targets"} {
				if _, err := tx.Exec(ctx, `delete from `+table+` where tenant_id = $1`, t); err != nil {
					return err
				}
			}
			tag, err := tx.Exec(ctx, `delete from tenants where id = $1`, t)
			out.Tenants, out.More = int(tag.RowsAffected()), err == nil
			return err
		})
	})
	if err != nil {
		return host.Dropped{}, err
	}
	return out, nil
}

// dropProjectFindings removes some of a tenant's, which go with no scan, once there
// is none that could bring more.
func (s *Store) dropProjectFindings(ctx context.Context, t string) (out host.Dropped, err error) {
	err = s.do(ctx, "remove the findings of a tenant's projects", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from project_findings where id = any(array(select id from project_findings where tenant_id = $1
			and not exists (select from scans where tenant_id = $1) order by tenant_id, id limit $2))`, t, record.DropRows)
		out = host.Dropped{Findings: int(tag.RowsAffected()), More: tag.RowsAffected() > 0}
		return err
	})
	return out, err
}

// cancelAll asks for the end of a tenant's scans.
func (s *Store) cancelAll(ctx context.Context, tenant string, scans []string) error {
	for _, id := range scans {
		err := s.batch(ctx, "cancel scan "+id, func(b *pgx.Batch) { queueCancel(b, tenant, id) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) strings(ctx context.Context, op, query string, args ...any) (all []string, err error) {
	err = s.do(ctx, op, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return all, err
}
