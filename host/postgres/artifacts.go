package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// artifactRows are artifacts as arrays, each with the place of its lease.
type artifactRows struct {
	lease                            []int32
	id, name, mediaType, sha256, key []string
	size                             []int64
}

func (r *artifactRows) add(lease int, all []host.Artifact) {
	for _, a := range all {
		r.lease, r.size = append(r.lease, int32(lease)), append(r.size, a.Size)
		r.id, r.name, r.mediaType = append(r.id, string(a.ID)), append(r.name, a.Name), append(r.mediaType, a.MediaType)
		r.sha256, r.key = append(r.sha256, record.Clean(a.SHA256)), append(r.key, string(a.Blob))
	}
}

// insertArtifacts takes the leases ($1 job, $2 epoch, $3 id) and the artifacts
// ($4 place of its lease, from 1; $5-$10 columns), and comes before the statement
// that ends the attempts: it stores those of the leases that are held. The scans
// are locked already.
const insertArtifacts = `
insert into artifacts (id, tenant_id, scan_id, job_id, name, media_type, size, sha256, blob)
select a.id, j.tenant_id, j.scan_id, j.id, a.name, a.media_type, a.size, a.sha256, a.blob
from unnest($1::text[]::uuid[], $2::bigint[], $3::text[]::uuid[]) with ordinality as l (job, epoch, lease, n)
join jobs j on j.id = l.job and j.lease_epoch = l.epoch and j.lease_id = l.lease
join unnest($4::int[], $5::text[]::uuid[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[])
    as a (n, id, name, media_type, size, sha256, blob) on a.n = l.n`

func (r *artifactRows) args(l leaseRows) []any {
	return []any{l.job, l.epoch, l.id, r.lease, r.id, r.name, r.mediaType, r.size, r.sha256, r.key}
}

// artifacts takes tenant and scan.
const artifacts = `
select ` + record.ArtifactColumns + `
from artifacts a join jobs j on j.id = a.job_id
where a.scan_id = $2 and a.tenant_id = $1 order by j.ordinal, a.name`

// Artifacts implements host.ScanStore.
func (s *Store) Artifacts(ctx context.Context, t host.TenantID, id host.ScanID) (all []host.Artifact, err error) {
	op := fmt.Sprintf("list artifacts of scan %.64q", string(id))
	if !record.IsID(t) || !record.IsID(id) {
		return nil, fmt.Errorf("%s: %w", op, host.ErrNotFound)
	}
	err = s.tenantRead(ctx, op, t, func(b *pgx.Batch) {
		b.Queue(shownScan, string(t), string(id)).QueryRow(func(row pgx.Row) error {
			var one int
			return row.Scan(&one)
		})
		b.Queue(artifacts, string(t), string(id)).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a host.Artifact, err error) {
				err = row.Scan(record.ArtifactDest(&a, at)...)
				return a, err
			})
			return err
		})
	})
	return all, err
}

// artifactsOf takes scan ids.
const artifactsOf = `select blob, size from artifacts where scan_id = any($1::text[]::uuid[]) order by blob`

// blobsOfArtifacts are the blobs that go with the scans.
func blobsOfArtifacts(ctx context.Context, tx pgx.Tx, scans []string) (all []host.Artifact, err error) {
	rows, err := tx.Query(ctx, artifactsOf, scans)
	if err != nil {
		return nil, err
	}
	var a host.Artifact
	_, err = pgx.ForEachRow(rows, []any{&a.Blob, &a.Size}, func() error {
		all = append(all, a)
		return nil
	})
	return all, err
}
