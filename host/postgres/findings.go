package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// findingRows are findings as arrays, each with the place of its lease.
type findingRows struct {
	lease                                             []int32
	id, ruleID, fingerprint, title, message, moreJSON []string
	severity                                          []int16
	spot, first, last                                 []*int64
}

func (r *findingRows) add(lease int, batch []host.Finding) {
	for _, f := range batch {
		if !record.IsID(f.ID) {
			f.ID = host.NewFindingID()
		}
		r.lease = append(r.lease, int32(lease))
		r.id = append(r.id, string(f.ID))
		r.severity = append(r.severity, int16(f.Severity.Rank()))
		r.ruleID = append(r.ruleID, record.Clean(f.RuleID))
		r.fingerprint = append(r.fingerprint, record.Clean(f.Fingerprint))
		r.title = append(r.title, record.Clean(f.Title))
		r.message = append(r.message, record.Clean(f.Message))
		r.moreJSON = append(r.moreJSON, record.Detail(f))
		spot := record.SpotOf(f)
		r.spot, r.first, r.last = append(r.spot, spot.Key), append(r.first, spot.First), append(r.last, spot.Last)
	}
}

// leaseRows are leases as arrays.
type leaseRows struct {
	job   []string
	epoch []int64
	id    []string
}

// add takes a lease unless it cannot exist, or is there already.
func (r *leaseRows) add(l host.Lease, seen map[host.Lease]bool) bool {
	if seen[l] || !record.IsID(l.Job) || !record.IsID(l.ID) {
		return false
	}
	seen[l] = true
	r.job, r.epoch, r.id = append(r.job, string(l.Job)), append(r.epoch, l.Epoch), append(r.id, l.ID)
	return true
}

// insertFindings takes the leases ($1 job, $2 epoch, $3 id) and the findings
// ($4 place of its lease, from 1; $5-$14 columns). It locks the leased jobs by
// id, stores the findings of the leases that are held, and returns how many
// are. A spot is kept, and indexed, only where another job of the scan may have
// found something at it. Findings that are there already stay: the caller may send a batch again
// whose answer it did not get.
const insertFindings = `
with held as (
    select l.n, j.tenant_id, j.scan_id, j.id, j.lease_epoch,
        exists (select 1 from jobs o where o.scan_id = j.scan_id and o.tenant_id = j.tenant_id and o.id <> j.id) as several
    from unnest($1::text[]::uuid[], $2::bigint[], $3::text[]::uuid[]) with ordinality as l (job, epoch, lease, n)
    join jobs j on j.id = l.job and j.lease_epoch = l.epoch and j.lease_id = l.lease
    order by j.id for no key update of j
), put as (
    insert into findings (id, tenant_id, scan_id, job_id, lease_epoch,
                          severity, rule_id, fingerprint, title, message, detail, spot, first_line, last_line)
    select f.id, h.tenant_id, h.scan_id, h.id, h.lease_epoch,
           f.severity, f.rule_id, f.fingerprint, f.title, f.message, f.detail,
           case when h.several then f.spot end, case when h.several then f.first_line end, case when h.several then f.last_line end
    from held h
    join unnest($4::int[], $5::text[]::uuid[], $6::smallint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                $12::bigint[], $13::int[], $14::int[])
        as f (n, id, severity, rule_id, fingerprint, title, message, detail, spot, first_line, last_line) on f.n = h.n
    on conflict (scan_id, severity, id) do nothing
)
select count(*) from held`

func (r *findingRows) args(l leaseRows) []any {
	return []any{l.job, l.epoch, l.id, r.lease, r.id, r.severity, r.ruleID, r.fingerprint, r.title, r.message, r.moreJSON, r.spot, r.first, r.last}
}

// AddFindings implements host.JobStore.
func (s *Store) AddFindings(ctx context.Context, l host.Lease, batch []host.Finding) error {
	op := fmt.Sprintf("keep findings of job %.64q", string(l.Job))
	var leases leaseRows
	if !leases.add(l, map[host.Lease]bool{}) {
		return fmt.Errorf("%s: %w", op, host.ErrLeaseLost)
	}
	var rows findingRows
	rows.add(1, batch)
	return s.do(ctx, op, func(ctx context.Context) error {
		var held int
		if err := s.pool.QueryRow(ctx, insertFindings, rows.args(leases)...).Scan(&held); err != nil {
			return err
		}
		if held == 0 {
			return host.ErrLeaseLost
		}
		s.grew(ctx, len(rows.id))
		return nil
	})
}

// findings takes tenant, scan, the only rank or null, the rank and id to
// continue behind (-1 and the least id: from the start), a limit, and the only
// plugin or "".
const findings = `
select now(), ` + record.ObservedColumns + `
from findings f
join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
left join observations o on o.scan_id = f.scan_id and o.severity = f.severity and o.finding_id = f.id
left join project_findings k on k.id = o.project_finding_id
where f.scan_id = $2 and f.tenant_id = $1
  and ($3::smallint is null or f.severity = $3::smallint)
  and ($7::text = '' or j.plugin = $7::text)
  and (f.severity, f.id) > ($4::smallint, $5::uuid)
order by f.severity, f.id limit $6`

// host.SpotReach, host.SpotLook and host.MaxOthers in SQL.
const (
	spotReach = "100"
	spotLook  = "256"
	maxOthers = "8"
)

// others takes what findings does, and gives for each of these that has any the
// findings of other plugins at its spot.
const others = `
with page as (
    select f.id, f.severity, f.job_id, f.spot, f.first_line, f.last_line
    from findings f join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
    where f.scan_id = $2 and f.tenant_id = $1
      and ($3::smallint is null or f.severity = $3::smallint)
      and ($7::text = '' or j.plugin = $7::text)
      and (f.severity, f.id) > ($4::smallint, $5::uuid)
      and (select count(*) > 1 from jobs where scan_id = $2 and tenant_id = $1)
    order by f.severity, f.id limit $6
)
select p.id, o.plugin, o.rule_id, o.id
from page p cross join lateral (
    select c.id, c.rule_id, j.plugin
    from (
        select id, job_id, lease_epoch, rule_id, last_line from findings
        where scan_id = $2 and spot = p.spot and first_line between p.first_line - ` + spotReach + ` and p.last_line
        order by first_line limit ` + spotLook + `
    ) c join jobs j on j.id = c.job_id and j.result_epoch = c.lease_epoch
    where c.job_id <> p.job_id and c.last_line >= p.first_line
    limit ` + maxOthers + `
) o
where p.spot is not null`

// shownScan takes tenant and scan, and has a row when the tenant sees that.
const shownScan = `select 1 from scans where tenant_id = $1 and id = $2 and deletion_id is null`

// Findings implements host.ScanStore.
func (s *Store) Findings(ctx context.Context, t host.TenantID, id host.ScanID, q host.FindingQuery) (all []host.Finding, err error) {
	op := fmt.Sprintf("list findings of scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	after, err := record.Behind(q.After)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var only *int16
	if q.Severity != "" {
		only = new(int16(q.Severity.Rank()))
	}
	args := []any{string(t), string(id), only, int16(after.Rank), string(after.ID), record.Limit(q.Limit, 100, 1000), record.Clean(q.Plugin)}
	also := record.Others{}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(shownScan, string(t), string(id)).QueryRow(func(row pgx.Row) error {
			var one int
			return row.Scan(&one)
		})
		b.Queue(findings, args...).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, toFinding)
			return err
		})
		b.Queue(others, args...).Query(func(rows pgx.Rows) error {
			clear(also) // of a try before
			var of host.FindingID
			var o host.Other
			_, err := pgx.ForEachRow(rows, []any{&of, &o.Plugin, &o.RuleID, &o.ID}, func() error {
				also[of] = append(also[of], o)
				return nil
			})
			return err
		})
	})
	also.Fill(all)
	return all, err
}

func toFinding(row pgx.CollectableRow) (host.Finding, error) {
	var r record.Finding
	var now time.Time
	if err := row.Scan(append([]any{at(&now)}, r.Observe().Dest(at)...)...); err != nil {
		return host.Finding{}, err
	}
	return r.Value(now)
}
