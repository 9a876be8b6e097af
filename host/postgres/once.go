package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// keepRequests is the part of Accept for scans that are Once: it takes tenants,
// keys, digests, scans and these as JSON, as arrays ($31-$35). That a key is
// taken fails the statement, so that nothing of it stays. It reads over and so
// comes behind the locks on the tenants' counters: of one tenant only one
// transaction at a time has got so far.
const keepRequests = `, asked as (
    insert into accepted_requests (tenant_id, key, digest, scan_id, scan)
    select * from unnest($31::text[]::uuid[], $32::bytea[], $33::bytea[], $34::text[]::uuid[], $35::text[])
    where not exists (select from over)
)`

// acceptOnce is accept for scans of which some are Once.
const acceptOnce = acceptScans + keepRequests + acceptEnd

// requestRows are what is kept of requests, as arrays.
type requestRows struct {
	tenant, scan, text []string
	key, digest        [][]byte
}

func (r requestRows) any() bool { return len(r.key) > 0 }

func requestsOf(scans []host.Scan) (r requestRows) {
	for _, s := range scans {
		if s.Once == nil {
			continue
		}
		r.tenant, r.scan, r.text = append(r.tenant, string(s.TenantID)), append(r.scan, string(s.ID)), append(r.text, record.Encode(s))
		r.key, r.digest = append(r.key, s.Once.Key[:]), append(r.digest, s.Once.Digest[:])
	}
	return r
}

// keyTaken reports whether a request was accepted before.
func keyTaken(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == "accepted_requests_pkey"
}

// forgetOld and findRequests take tenants and keys, as arrays, and how long a
// request is remembered, in microseconds. A lateral join reads the primary key
// for each.
const (
	forgetOld = `
delete from accepted_requests where ctid = any (array(
    select r.ctid from unnest($1::text[]::uuid[], $2::bytea[]) as w (tenant, key)
    cross join lateral (
        select ctid from accepted_requests where tenant_id = w.tenant and key = w.key and created_at <= now() - $3 * interval '1 microsecond'
    ) r
))`
	findRequests = `
select r.* from unnest($1::text[]::uuid[], $2::bytea[]) as w (tenant, key)
cross join lateral (
    select tenant_id, key, digest, scan, created_at from accepted_requests
    where tenant_id = w.tenant and key = w.key and created_at > now() - $3 * interval '1 microsecond'
) r`
	// findEarlier is findRequests of one, for a tenant. Its plan is that role's.
	findEarlier = `
select tenant_id, key, digest, scan, created_at from accepted_requests
where tenant_id = $1 and key = $2 and created_at > now() - $3 * interval '1 microsecond'`
)

// repeated is *host.Repeated when some of the scans were asked for before. What is
// too old to say so is removed.
func (s *Store) repeated(ctx context.Context, op string, scans []host.Scan, once requestRows) error {
	found := map[host.ScanID]*host.Earlier{}
	kept := record.Micros(host.OnceKept)
	err := s.batch(ctx, op, func(b *pgx.Batch) {
		b.Queue(forgetOld, once.tenant, once.key, kept)
		b.Queue(findRequests, once.tenant, once.key, kept).Query(func(rows pgx.Rows) error {
			var r record.Request
			_, err := pgx.ForEachRow(rows, r.Dest(at), func() error { return r.Match(scans, found) })
			return err
		})
	})
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%s: %w", op, &host.Repeated{Scans: found})
	}
	return err
}

// Earlier implements host.ScanStore.
func (s *Store) Earlier(ctx context.Context, t host.TenantID, key [32]byte) (e *host.Earlier, err error) {
	const op = "look for an earlier request"
	if !record.IsID(t) {
		return nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(findEarlier, string(t), key[:], record.Micros(host.OnceKept)).QueryRow(func(row pgx.Row) error {
			var r record.Request
			err := row.Scan(r.Dest(at)...)
			if err != nil {
				return err
			}
			e, err = r.Value()
			return err
		})
	})
	return e, err
}

// DropRequests implements host.RetentionStore.
func (s *Store) DropRequests(ctx context.Context, limit int) (n int, err error) {
	err = s.do(ctx, "forget old requests", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `delete from accepted_requests where ctid = any (array(
			select ctid from accepted_requests where created_at <= now() - $1 * interval '1 microsecond'
			order by created_at limit $2 for update skip locked))`,
			record.Micros(host.OnceKept), max(limit, 0))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}
