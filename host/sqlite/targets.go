package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func scanTarget(scan func(...any) error) (t host.Target, err error) {
	err = scan(record.TargetDest(&t, at)...)
	return t, err
}

const oneTarget = `select ` + record.TargetColumns + ` from targets g where tenant_id = ? and id = ?`

func (tx tx) target(ctx context.Context, t host.TenantID, id host.TargetID) (host.Target, error) {
	return scanTarget(tx.QueryRowContext(ctx, oneTarget, string(t), string(id)).Scan)
}

// CreateTarget implements host.TargetStore.
func (s *Store) CreateTarget(ctx context.Context, t host.Target) (out host.Target, err error) {
	op := fmt.Sprintf("create target %.64q", string(t.ID))
	if err := record.CheckTarget(t); err != nil {
		return out, fmt.Errorf("%s: %w", op, err)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		var n, same int
		err := tx.QueryRowContext(ctx, `select count(*), count(*) filter (where host = ?2) from targets where tenant_id = ?1`, string(t.TenantID), record.Clean(t.Host)).Scan(&n, &same)
		switch {
		case err != nil:
			return err
		case same > 0:
			return fmt.Errorf("the tenant has one of this host: %w", host.ErrConflict)
		case n >= host.MaxTargets:
			return fmt.Errorf("the tenant has %d: %w", n, host.ErrOverQuota)
		}
		_, err = tx.ExecContext(ctx, `insert into targets (id, tenant_id, host, token, created_at) values (?, ?, ?, ?, ?)`,
			string(t.ID), string(t.TenantID), record.Clean(t.Host), record.Clean(t.Token), tx.now)
		if err != nil {
			return err
		}
		out, err = tx.target(ctx, t.TenantID, t.ID)
		return err
	})
	return out, err
}

// Targets implements host.TargetStore.
func (s *Store) Targets(ctx context.Context, t host.TenantID) (all []host.Target, err error) {
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		one, err := scanTarget(r.Scan)
		all = append(all, one)
		return err
	}, `select `+record.TargetColumns+` from targets g where tenant_id = ? order by host`, string(t))
	if err != nil {
		return nil, translate(ctx, "list targets", err)
	}
	return all, nil
}

// Target implements host.TargetStore.
func (s *Store) Target(ctx context.Context, t host.TenantID, id host.TargetID) (host.Target, error) {
	out, err := scanTarget(s.readers.QueryRowContext(ctx, oneTarget, string(t), string(id)).Scan)
	if err != nil {
		return host.Target{}, translate(ctx, fmt.Sprintf("read target %.64q", string(id)), err)
	}
	return out, nil
}

// DeleteTarget implements host.TargetStore.
func (s *Store) DeleteTarget(ctx context.Context, t host.TenantID, id host.TargetID) error {
	return s.write(ctx, fmt.Sprintf("delete target %.64q", string(id)), func(ctx context.Context, tx tx) error {
		return changed(tx.ExecContext(ctx, `delete from targets where tenant_id = ? and id = ?`, string(t), string(id)))
	})
}

// BeginTargetCheck implements host.TargetStore.
func (s *Store) BeginTargetCheck(ctx context.Context, t host.TenantID, id host.TargetID, pause time.Duration) (out host.Target, err error) {
	err = s.write(ctx, fmt.Sprintf("begin to check target %.64q", string(id)), func(ctx context.Context, tx tx) (err error) {
		if out, err = tx.target(ctx, t, id); err != nil {
			return err
		}
		if !out.CheckedAt.IsZero() && out.CheckedAt.UnixMicro() > tx.now-record.Micros(pause) {
			return fmt.Errorf("the last check began less than %v ago: %w", pause, host.ErrConflict)
		}
		if _, err = tx.ExecContext(ctx, `update targets set checked_at = ? where tenant_id = ? and id = ?`, tx.now, string(t), string(id)); err != nil {
			return err
		}
		out, err = tx.target(ctx, t, id)
		return err
	})
	if err != nil {
		return host.Target{}, err
	}
	return out, nil
}

// EndTargetCheck implements host.TargetStore.
func (s *Store) EndTargetCheck(ctx context.Context, t host.TenantID, id host.TargetID, c host.TargetCheck) (out host.Target, err error) {
	op := fmt.Sprintf("end the check of target %.64q", string(id))
	if err := record.CheckProof(c); err != nil {
		return out, fmt.Errorf("%s: %w", op, err)
	}
	err = s.write(ctx, op, func(ctx context.Context, tx tx) error {
		err := changed(tx.ExecContext(ctx, `
update targets set fault = ?3,
    proof = case when ?5 then '' when ?4 = '' then proof else ?4 end,
    proven_at = case when ?5 then null when ?4 = '' then proven_at else ?6 end
where tenant_id = ?1 and id = ?2`, string(t), string(id), record.Clean(c.Fault), string(c.Proof), c.Gone, tx.now))
		if err != nil {
			return err
		}
		out, err = tx.target(ctx, t, id)
		return err
	})
	return out, err
}

// DueTargets implements host.TargetStore.
func (s *Store) DueTargets(ctx context.Context, age, life time.Duration, limit int) (due []host.Target, err error) {
	err = s.write(ctx, "take targets to check", func(ctx context.Context, tx tx) error {
		due = nil
		err := rows(ctx, tx, func(r *sql.Rows) error {
			one, err := scanTarget(r.Scan)
			one.CheckedAt = time.UnixMicro(tx.now).UTC()
			due = append(due, one)
			return err
		}, `select `+record.TargetColumns+` from targets g where proven_at > ?1 - ?3 and checked_at <= ?1 - ?2 order by checked_at, id limit ?4`,
			tx.now, record.Micros(age), record.Micros(life), limit)
		for _, t := range due {
			if err == nil {
				_, err = tx.ExecContext(ctx, `update targets set checked_at = ? where id = ?`, tx.now, string(t.ID))
			}
		}
		return err
	})
	return due, err
}

// Permit implements host.TargetStore.
func (s *Store) Permit(ctx context.Context, t host.TenantID, life time.Duration) (terms host.Terms, proven []host.Target, err error) {
	const op = "look for a tenant's permission"
	var r record.Terms
	err = s.readers.QueryRowContext(ctx, `select `+record.TermsColumns+` from tenants t where id = ?`, string(t)).Scan(r.Dest()...)
	if err == nil {
		terms, err = r.Value()
	}
	if err != nil {
		return host.Terms{}, nil, translate(ctx, op, err)
	}
	err = rows(ctx, s.readers, func(r *sql.Rows) error {
		one, err := scanTarget(r.Scan)
		proven = append(proven, one)
		return err
	}, `select `+record.TargetColumns+` from targets g
where tenant_id = ?1 and proven_at > ?2 - ?3 order by host`,
		string(t), s.cfg.Now().UnixMicro(), record.Micros(life))
	if err != nil {
		return host.Terms{}, nil, translate(ctx, op, err)
	}
	return terms, proven, nil
}
