package record

import (
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// ArtifactColumns are those of artifacts a with their jobs j that Artifact takes.
const ArtifactColumns = `a.id, a.scan_id, a.job_id, j.plugin, a.name, a.media_type, a.size, a.sha256, a.blob, a.created_at`

// ArtifactDest is where to scan a row of ArtifactColumns.
func ArtifactDest(a *host.Artifact, at AtFunc) []any {
	return []any{&a.ID, &a.ScanID, &a.JobID, &a.Plugin, &a.Name, &a.MediaType, &a.Size, &a.SHA256, &a.Blob, at(&a.CreatedAt)}
}

// checkArtifacts refuses what the dispatcher must never send: the executor has
// checked each artifact when it took it.
func checkArtifacts(o host.Outcome) error {
	if len(o.Artifacts) > host.MaxArtifacts {
		return fmt.Errorf("job %.64q has %d artifacts, at most %d: %w", string(o.Lease.Job), len(o.Artifacts), host.MaxArtifacts, host.ErrInvalid)
	}
	names := make(map[string]bool, len(o.Artifacts))
	for _, a := range o.Artifacts {
		if !IsID(a.ID) || !host.ValidArtifactName(a.Name) || !host.ValidMediaType(a.MediaType) || a.Blob == "" || a.Size < 0 || names[a.Name] {
			return fmt.Errorf("job %.64q has the artifact %.140q of the type %.140q, which is twice there or not well-formed: %w",
				string(o.Lease.Job), a.Name, a.MediaType, host.ErrInvalid)
		}
		names[a.Name] = true
	}
	return nil
}
