package client

import (
	"encoding/json"
	"time"
)

// State of a scan or a job: queued, running, succeeded, partial, failed,
// canceled or timed_out. Only the first two can still change.
type State string

const (
	StateQueued    State = "queued"
	StateRunning   State = "running"
	StateSucceeded State = "succeeded"
	StatePartial   State = "partial"
	StateFailed    State = "failed"
	StateCanceled  State = "canceled"
	StateTimedOut  State = "timed_out"
)

// Final reports whether nothing can change s any more.
func (s State) Final() bool { return s != StateQueued && s != StateRunning }

// Priority orders the scans of one tenant among themselves.
type Priority string

const (
	PriorityHigh   Priority = "high"
	PriorityNormal Priority = "normal" // the default
	PriorityLow    Priority = "low"
)

// Scan is one request and how far it is.
type Scan struct {
	ID       string          `json:"id" format:"uuid" doc:"Id of the scan."`
	Type     string          `json:"type" example:"codeaudit" doc:"Scan type, as the operator declared it."`
	Project  string          `json:"project,omitempty" doc:"The line of scans that this one belongs to."`
	Priority Priority        `json:"priority" enum:"high,normal,low" doc:"Which of the tenant's own scans go first."`
	State    State           `json:"state" enum:"queued,running,succeeded,partial,failed,canceled,timed_out" doc:"Only queued and running can still change. A scan is partial when some job failed or did not see the whole target."`
	Archive  *Archive        `json:"archive,omitempty" doc:"The uploaded archive, for a scan of one."`
	URL      string          `json:"url,omitempty" doc:"The target, for a scan of a URL."`
	Options  json.RawMessage `json:"options,omitempty" doc:"By name the options of the scan type, defaults filled in, and by plugin name what that plugin was given."`
	// SecretOptions names what was given in secrets, in order.
	SecretOptions []string  `json:"secret_options,omitempty" doc:"Names of what was given in secrets, in order. The values are shown to nobody."`
	Counts        Counts    `json:"counts" doc:"Findings of the jobs that delivered, by severity."`
	Gate          *Gate     `json:"gate,omitempty" doc:"Whether it passes, if there is a gate. Left out in lists."`
	Baseline      *Baseline `json:"baseline,omitempty" doc:"How its findings stand to those of its project before, a moment after its end. Left out in lists."`
	Jobs          []Job     `json:"jobs,omitempty" doc:"One for each plugin. Left out in lists."`
	// NothingScanned is set when no plugin had anything to look at.
	NothingScanned bool `json:"nothing_scanned,omitempty" doc:"Every job is not_applicable: nothing in the target was looked at, so that nothing was found says nothing. Left out in lists."`

	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at,omitempty" doc:"When the first job started."`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// CancelRequestedAt is set while a cancel is under way and after.
	CancelRequestedAt *time.Time `json:"cancel_requested_at,omitempty"`
}

// Archive is an uploaded archive as it was checked.
type Archive struct {
	Filename      string `json:"filename,omitempty" doc:"As the client named it."`
	Format        string `json:"format" enum:"zip,tar,tar.gz,tar.zst" doc:"Recognised by content."`
	Size          int64  `json:"size" doc:"Bytes, packed."`
	SHA256        string `json:"sha256" doc:"Of the packed bytes, lower-case hex."`
	Files         int    `json:"files" doc:"Regular files that are scanned."`
	UnpackedBytes int64  `json:"unpacked_bytes"`
	Dropped       int    `json:"dropped" doc:"Links, devices and .git entries left out of the scan."`
	// RemovedAt is set once the archive is gone and the scan stays.
	RemovedAt *time.Time `json:"removed_at,omitempty" doc:"When the archive itself was removed, because of its age. What it held can no longer be scanned; the findings stay."`
}

// Job is one plugin's part of a scan.
type Job struct {
	ID          string    `json:"id" format:"uuid"`
	Plugin      string    `json:"plugin"`
	State       State     `json:"state" enum:"queued,running,succeeded,partial,failed,canceled,timed_out"`
	Attempt     int       `json:"attempt" doc:"How often it was started; 0 before the first."`
	MaxAttempts int       `json:"max_attempts"`
	Progress    *Progress `json:"progress,omitempty"`
	Error       *JobError `json:"error,omitempty" doc:"Why its last attempt failed. A running or queued job with one is being tried again."`
	Counts      Counts    `json:"counts"`
	// NotApplicable is set on a job that succeeded and looked at nothing.
	NotApplicable string     `json:"not_applicable,omitempty" example:"no Go files" doc:"Why there was nothing in the target for the plugin, which looked at nothing then. Left out when there was."`
	Notes         []Note     `json:"notes,omitempty" doc:"What the plugin remarked on the target, once the job delivered: what it left out, and what it could not know."`
	MoreNotes     int        `json:"more_notes,omitempty" doc:"How many notes are not kept."`
	RunAt         *time.Time `json:"run_at,omitempty" doc:"When a queued job is tried again; left out when it is ready."`
	StartedAt     *time.Time `json:"started_at,omitempty"`
	FinishedAt    *time.Time `json:"finished_at,omitempty"`
}

// Note is a remark of a plugin on the target.
type Note struct {
	Level string `json:"level" enum:"notice,warning,error" doc:"A warning says that something may be missing from the result."`
	Text  string `json:"text" doc:"One line for people."`
	Path  string `json:"path,omitempty" doc:"Which file it is about."`
}

// Other is a finding of another plugin in the same scan that says the same.
type Other struct {
	Plugin    string `json:"plugin"`
	RuleID    string `json:"rule_id"`
	FindingID string `json:"finding_id" format:"uuid"`
}

// Progress is what a plugin says of itself. Total 0 means not known.
type Progress struct {
	Phase   string `json:"phase,omitempty"`
	Done    int64  `json:"done"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Message string `json:"message,omitempty"`
}

// JobError is why an attempt failed.
type JobError struct {
	Code    string `json:"code" example:"plugin_crashed" doc:"Stable word for programs."`
	Message string `json:"message" doc:"One line for people."`
	Attempt int    `json:"attempt"`
}

// Counts is how many findings there are of each severity.
type Counts struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Info     int `json:"info"`
	Unknown  int `json:"unknown"`
}

// Finding is one problem at one place, by one rule.
type Finding struct {
	ID          string          `json:"id" format:"uuid"`
	ScanID      string          `json:"scan_id" format:"uuid"`
	JobID       string          `json:"job_id" format:"uuid"`
	Plugin      string          `json:"plugin"`
	RuleID      string          `json:"rule_id"`
	Title       string          `json:"title" doc:"One line."`
	Message     string          `json:"message,omitempty" doc:"Plain text."`
	Severity    string          `json:"severity" enum:"critical,high,medium,low,info,unknown"`
	Confidence  string          `json:"confidence" enum:"high,medium,low,unknown"`
	Location    Location        `json:"location"`
	Snippet     string          `json:"snippet,omitempty" doc:"The text that shows it; secrets are redacted."`
	Fingerprint string          `json:"fingerprint" doc:"The same for the same problem in the next scan, when lines moved."`
	LineHash    string          `json:"line_hash,omitempty" doc:"GitHub's primaryLocationLineHash; left out where the file is over 1 MiB or was the last of very many."`
	CWE         []int           `json:"cwe,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	References  []string        `json:"references,omitempty"`
	Properties  json.RawMessage `json:"properties,omitempty" doc:"What else the plugin said: an object of strings."`
	CreatedAt   time.Time       `json:"created_at"`

	AlsoFoundBy []Other `json:"also_found_by,omitempty" maxItems:"8" doc:"Findings of other plugins in the same scan with the same kind of problem (both a secret, or of the same first CWE) in lines of the same file that overlap; the first 8. They are findings of their own."`

	State            string `json:"state,omitempty" enum:"new,unchanged,updated,absent" doc:"How it stands to its project's findings before; left out until they were compared, and without a project."`
	ProjectFindingID string `json:"project_finding_id,omitempty" format:"uuid" doc:"The project's finding that it is: /findings/{id}."`
	Triage           string `json:"triage,omitempty" enum:"open,confirmed,false_positive,accepted_risk,fixed" doc:"What people say of that; what has expired is open."`
	TriageReason     string `json:"triage_reason,omitempty" doc:"Why they say so. Plain text."`
}

// Location is a place in the scanned tree or on the web.
type Location struct {
	Path        string `json:"path,omitempty" doc:"Relative to the archive's root, slash-separated."`
	StartLine   int    `json:"start_line,omitempty" doc:"1-based."`
	StartColumn int    `json:"start_column,omitempty" doc:"1-based."`
	EndLine     int    `json:"end_line,omitempty"`
	EndColumn   int    `json:"end_column,omitempty" doc:"Exclusive."`
	URL         string `json:"url,omitempty"`
}

// Page is one page of a list. NextPageToken is empty on the last.
type Page[T any] struct {
	Items         []T    `json:"items"`
	NextPageToken string `json:"next_page_token,omitempty" doc:"Give it as page_token to get the next page; left out on the last. Opaque."`
}

// Problem is every error answer: RFC 9457 application/problem+json.
type Problem struct {
	Type      string         `json:"type" doc:"URI that names the kind of problem."`
	Title     string         `json:"title" doc:"The kind of problem, in words."`
	Status    int            `json:"status" doc:"The HTTP status."`
	Detail    string         `json:"detail,omitempty" doc:"What was wrong this time and what to do."`
	Code      string         `json:"code" doc:"Stable word for programs."`
	RequestID string         `json:"request_id,omitempty" doc:"Quote it when you ask the operator."`
	Errors    []ProblemError `json:"errors,omitempty" doc:"Each thing that was wrong with the request."`
	Violated  []string       `json:"violated-policies,omitempty" doc:"With 429: the policies in RateLimit-Policy that the request is over."`

	// With quota_exceeded only.
	Quota    string     `json:"quota,omitempty" doc:"The quota that has no room: storage_quota, scans_per_day, queued_scans."`
	Used     *int64     `json:"used,omitempty" doc:"How much of it is used."`
	Limit    *int64     `json:"limit,omitempty" doc:"How much there is."`
	Needed   *int64     `json:"needed,omitempty" doc:"How much the request needs, at least."`
	ResetsAt *time.Time `json:"resets_at,omitempty" doc:"When it begins at 0 again."`
}

// ProblemError is one thing that was wrong with a request.
type ProblemError struct {
	Pointer string `json:"pointer,omitempty" doc:"Where: a JSON pointer into the body (#/options/depth), a parameter (query.limit), a form field (form.project), or a place in one that is JSON (form.options/depth)."`
	Detail  string `json:"detail"`
}
