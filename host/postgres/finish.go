package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// deriveScans and deriveEnd enclose a list or subquery of scan ids. It is
// host.DeriveState in SQL, and the sums; the caller holds the scans' locks.
// Scans that would not change are not written. Those that end with it lose their
// secrets, and are told to their tenants' webhooks.
const (
	deriveScans = `
with d as materialized (
    select scan_id, case
            when bool_and(state = 'queued') then 'queued'
            when bool_or(state in ('queued', 'running')) then 'running'
            when bool_or(state = 'canceled') then 'canceled'
            when bool_and(state = 'succeeded') then 'succeeded'
            when bool_and(state = 'timed_out') then 'timed_out'
            when bool_and(state not in ('succeeded', 'partial')) then 'failed'
            else 'partial'
        end as state,
        sum(critical) as critical, sum(high) as high, sum(medium) as medium,
        sum(low) as low, sum(info) as info, sum(unknown) as unknown
    from jobs where scan_id = any(array`
	deriveEnd = `) group by scan_id
), derived as (
    update scans s set state = d.state,
        finished_at = case when d.state in ('queued', 'running') then null else coalesce(s.finished_at, now()) end,
        secrets = case when d.state in ('queued', 'running') then s.secrets end,
        critical = d.critical, high = d.high, medium = d.medium, low = d.low, info = d.info, unknown = d.unknown
    from d where s.id = d.scan_id
        and (s.state, s.critical, s.high, s.medium, s.low, s.info, s.unknown)
            is distinct from (d.state, d.critical, d.high, d.medium, d.low, d.info, d.unknown)
    returning s.id, s.tenant_id, s.type, s.project, s.state, s.created_at, s.finished_at,
        s.critical, s.high, s.medium, s.low, s.info, s.unknown, s.deletion_id
)` + tellWebhooks
)

// dropStale takes job ids and removes the findings of those that are not
// running, but for their result. A job whose result is of its first epoch has
// no others, and most are such.
const dropStale = `
delete from findings f using jobs j
where j.id = any($1::text[]::uuid[]) and j.lease_id is null and j.result_epoch is distinct from 1
  and f.scan_id = j.scan_id and f.job_id = j.id and f.lease_epoch is distinct from j.result_epoch
  and f.scan_id = any(array(select scan_id from jobs where id = any($1::text[]::uuid[]) and lease_id is null and result_epoch is distinct from 1))`

// queueSettle puts what follows a change of these jobs' states.
func queueSettle(b *pgx.Batch, jobs []string) {
	b.Queue(dropStale, jobs)
	queueDerive(b, jobs)
}

func queueDerive(b *pgx.Batch, jobs []string) {
	b.Queue(deriveScans+`(select scan_id from jobs where id = any($1::text[]::uuid[]))`+deriveEnd, jobs)
}

// finish takes, as arrays, leases ($1-$3), states, errors, whether it crashed,
// progress ("" keeps the last), the retry's delay in microseconds and whether
// the attempt is given back, whether a job that fails is a dead letter, and
// remarks (null for none, as for all that delivers nothing). It returns the jobs it changed. A retry becomes canceled when that was asked for,
// and failed when nothing is left to try: the dispatcher decides the same, and
// here it cannot be wrong.
const finish = heldOutcomes + `
` + endHeld + `
returning j.id, j.lease_epoch`

// finishNoting is finish with a row of history for each attempt that delivers
// nothing.
const finishNoting = heldOutcomes + `, ended as (
` + endHeld + `
returning j.id, j.scan_id, j.tenant_id, j.lease_epoch, j.state,
    h.tried, h.owner, h.began, h.crashed, h.release, h.error
), noted as (
    insert into attempts (scan_id, tenant_id, job_id, lease_epoch, attempt, owner, started_at, state, crashed, released, error)
    select scan_id, tenant_id, id, lease_epoch, tried, owner, began, state, crashed, release, error
    from ended where state not in ('succeeded', 'partial')
)
select id, lease_epoch from ended`

const heldOutcomes = `
with held as (
    select j.id, j.scan_id, j.lease_epoch, o.error, o.crashed, o.progress, o.delay, o.release, o.dead, o.remarks,
        j.attempt as tried, j.lease_owner as owner, coalesce(j.claimed_at, j.started_at) as began, case
            when o.state <> 'queued' then o.state
            when s.cancel_requested_at is not null then 'canceled'
            when not o.release and (j.attempt >= j.max_attempts or j.crashes + o.crashed::int >= ` + crashLimit + `) then 'failed'
            else 'queued'
        end as state
    from unnest($1::text[]::uuid[], $2::bigint[], $3::text[]::uuid[], $4::text[], $5::text[], $6::bool[],
                $7::text[], $8::bigint[], $9::bool[], $10::bool[], $11::text[])
        as o (job, epoch, lease, state, error, crashed, progress, delay, release, dead, remarks)
    join jobs j on j.id = o.job and j.lease_epoch = o.epoch and j.lease_id = o.lease
    join scans s on s.id = j.scan_id
    order by j.id for no key update of j
)`

const endHeld = `update jobs j set state = h.state,
    attempt = j.attempt - h.release::int,
    -- A job whose first attempt is given back has not begun: the time in which
    -- no host is there to run it is not its own.
    started_at = case when h.release and h.state = 'queued' and j.attempt = 1 then null else j.started_at end,
    deadline_at = case when h.release and h.state = 'queued' and j.attempt = 1 then null else j.deadline_at end,
    crashes = j.crashes + h.crashed::int,
    progress = coalesce(nullif(h.progress, ''), j.progress),
    error = case when h.release then coalesce(h.error, j.error) else h.error end,
    lease_id = null, lease_owner = null, lease_expires_at = null, dispatched_at = null,
    run_at = case when h.state = 'queued' then now() + h.delay * interval '1 microsecond' else j.run_at end,
    finished_at = case when h.state = 'queued' then null else now() end,
    result_epoch = case when h.state in ('succeeded', 'partial') then j.lease_epoch end,
    dead_at = case when h.state = 'failed' and h.dead then now() end,
    remarks = h.remarks,
    critical = c.critical, high = c.high, medium = c.medium, low = c.low, info = c.info, unknown = c.unknown
from held h cross join lateral (
    select count(*) filter (where f.severity = 0) as critical, count(*) filter (where f.severity = 1) as high,
           count(*) filter (where f.severity = 2) as medium, count(*) filter (where f.severity = 3) as low,
           count(*) filter (where f.severity = 4) as info, count(*) filter (where f.severity = 5) as unknown
    from findings f
    where h.state in ('succeeded', 'partial')
      and f.scan_id = h.scan_id and f.job_id = h.id and f.lease_epoch = h.lease_epoch
) c
where j.id = h.id`

// outcomeRows are outcomes as arrays.
type outcomeRows struct {
	leases           leaseRows
	findings         findingRows
	artifacts        artifactRows
	state, progress  []string
	fault, remarks   []*string
	crashed, release []bool
	dead             []bool
	delay            []int64
	noting           bool // an attempt delivers nothing
	stale            bool // there may be findings that are no result
}

func outcomesOf(outcomes []host.Outcome) (r outcomeRows) {
	seen := map[host.Lease]bool{}
	for _, o := range outcomes {
		if !r.leases.add(o.Lease, seen) {
			continue
		}
		progress, retry := "", o.State == host.StateQueued
		if o.Progress != (host.Progress{}) {
			progress = record.Progress(o.Progress)
		}
		if record.Delivers(o.State) {
			r.findings.add(len(r.leases.job), o.Findings)
			r.artifacts.add(len(r.leases.job), o.Artifacts)
		}
		r.state, r.progress, r.fault = append(r.state, string(o.State)), append(r.progress, progress), append(r.fault, record.JobError(o.Error))
		r.remarks = append(r.remarks, record.Remarks(o))
		r.crashed, r.release = append(r.crashed, o.Crashed), append(r.release, retry && o.Release)
		r.dead, r.noting = append(r.dead, retry || o.Dead), r.noting || !record.Delivers(o.State)
		r.stale = r.stale || !record.Delivers(o.State) || o.Lease.Epoch > 1
		r.delay = append(r.delay, max(0, record.Micros(o.RetryAfter)))
	}
	return r
}

// statement keeps history only where there is some: the way of a job that
// succeeds does not touch that table.
func (r outcomeRows) statement() string {
	if r.noting {
		return finishNoting
	}
	return finish
}

// Finish implements host.JobStore. An outcome that comes twice counts once;
// the second is lost. Findings of an attempt that delivers nothing are dropped.
func (s *Store) Finish(ctx context.Context, outcomes []host.Outcome) (lost []host.Lease, err error) {
	op := fmt.Sprintf("finish %d jobs", len(outcomes))
	if err := record.CheckOutcomes(outcomes); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	r := outcomesOf(outcomes)
	type key struct {
		job   host.JobID
		epoch int64
	}
	var stored map[key]bool
	if l := r.leases; len(l.job) > 0 {
		err = s.batch(ctx, op, func(b *pgx.Batch) {
			stored = map[key]bool{}
			b.Queue(lockScans, l.job)
			if len(r.findings.id) > 0 {
				b.Queue(insertFindings, r.findings.args(l)...)
			}
			if len(r.artifacts.id) > 0 {
				b.Queue(insertArtifacts, r.artifacts.args(l)...)
			}
			b.Queue(r.statement(), l.job, l.epoch, l.id, r.state, r.fault, r.crashed, r.progress, r.delay, r.release, r.dead, r.remarks).
				Query(func(rows pgx.Rows) error {
					var k key
					_, err := pgx.ForEachRow(rows, []any{&k.job, &k.epoch}, func() error { stored[k] = true; return nil })
					return err
				})
			if r.stale {
				queueSettle(b, l.job)
			} else {
				queueDerive(b, l.job)
			}
			if r.noting {
				b.Queue(trimHistory, l.job, host.MaxHistory)
			}
		})
		if err != nil {
			return nil, err
		}
		s.grew(ctx, len(r.findings.id))
	}
	sent := map[host.Lease]bool{}
	for i, l := range r.leases.job {
		lease := host.Lease{Job: host.JobID(l), Epoch: r.leases.epoch[i], ID: r.leases.id[i]}
		sent[lease] = stored[key{lease.Job, lease.Epoch}]
	}
	for _, o := range outcomes {
		if !sent[o.Lease] {
			lost = append(lost, o.Lease)
		}
		sent[o.Lease] = false // a second one with the same lease
	}
	return lost, nil
}
