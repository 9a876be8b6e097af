package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

func toScan(row pgx.CollectableRow) (host.Scan, error) {
	var r record.Scan
	if err := row.Scan(r.Dest(at)...); err != nil {
		return host.Scan{}, err
	}
	return r.Value()
}

// accept takes, as arrays, the scans' columns ($1-$10, $28-$30), those of their jobs
// ($11-$19, $26, $27) and what takeRoom takes. It returns the time, and whether there was
// no room.
const accept = acceptScans + acceptEnd

// acceptScans and acceptEnd are the parts of accept around keepRequests.
const acceptScans = `
with ` + takeRoom + `, s as (
    insert into scans (id, tenant_id, type, project, priority, archive, archive_blob, archive_data, url, options, gate, secrets, secret_options)
    select * from unnest($1::text[]::uuid[], $2::text[]::uuid[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::text[],
                         $8::bytea[], $9::text[], $10::text[], $28::text[], $29::bytea[], $30::text[])
    where not exists (select from over)
), j as (
    insert into jobs (id, tenant_id, scan_id, scan_type, priority, ordinal, plugin, max_attempts, timeout_us, max_findings, max_artifacts)
    select * from unnest($11::text[]::uuid[], $12::text[]::uuid[], $13::text[]::uuid[], $14::text[], $15::smallint[], $16::int[],
                         $17::text[], $18::int[], $19::bigint[], $26::bigint[], $27::bigint[])
    where not exists (select from over)
    returning tenant_id, plugin, scan_type, priority
), ` + keepLanes

const acceptEnd = `
select now(), exists (select from over)`

// scanRows are scans and their jobs as arrays.
type scanRows struct {
	id, tenant, kind, project []string
	priority                  []int16
	archive, url, options     []*string
	gate                      []*string
	blob                      []*string
	data                      [][]byte
	secrets                   [][]byte
	secretOptions             []*string
	jobs                      jobRows
}

type jobRows struct {
	id, tenant, scan, kind, plugin []string
	priority                       []int16
	ordinal, attempts              []int32
	timeout, findings, artifacts   []int64
}

func (r *scanRows) add(s host.Scan) {
	archive, url, options := record.Input(s)
	r.id, r.tenant = append(r.id, string(s.ID)), append(r.tenant, string(s.TenantID))
	r.kind, r.project = append(r.kind, s.Type), append(r.project, s.Project)
	r.priority = append(r.priority, int16(s.Priority.Rank()))
	r.archive, r.url, r.options = append(r.archive, archive), append(r.url, url), append(r.options, options)
	r.gate = append(r.gate, record.Gate(s))
	r.secrets, r.secretOptions = append(r.secrets, s.Secrets), append(r.secretOptions, record.SecretOptions(s))
	r.blob, r.data = append(r.blob, record.Blob(s)), append(r.data, record.ArchiveData(s))
	for i, j := range s.Jobs {
		r.jobs.id, r.jobs.tenant, r.jobs.scan = append(r.jobs.id, string(j.ID)), append(r.jobs.tenant, string(s.TenantID)), append(r.jobs.scan, string(s.ID))
		r.jobs.kind, r.jobs.priority = append(r.jobs.kind, s.Type), append(r.jobs.priority, int16(s.Priority.Rank()))
		r.jobs.ordinal, r.jobs.plugin = append(r.jobs.ordinal, int32(i)), append(r.jobs.plugin, j.Plugin)
		r.jobs.attempts, r.jobs.timeout = append(r.jobs.attempts, int32(j.MaxAttempts)), append(r.jobs.timeout, record.Micros(j.Timeout))
		r.jobs.findings, r.jobs.artifacts = append(r.jobs.findings, int64(j.Findings)), append(r.jobs.artifacts, j.Artifacts)
	}
}

// Accept implements host.ScanStore.
func (s *Store) Accept(ctx context.Context, scans []host.Scan, quotas map[host.TenantID]host.Quota) ([]host.Scan, error) {
	if len(scans) == 0 {
		return nil, nil
	}
	out, op, err := record.AllAccepted(scans)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var r scanRows
	for _, scan := range out {
		r.add(scan)
	}
	need, once := needsOf(out, quotas), requestsOf(out)
	var now time.Time
	var full, taken bool
	put := func(ctx context.Context) error {
		args := []any{r.id, r.tenant, r.kind, r.project, r.priority, r.archive, r.blob, r.data, r.url, r.options,
			r.jobs.id, r.jobs.tenant, r.jobs.scan, r.jobs.kind, r.jobs.priority, r.jobs.ordinal, r.jobs.plugin,
			r.jobs.attempts, r.jobs.timeout, need.tenant, need.storage, need.scans, need.maxStorage, need.maxQueued, need.maxDays,
			r.jobs.findings, r.jobs.artifacts, r.gate, r.secrets, r.secretOptions}
		statement := accept
		if once.any() {
			statement, args = acceptOnce, append(args, once.tenant, once.key, once.digest, once.scan, once.text)
		}
		err := s.pool.QueryRow(ctx, statement, args...).Scan(at(&now), &full)
		if taken = keyTaken(err); taken {
			return nil
		}
		return err
	}
	for range acceptTries {
		if err := s.do(ctx, op, put); err != nil {
			return nil, err
		}
		if !full && !taken {
			record.Stamp(out, now)
			s.grew(ctx, len(r.jobs.id))
			return out, nil
		}
		if once.any() {
			if err := s.repeated(ctx, op, out, once); err != nil {
				return nil, err
			}
		}
		if taken {
			continue // by what has been removed since
		}
		// Much may have been given back that the counters do not have yet.
		if err := s.shortages(ctx, op, out, quotas); err != nil {
			if errors.Is(err, host.ErrOverQuota) {
				err = fmt.Errorf("%s: %w", op, err)
			}
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: others took the room or the key, again and again: %w", op, host.ErrUnavailable)
}

// scanWithJobs takes tenant and scan: one statement, so that a scan never
// contradicts its jobs. Every scan has at least one.
const scanWithJobs = `
select ` + record.ScanColumns + `, ` + record.JobColumns + `
from scans s join jobs j on j.tenant_id = s.tenant_id and j.scan_id = s.id
where s.tenant_id = $1 and s.id = $2 and s.deletion_id is null order by j.ordinal`

func queueScan(b *pgx.Batch, t host.TenantID, id host.ScanID, out *host.Scan) {
	queueScanBy(b, scanWithJobs, t, id, out)
}

// queueScanBy is queueScan with a statement that says the same in other words: a
// plan is kept for one role.
func queueScanBy(b *pgx.Batch, statement string, t host.TenantID, id host.ScanID, out *host.Scan) {
	b.Queue(statement, string(t), string(id)).Query(func(rows pgx.Rows) error {
		*out = host.Scan{}
		var jobs []host.Job
		for rows.Next() {
			var s record.Scan
			var j record.Job
			if err := rows.Scan(append(s.Dest(at), j.Dest(at)...)...); err != nil {
				return err
			}
			scan, serr := s.Value()
			job, jerr := j.Value()
			if err := errors.Join(serr, jerr); err != nil {
				return err
			}
			*out, jobs = scan, append(jobs, job)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(jobs) == 0 {
			return host.ErrNotFound
		}
		out.Jobs = jobs
		return nil
	})
}

// Scan implements host.ScanStore.
func (s *Store) Scan(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	op := fmt.Sprintf("read scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return host.Scan{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) { queueScan(b, t, id, &scan) })
	return scan, err
}

// scans takes tenant, type, project, state ("" for any), the id to continue
// behind or null, and a limit.
const scans = `
select ` + record.ScanColumns + ` from scans s
where s.tenant_id = $1 and s.deletion_id is null
  and ($2 = '' or s.type = $2) and ($3 = '' or s.project = $3) and ($4 = '' or s.state = $4)
  and ($5::uuid is null or s.id < $5::uuid)
order by s.id desc limit $6`

// Scans implements host.ScanStore.
func (s *Store) Scans(ctx context.Context, t host.TenantID, q host.ScanQuery) (all []host.Scan, err error) {
	if !record.IsID(t) {
		return nil, nil
	}
	var after *string
	if q.After != "" {
		if !record.IsID(q.After) {
			return nil, fmt.Errorf("list scans: cursor %.64q is not a UUID: %w", string(q.After), host.ErrInvalid)
		}
		after = new(string(q.After))
	}
	err = s.tenantRead(ctx, "list scans", t, func(b *pgx.Batch) {
		b.Queue(scans, string(t), record.Clean(q.Type), record.Clean(q.Project), record.Clean(string(q.State)), after, record.Limit(q.Limit, 50, 500)).
			Query(func(rows pgx.Rows) (err error) {
				all, err = pgx.CollectRows(rows, toScan)
				return err
			})
	})
	return all, err
}

// leaveQueue takes tenant and scan, which is locked. Of one that has not started
// every job is queued, so it ends now.
const leaveQueue = `
insert into quota_ledger (tenant_id, reason, queued)
select tenant_id, 'cancel', -1 from scans where tenant_id = $1 and id = $2 and started_at is null and finished_at is null`

// Cancel implements host.ScanStore.
func (s *Store) Cancel(ctx context.Context, t host.TenantID, id host.ScanID) (scan host.Scan, err error) {
	op := fmt.Sprintf("cancel scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return host.Scan{}, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantBatch(ctx, op, t, func(b *pgx.Batch) {
		queueCancel(b, string(t), string(id))
		queueScan(b, t, id, &scan)
	})
	switch {
	case err != nil:
		return host.Scan{}, err
	case scan.State.Final() && scan.State != host.StateCanceled:
		return host.Scan{}, fmt.Errorf("%s: it is %s: %w", op, scan.State, host.ErrConflict)
	}
	return scan, nil
}

// queueCancel asks for a scan's end, whoever may see it.
func queueCancel(b *pgx.Batch, tenant, scan string) {
	b.Queue(`select 1 from scans where tenant_id = $1 and id = $2 for no key update`, tenant, scan)
	b.Queue(leaveQueue, tenant, scan)
	b.Queue(`update scans set cancel_requested_at = coalesce(cancel_requested_at, now())
		where tenant_id = $1 and id = $2 and state in ('queued', 'running')`, tenant, scan)
	b.Queue(`update jobs set state = 'canceled', finished_at = now(), dispatched_at = null
		where id = any(array(select id from jobs where tenant_id = $1 and scan_id = $2 and state = 'queued'
		             order by id for no key update))`, tenant, scan)
	b.Queue(deriveScans+`(select id from scans where tenant_id = $1 and id = $2)`+deriveEnd, tenant, scan)
}
