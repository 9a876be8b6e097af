package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func toTarget(row pgx.CollectableRow) (t host.Target, err error) {
	err = row.Scan(record.TargetDest(&t, at)...)
	return t, err
}

// collectTargets reads the rows of a statement into all.
func collectTargets(all *[]host.Target) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*all, err = pgx.CollectRows(rows, toTarget)
		return err
	}
}

// insertTarget takes id, tenant, host, token and how many a tenant may have, and
// stores nothing when it has so many. The tenant is locked.
const insertTarget = `
insert into targets as g (id, tenant_id, host, token)
select $1::text::uuid, $2::text::uuid, $3::text, $4::text where (select count(*) from targets where tenant_id = $2::text::uuid) < $5
returning ` + record.TargetColumns

// CreateTarget implements host.TargetStore.
func (s *Store) CreateTarget(ctx context.Context, t host.Target) (out host.Target, err error) {
	op := fmt.Sprintf("create target %.64q", string(t.ID))
	if err := record.CheckTarget(t); err != nil {
		return out, fmt.Errorf("%s: %w", op, err)
	}
	var made []host.Target
	insert := s.as(t.TenantID, func(b *pgx.Batch) {
		b.Queue(insertTarget, string(t.ID), string(t.TenantID), record.Clean(t.Host), record.Clean(t.Token), host.MaxTargets).Query(collectTargets(&made))
	})
	err = s.batch(ctx, op, func(b *pgx.Batch) {
		// Before it is the tenant's: the role of tenants may not lock one.
		b.Queue(`select 1 from tenants where id = $1 for no key update`, string(t.TenantID))
		insert(b)
	})
	switch {
	case err != nil:
		return out, err // of a second one of the same host: ErrConflict
	case len(made) == 0:
		return out, s.noRoom(ctx, op, t)
	}
	return made[0], nil
}

// noRoom says why CreateTarget stored nothing.
func (s *Store) noRoom(ctx context.Context, op string, t host.Target) error {
	all, err := s.Targets(ctx, t.TenantID)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for _, other := range all {
		if other.Host == record.Clean(t.Host) {
			return fmt.Errorf("%s: the tenant has one of this host: %w", op, host.ErrConflict)
		}
	}
	return fmt.Errorf("%s: the tenant has %d: %w", op, host.MaxTargets, host.ErrOverQuota)
}

// Targets implements host.TargetStore.
func (s *Store) Targets(ctx context.Context, t host.TenantID) (all []host.Target, err error) {
	if !record.IsID(t) {
		return nil, nil
	}
	err = s.tenantRead(ctx, "list targets", t, func(b *pgx.Batch) {
		b.Queue(`select `+record.TargetColumns+` from targets g where tenant_id = $1 order by host collate "C"`, string(t)).Query(collectTargets(&all))
	})
	return all, err
}

// oneTarget runs a statement of a target's tenant and id, which are its first two
// arguments, and gives the row that it returns.
func (s *Store) oneTarget(ctx context.Context, verb, statement string, t host.TenantID, id host.TargetID, args ...any) (out host.Target, err error) {
	op := fmt.Sprintf("%s target %.64q", verb, string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return out, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(statement, append([]any{string(t), string(id)}, args...)...).Query(func(rows pgx.Rows) (err error) {
			out, err = pgx.CollectExactlyOneRow(rows, toTarget)
			return err
		})
	})
	return out, err
}

// Target implements host.TargetStore.
func (s *Store) Target(ctx context.Context, t host.TenantID, id host.TargetID) (host.Target, error) {
	return s.oneTarget(ctx, "read", `select `+record.TargetColumns+` from targets g where tenant_id = $1 and id = $2`, t, id)
}

// DeleteTarget implements host.TargetStore.
func (s *Store) DeleteTarget(ctx context.Context, t host.TenantID, id host.TargetID) error {
	_, err := s.oneTarget(ctx, "delete", `delete from targets g where tenant_id = $1 and id = $2 returning `+record.TargetColumns, t, id)
	return err
}

// beginTargetCheck takes tenant, target and the pause in microseconds. The row
// that it returns has another time than now() when it is too early.
const beginTargetCheck = `
update targets g set checked_at = case when early.yes then g.checked_at else now() end
from (select id, coalesce(checked_at > now() - $3::bigint * interval '1 microsecond', false) as yes
      from targets where tenant_id = $1 and id = $2 for no key update) early
where g.id = early.id
returning early.yes, ` + record.TargetColumns

// BeginTargetCheck implements host.TargetStore.
func (s *Store) BeginTargetCheck(ctx context.Context, t host.TenantID, id host.TargetID, pause time.Duration) (out host.Target, err error) {
	op := fmt.Sprintf("begin to check target %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return out, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	early := false
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(beginTargetCheck, string(t), string(id), record.Micros(pause)).QueryRow(func(row pgx.Row) error {
			return row.Scan(append([]any{&early}, record.TargetDest(&out, at)...)...)
		})
	})
	switch {
	case err != nil:
		return host.Target{}, err
	case early:
		return host.Target{}, fmt.Errorf("%s: the last check began less than %v ago: %w", op, pause, host.ErrConflict)
	}
	return out, nil
}

// endTargetCheck takes tenant, target, fault, proof and whether an earlier proof
// is gone.
const endTargetCheck = `
update targets g set fault = $3,
    proof = case when $5::bool then '' when $4::text = '' then proof else $4::text end,
    proven_at = case when $5::bool then null when $4::text = '' then proven_at else now() end
where tenant_id = $1 and id = $2
returning ` + record.TargetColumns

// EndTargetCheck implements host.TargetStore.
func (s *Store) EndTargetCheck(ctx context.Context, t host.TenantID, id host.TargetID, c host.TargetCheck) (host.Target, error) {
	if err := record.CheckProof(c); err != nil {
		return host.Target{}, fmt.Errorf("end the check of target %.64q: %w", string(id), err)
	}
	return s.oneTarget(ctx, "end the check of", endTargetCheck, t, id, record.Clean(c.Fault), string(c.Proof), c.Gone)
}

// dueTargets takes age and life in microseconds and a limit. What another host
// takes at this moment is left to it.
const dueTargets = `
update targets g set checked_at = now()
where id = any(array(
    select id from targets
    where proven_at > now() - $2::bigint * interval '1 microsecond' and checked_at <= now() - $1::bigint * interval '1 microsecond'
    order by checked_at, id limit $3 for no key update skip locked))
returning ` + record.TargetColumns

// DueTargets implements host.TargetStore.
func (s *Store) DueTargets(ctx context.Context, age, life time.Duration, limit int) (due []host.Target, err error) {
	err = s.batch(ctx, "take targets to check", func(b *pgx.Batch) {
		b.Queue(dueTargets, record.Micros(age), record.Micros(life), limit).Query(collectTargets(&due))
	})
	return due, err
}

// permit takes tenant and life in microseconds.
const permit = `
select ` + record.TargetColumns + ` from targets g
where tenant_id = $1 and proven_at > now() - $2::bigint * interval '1 microsecond' order by host collate "C"`

// Permit implements host.TargetStore.
func (s *Store) Permit(ctx context.Context, t host.TenantID, life time.Duration) (terms host.Terms, proven []host.Target, err error) {
	const op = "look for a tenant's permission"
	if !record.IsID(t) {
		return terms, nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(`select `+record.TermsColumns+` from tenants t where id = $1`, string(t)).QueryRow(func(row pgx.Row) (err error) {
			var r record.Terms
			if err := row.Scan(r.Dest()...); err != nil {
				return err
			}
			terms, err = r.Value()
			return err
		})
		b.Queue(permit, string(t), record.Micros(life)).Query(collectTargets(&proven))
	})
	if err != nil {
		return host.Terms{}, nil, err
	}
	return terms, proven, nil
}
