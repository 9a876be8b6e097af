package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/record"
)

// addArtifacts stores the artifacts of a leased job that delivers.
func (tx tx) addArtifacts(ctx context.Context, j leased, all []host.Artifact) error {
	for _, a := range all {
		_, err := tx.ExecContext(ctx, `insert into artifacts (id, tenant_id, scan_id, job_id, name, media_type, size, sha256, blob, created_at)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			string(a.ID), string(j.tenant), string(j.scan), string(j.id), a.Name, a.MediaType, a.Size, record.Clean(a.SHA256), string(a.Blob), tx.now)
		if err != nil {
			return err
		}
	}
	return nil
}

const artifacts = `
select ` + record.ArtifactColumns + `
from artifacts a join jobs j on j.id = a.job_id
where a.scan_id = ?2 and a.tenant_id = ?1 order by j.ordinal, a.name`

// Artifacts implements host.ScanStore.
func (s *Store) Artifacts(ctx context.Context, t host.TenantID, id host.ScanID) (all []host.Artifact, err error) {
	var one int
	err = s.readers.QueryRowContext(ctx, shownScan, string(t), string(id)).Scan(&one)
	if err == nil {
		err = rows(ctx, s.readers, func(r *sql.Rows) error {
			var a host.Artifact
			err := r.Scan(record.ArtifactDest(&a, at)...)
			all = append(all, a)
			return err
		}, artifacts, string(t), string(id))
	}
	if err != nil {
		return nil, translate(ctx, fmt.Sprintf("list artifacts of scan %.64q", string(id)), err)
	}
	return all, nil
}

// blobsOfArtifacts are the blobs that go with the scans.
func (tx tx) blobsOfArtifacts(ctx context.Context, scans []string) (out []host.Artifact, err error) {
	err = rows(ctx, tx, func(r *sql.Rows) error {
		var a host.Artifact
		err := r.Scan(&a.Blob, &a.Size)
		out = append(out, a)
		return err
	}, `select blob, size from artifacts where scan_id in (select value from json_each(?)) order by blob`, list(scans))
	return out, err
}
