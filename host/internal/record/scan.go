package record

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// AtFunc gives a store's scanner of a time that may be null.
type AtFunc func(*time.Time) any

// ScanColumns are those of scans s that Scan takes.
const ScanColumns = `s.id, s.tenant_id, s.type, s.project, s.priority, s.archive, s.url, s.options, s.state,
	s.created_at, s.started_at, s.finished_at, s.cancel_requested_at, s.archive_removed_at,
	s.critical, s.high, s.medium, s.low, s.info, s.unknown, s.gate, s.secret_options`

// Scan is a row of ScanColumns.
type Scan struct {
	scan                  host.Scan
	priority              int
	archive, url, options *string
	removed               time.Time // the archive
	gate, secretOptions   *string
}

// Dest is where to scan the row.
func (r *Scan) Dest(at AtFunc) []any {
	s := &r.scan
	return append([]any{&s.ID, &s.TenantID, &s.Type, &s.Project, &r.priority, &r.archive, &r.url, &r.options, &s.State,
		at(&s.CreatedAt), at(&s.StartedAt), at(&s.FinishedAt), at(&s.CancelRequestedAt), at(&r.removed)}, append(counts(&s.Counts), &r.gate, &r.secretOptions)...)
}

// Value is what was scanned, without jobs.
func (r *Scan) Value() (host.Scan, error) {
	r.scan.Priority = host.Priorities()[r.priority] // the column is within 0 and 2
	if r.url != nil {
		r.scan.Input.URL = *r.url
	}
	if r.options != nil {
		r.scan.Options = json.RawMessage(*r.options)
	}
	if r.gate != nil {
		r.scan.Gate = &host.Gate{}
		if err := decode("gate", r.gate, r.scan.Gate); err != nil {
			return r.scan, err
		}
	}
	if r.secretOptions != nil {
		if err := decode("secret options", r.secretOptions, &r.scan.SecretOptions); err != nil {
			return r.scan, err
		}
	}
	if r.archive != nil {
		r.scan.Input.Archive = &host.Archive{RemovedAt: r.removed}
	}
	return r.scan, decode("archive", r.archive, r.scan.Input.Archive)
}

func counts(c *host.Counts) []any {
	return []any{&c.Critical, &c.High, &c.Medium, &c.Low, &c.Info, &c.Unknown}
}

// Input gives the columns of a scan's target and options.
func Input(s host.Scan) (archive, url, options *string) {
	if s.Input.Archive != nil {
		archive = new(Encode(s.Input.Archive))
	} else {
		url = &s.Input.URL
	}
	if s.Options != nil {
		options = new(string(s.Options))
	}
	return archive, url, options
}

// Gate is the column of what the request says of the gate; nil is null.
func Gate(s host.Scan) *string {
	if s.Gate == nil {
		return nil
	}
	return new(Encode(s.Gate))
}

// SecretOptions is the column of the names of a scan's secret options; nil is
// null: it has none.
func SecretOptions(s host.Scan) *string {
	if s.SecretOptions == nil {
		return nil
	}
	return new(Encode(s.SecretOptions))
}

// Blob is the column of the blob that a scan needs; nil is null: it needs none.
func Blob(s host.Scan) *string {
	if a := s.Input.Archive; a != nil && a.Blob != "" {
		return new(string(a.Blob))
	}
	return nil
}

// Accepted gives the scan as it will be read back, but for its times, and
// refuses what no later step could handle.
func Accepted(in host.Scan) (host.Scan, error) {
	a := in.Input.Archive
	switch {
	case len(in.Jobs) == 0:
		return in, fmt.Errorf("a scan needs at least one job: %w", host.ErrInvalid)
	case (a == nil) == (in.Input.URL == ""):
		return in, fmt.Errorf("a scan needs either an archive or a URL: %w", host.ErrInvalid)
	case in.Priority != "" && !in.Priority.Valid():
		return in, fmt.Errorf("priority %.32q: %w", string(in.Priority), host.ErrInvalid)
	case in.Gate != nil && in.Gate.Check() != nil:
		return in, in.Gate.Check()
	case in.Options != nil && !json.Valid(in.Options):
		return in, fmt.Errorf("the options are not JSON: %w", host.ErrInvalid)
	case (in.Secrets == nil) != (len(in.SecretOptions) == 0):
		return in, fmt.Errorf("secret options need a box and names: %w", host.ErrInvalid)
	case !IsID(in.ID):
		return in, fmt.Errorf("scan id %.64q is not a UUID: %w", string(in.ID), host.ErrInvalid)
	case !IsID(in.TenantID):
		return in, fmt.Errorf("tenant %.64q: %w", string(in.TenantID), host.ErrNotFound)
	}
	out := host.Scan{ID: in.ID, TenantID: in.TenantID, Type: Clean(in.Type), Project: Clean(in.Project),
		Priority: host.Priorities()[in.Priority.Rank()], Input: host.Input{URL: Clean(in.Input.URL)}, State: host.StateQueued, Once: in.Once, Secrets: in.Secrets}
	if in.Gate != nil {
		out.Gate = new(*in.Gate)
	}
	if in.Options != nil {
		out.Options = json.RawMessage(Clean(string(in.Options)))
	}
	for _, name := range in.SecretOptions {
		out.SecretOptions = append(out.SecretOptions, Clean(name))
	}
	if a != nil {
		c := *a
		c.Blob, c.Filename = host.BlobKey(Clean(string(a.Blob))), Clean(a.Filename)
		c.Format, c.SHA256, c.RemovedAt = Clean(a.Format), Clean(a.SHA256), time.Time{}
		out.Input.Archive = &c
	}
	for _, j := range in.Jobs {
		if !IsID(j.ID) || j.Plugin == "" || j.MaxAttempts < 1 || j.Timeout < time.Microsecond {
			return in, fmt.Errorf("job %.64q needs a UUID, a plugin, at least one attempt and a timeout: %w", string(j.ID), host.ErrInvalid)
		}
		out.Jobs = append(out.Jobs, host.Job{ID: j.ID, ScanID: in.ID, TenantID: in.TenantID, Plugin: Clean(j.Plugin),
			State: host.StateQueued, MaxAttempts: j.MaxAttempts, Timeout: j.Timeout.Truncate(time.Microsecond),
			Findings: max(j.Findings, 0), Artifacts: max(j.Artifacts, 0)})
	}
	return out, nil
}

// AllAccepted is Accepted for each of scans, and what to call the operation.
func AllAccepted(scans []host.Scan) (out []host.Scan, op string, err error) {
	op = fmt.Sprintf("accept scan %.64q", string(scans[0].ID))
	if len(scans) > 1 {
		op = fmt.Sprintf("accept %d scans", len(scans))
	}
	out = make([]host.Scan, len(scans))
	for i, s := range scans {
		if out[i], err = Accepted(s); err != nil {
			return nil, op, err
		}
	}
	if err := checkOnce(out); err != nil {
		return nil, op, err
	}
	return out, op, nil
}

// Stamp makes accepted scans what is read back of them: they were accepted now,
// their archive's data and their secrets show only in a claim, and what they were asked for by
// nowhere.
func Stamp(scans []host.Scan, now time.Time) {
	for i := range scans {
		if a := scans[i].Input.Archive; a != nil {
			a.Data = nil
		}
		scans[i].CreatedAt, scans[i].Once, scans[i].Secrets = now, nil, nil
		for k := range scans[i].Jobs {
			scans[i].Jobs[k].CreatedAt, scans[i].Jobs[k].RunAt = now, now
		}
	}
}

// ArchiveData is the archive when the store keeps it; nil when the blob store
// does.
func ArchiveData(s host.Scan) []byte {
	if a := s.Input.Archive; a != nil && len(a.Data) > 0 {
		return a.Data
	}
	return nil
}
