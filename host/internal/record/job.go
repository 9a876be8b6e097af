package record

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
)

// JobColumns are those of jobs j that Job takes.
const JobColumns = `j.id, j.scan_id, j.tenant_id, j.plugin, j.state, j.attempt, j.max_attempts, j.crashes,
	j.timeout_us, j.max_findings, j.max_artifacts, j.progress, j.error, j.remarks, j.created_at, j.run_at, j.started_at, j.deadline_at, j.finished_at,
	j.critical, j.high, j.medium, j.low, j.info, j.unknown`

// Job is a row of JobColumns.
type Job struct {
	job             host.Job
	timeout         int64
	progress, fault *string
	remarks         *string
}

// Dest is where to scan the row.
func (r *Job) Dest(at AtFunc) []any {
	j := &r.job
	return append([]any{&j.ID, &j.ScanID, &j.TenantID, &j.Plugin, &j.State, &j.Attempt, &j.MaxAttempts, &j.Crashes,
		&r.timeout, &j.Findings, &j.Artifacts, &r.progress, &r.fault, &r.remarks,
		at(&j.CreatedAt), at(&j.RunAt), at(&j.StartedAt), at(&j.DeadlineAt), at(&j.FinishedAt)}, counts(&j.Counts)...)
}

// Value is what was scanned.
func (r *Job) Value() (host.Job, error) {
	r.job.Timeout = time.Duration(r.timeout) * time.Microsecond
	if r.fault != nil {
		r.job.Error = &host.JobError{}
	}
	err := errors.Join(decode("progress", r.progress, &r.job.Progress), decode("error", r.fault, r.job.Error))
	if r.remarks != nil {
		err = errors.Join(err, decode("remarks", r.remarks, &r.job.Remarks))
	}
	return r.job, err
}

// Progress is a job's progress in its column.
func Progress(p host.Progress) string {
	p.Phase, p.Unit, p.Message = Clean(p.Phase), Clean(p.Unit), Clean(p.Message)
	return Encode(p)
}

// JobError is a job's error in its column; nil is null.
func JobError(e *host.JobError) *string {
	if e == nil {
		return nil
	}
	return new(Encode(host.JobError{Code: host.ErrorCode(Clean(string(e.Code))), Message: Clean(e.Message), Attempt: e.Attempt}))
}

// Remarks are a job's remarks in their column, with what it delivers; nil is null.
func Remarks(o host.Outcome) *string {
	if !Delivers(o.State) || o.Remarks.Empty() {
		return nil
	}
	r := host.Remarks{NotApplicable: Clean(o.Remarks.NotApplicable), More: o.Remarks.More}
	for _, n := range o.Remarks.Notes {
		r.Notes = append(r.Notes, host.Note{Level: host.NoteLevel(Clean(string(n.Level))), Text: Clean(n.Text), Path: Clean(n.Path)})
	}
	return new(Encode(r))
}

// Delivers reports whether a job that ended so has findings to show.
func Delivers(s host.State) bool { return s == host.StateSucceeded || s == host.StatePartial }

// CheckOutcomes refuses what the dispatcher must never send, before anything
// is stored.
func CheckOutcomes(outcomes []host.Outcome) error {
	needsError := []host.State{host.StateFailed, host.StateTimedOut, host.StateQueued}
	for _, o := range outcomes {
		switch {
		case !host.StateRunning.CanBecome(o.State):
			return fmt.Errorf("job %.64q cannot go from running to %.32q: %w", string(o.Lease.Job), string(o.State), host.ErrInvalid)
		case o.Error == nil && !o.Release && slices.Contains(needsError, o.State):
			return fmt.Errorf("job %.64q becomes %s without an error that says why: %w", string(o.Lease.Job), o.State, host.ErrInvalid)
		}
		if len(o.Remarks.Notes) > host.MaxNotes {
			return fmt.Errorf("job %.64q has %d notes, at most %d: %w", string(o.Lease.Job), len(o.Remarks.Notes), host.MaxNotes, host.ErrInvalid)
		}
		if err := checkArtifacts(o); err != nil {
			return err
		}
	}
	return nil
}
