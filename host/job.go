package host

import "time"

// Job is one plugin's part of a scan, and the unit of dispatch. What it may
// use (attempts, timeout) is copied from the scan type when the scan is
// accepted: a job keeps the limits it started with.
type Job struct {
	ID          JobID
	ScanID      ScanID
	TenantID    TenantID
	Plugin      string
	State       State
	Attempt     int           // 0 before the first claim
	MaxAttempts int           // at least 1
	Crashes     int           // attempts in which the plugin or its host died
	Timeout     time.Duration // total, from the first start; waiting for a retry counts
	Findings    int           // how many it may have, by its tenant's plan; 0: what the host that runs it allows
	Artifacts   int64         // the same of its artifacts together, in bytes
	Progress    Progress
	Error       *JobError // the last attempt's; nil when none failed
	Counts      Counts
	Remarks     Remarks // of the attempt that delivered; zero before

	CreatedAt  time.Time
	RunAt      time.Time // not before; moved by a retry's backoff
	StartedAt  time.Time // first claim; zero: never
	DeadlineAt time.Time // StartedAt + Timeout; zero: never started
	FinishedAt time.Time // zero: not final
}

// Progress is what a plugin says of itself. Total 0 means unknown.
type Progress struct {
	Phase   string `json:"phase,omitempty"`
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Message string `json:"message,omitempty"`
}

// ErrorCode says which kind of thing went wrong with a job; the API shows it.
type ErrorCode string

const (
	CodePluginUnavailable ErrorCode = "plugin_unavailable"   // could not be started or described
	CodePluginCrashed     ErrorCode = "plugin_crashed"       // ended by itself, without Completed
	CodePluginHung        ErrorCode = "plugin_hung"          // said nothing for too long and was killed
	CodePluginProtocol    ErrorCode = "plugin_protocol"      // broke the contract: no Completed, malformed or oversized message
	CodePluginFailed      ErrorCode = "plugin_failed"        // said Completed FAILED
	CodePluginRefused     ErrorCode = "plugin_refused"       // refused the request or its options; never retried
	CodeTargetForbidden   ErrorCode = "target_not_permitted" // the tenant may not have this target scanned, or not any more; never retried
	CodeSecretsGone       ErrorCode = "secrets_gone"         // its secret options are not kept any more, or cannot be read; never retried
	CodePartial           ErrorCode = "partial"              // some of the target was not scanned, or some of the result is not kept
	CodeInputUnusable     ErrorCode = "input_unusable"       // the archive could not be read back or unpacked
	CodeTimedOut          ErrorCode = "timed_out"            // over the scan type's timeout
	CodeLeaseExpired      ErrorCode = "lease_expired"        // the host that ran it died or was cut off
	CodeInternal          ErrorCode = "internal"             // a fault of this host, logged there
)

// ErrorCodes lists every code.
func ErrorCodes() []ErrorCode {
	return []ErrorCode{
		CodePluginUnavailable, CodePluginCrashed, CodePluginHung, CodePluginProtocol, CodePluginFailed, CodePluginRefused, CodeTargetForbidden,
		CodeSecretsGone, CodePartial, CodeInputUnusable, CodeTimedOut, CodeLeaseExpired, CodeInternal,
	}
}

// JobError is why a job's last attempt failed, for people: Message is one line
// that says what was tried and what was wrong.
type JobError struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"`
	Attempt int       `json:"attempt"`
}

// CrashLimit is how many attempts of a job may end with the death of its plugin
// or its host before the input counts as poison and the job has failed.
const CrashLimit = 3

// Lease is the right to write to a running job. Epoch grows with every claim
// and never shrinks; ID is random, so that a store restored from a backup
// cannot give out the same right twice.
type Lease struct {
	Job   JobID
	Epoch int64
	ID    string
}

// Claim is a job that this host now runs.
type Claim struct {
	Lease Lease
	Job   Job  // State running, Attempt already counted
	Scan  Scan // without Jobs and Counts, with its archive's Data
	// Remaining is the time until the job's deadline at the moment of the
	// claim, by the store's clock; host clocks are never compared.
	Remaining time.Duration
}

// Beat renews one lease and carries its progress.
type Beat struct {
	Lease    Lease
	Progress Progress
}

// Pulse is a beat's answer. A lease that got no pulse is lost: stop the plugin
// and discard its result.
type Pulse struct {
	Lease           Lease
	CancelRequested bool
}

// Outcome ends one attempt. State is final, or queued to try again.
type Outcome struct {
	Lease    Lease
	State    State
	Error    *JobError // required for failed, timed_out and a retry; nil otherwise allowed
	Crashed  bool      // the plugin died: counts toward poison input
	Findings []Finding // the rest, after what AddFindings took; only with a delivering state
	// Artifacts are stored with a delivering state only; their blobs are there.
	Artifacts []Artifact
	Progress  Progress
	Remarks   Remarks // stored with a delivering state only
	// Dead makes a job that fails a dead letter: it is not the request's fault.
	// A retry for which nothing is left makes it one anyway.
	Dead bool

	// With StateQueued only:
	RetryAfter time.Duration // from the store's now
	Release    bool          // gives the attempt back: the host is stopping, the job did nothing wrong. A first attempt's time too
}
