package client

import (
	"context"
	"time"
)

// Usage is what the tenant's plan allows, and what of it is used.
type Usage struct {
	Plan   string     `json:"plan"`
	Quotas []Quota    `json:"quotas"`
	Limits PlanLimits `json:"limits"`
}

// Quota is what a tenant holds of something that its plan bounds.
type Quota struct {
	Name     string     `json:"name" doc:"As the problem quota_exceeded names it: storage_quota, scans_per_day, queued_scans."`
	Unit     string     `json:"unit" enum:"bytes,scans"`
	Used     int64      `json:"used"`
	Limit    *int64     `json:"limit,omitempty" doc:"Left out: any number."`
	ResetsAt *time.Time `json:"resets_at,omitempty" doc:"When used begins at 0 again; left out when only what is given back counts."`
}

// PlanLimits are what one request or one scan may be. What is left out is not
// limited.
type PlanLimits struct {
	RequestRate    *Rate `json:"request_rate,omitempty" doc:"Of all requests."`
	UploadRate     *Rate `json:"upload_rate,omitempty" doc:"Of requests that create scans."`
	ArchiveSize    int64 `json:"archive_size,omitempty" doc:"Bytes of one archive, as uploaded."`
	UnpackedSize   int64 `json:"unpacked_size,omitempty" doc:"Bytes of everything in one archive, unpacked."`
	ConcurrentJobs int   `json:"concurrent_jobs,omitempty" doc:"Jobs that run at once."`
	Findings       int   `json:"findings,omitempty" doc:"Of one job."`
	Artifacts      int64 `json:"artifacts,omitempty" doc:"Bytes of the artifacts of one job together."`

	RetentionSeconds int64 `json:"retention_seconds,omitempty" doc:"How long a scan is kept after it ended, with its findings. Left out: until somebody removes it."`
}

// Rate is how often something may happen.
type Rate struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
}

// Usage asks what the plan allows and what of it is used.
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	_, err := c.get(ctx, "/usage", nil, &u)
	return u, err
}
