package host

import (
	"context"
	"time"
)

// QueueStore is the queue as operators see and control it, over all tenants.
type QueueStore interface {
	// QueueStats counts the jobs that have not ended, and the dead letters, at
	// one moment. It reads those rows by index, so it costs what the backlog
	// does and nothing for jobs that have ended, which it does not count.
	QueueStats(ctx context.Context) (QueueStats, error)
	// DeadLetters lists them, newest first, without their history.
	DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error)
	// DeadLetter returns one with its history; ErrNotFound when the job is
	// none, or no more.
	DeadLetter(ctx context.Context, id JobID) (DeadLetter, error)
	// Requeue gives dead letters a fresh budget: queued, ready at once, with no
	// attempt, crash or deadline counted. Their history stays and their epoch
	// grows on; their scans' states are derived anew. It is one transaction;
	// those that are refused are left as they are, and the answer says why, in
	// the order asked. An id that comes twice counts once.
	Requeue(ctx context.Context, ids []JobID) ([]Refusal, error)
	// Drop gives dead letters up: the jobs stay failed, with their history, and
	// nobody can requeue them. It answers as Requeue does.
	Drop(ctx context.Context, ids []JobID) ([]Refusal, error)
	// Pause stops the dispatch of a part of the queue, until Resume. Once it
	// has returned no doorbell rings for that part, and Claim leaves its jobs
	// out, also those whose doorbell was out already: they keep their place.
	// Intake and running jobs go on, and so does every deadline. A claim that
	// was under way may still take its jobs, so who waits for an empty host
	// looks twice. Idempotent: a second one replaces the reason and keeps the
	// time. ErrInvalid for what [Pause.Valid] refuses.
	Pause(ctx context.Context, p Pause) error
	// Resume takes a pause back. Other pauses may still cover the same jobs.
	// Hosts find out within one sweep. ErrNotFound when there is none such.
	Resume(ctx context.Context, kind PauseKind, name string) error
	// Pauses lists them: that of everything first, then by kind and name.
	Pauses(ctx context.Context) ([]Pause, error)
}

// QueueStats is what the rows of the open jobs and the dead letters add up to.
type QueueStats struct {
	Groups []QueueGroup // by plugin, then scan type; none that is empty
	Pauses []Pause
}

// QueueGroup is the part of a plugin in the scans of a type. Every queued job is
// one of Ready, Waiting and Out.
type QueueGroup struct {
	Plugin, ScanType string
	Ready            int // could run now; also those that are paused
	Waiting          int // for a retry's time
	Out              int // handed out: the doorbell was rung and nobody claimed yet
	Running          int
	Dead             int // dead letters
	// OldestReady is how long the oldest ready job has been ready; 0: none is.
	OldestReady time.Duration
}

// Open is how many jobs have not ended.
func (g QueueGroup) Open() int { return g.Ready + g.Waiting + g.Out + g.Running }

// Total adds all groups up, with the oldest of all.
func (s QueueStats) Total() (sum QueueGroup) {
	for _, g := range s.Groups {
		sum.Ready += g.Ready
		sum.Waiting += g.Waiting
		sum.Out += g.Out
		sum.Running += g.Running
		sum.Dead += g.Dead
		sum.OldestReady = max(sum.OldestReady, g.OldestReady)
	}
	return sum
}

// DeadLetter is a job that failed because nothing was left to try: its attempts
// were used up, three of them killed a plugin or a host, or the plugin or the
// host is at fault in a way that another attempt does not mend. A job that
// failed because of its request is none: requeueing mends no request. It is kept
// with its error and its history until somebody requeues or drops it, or its
// scan is removed.
type DeadLetter struct {
	Job      Job // State failed
	ScanType string
	Tenant   string  // its name
	Blob     BlobKey // of the scan's archive; "" when it scans a URL
	DeadAt   time.Time
	Canceled bool      // its scan was: it cannot be requeued
	History  []Attempt // oldest first; nil in lists
}

// DeadQuery narrows a list of dead letters. The zero value is everything; Limit
// 0 means 50, and at most 500 are returned.
type DeadQuery struct {
	Plugin   string
	ScanType string
	Tenant   string // its name
	After    *DeadCursor
	Limit    int
}

// DeadCursor is the last dead letter of the page before.
type DeadCursor struct {
	DeadAt time.Time
	ID     JobID
}

// Attempt is one that delivered nothing: it was to be tried again, killed its
// plugin or its host, ran out of time, was canceled or was given back. One that
// delivers leaves no trace but its result.
type Attempt struct {
	Attempt   int    // as counted when it ran; a requeue begins again at 1
	Epoch     int64  // grows with each attempt of a job, whatever happens
	Owner     string // the host that ran it
	StartedAt time.Time
	EndedAt   time.Time
	State     State     // in which it left the job: queued, failed, canceled or timed_out
	Crashed   bool      // the plugin or the host died
	Released  bool      // it was given back: it did not count
	Error     *JobError // nil when it was canceled or released
}

// MaxHistory is how many of a job's attempts are kept, the newest. A scan type
// allows no more attempts than that; what is given back or requeued does not
// count as one, and could otherwise go on for ever.
const MaxHistory = 100

// Refusal says why an operator's wish for a job was not granted.
type Refusal struct {
	Job    JobID
	Reason RefusalReason
}

// RefusalReason is a stable word for people and programs.
type RefusalReason string

const (
	RefusedNotDead  RefusalReason = "not_dead"     // the job is no dead letter, or no more, or unknown
	RefusedCanceled RefusalReason = "canceled"     // its tenant has canceled the scan
	RefusedNoInput  RefusalReason = "archive_gone" // the archive that it would scan was removed
)

// Explain is the reason as a sentence about the job.
func (r RefusalReason) Explain() string {
	switch r {
	case RefusedNotDead:
		return "it is no dead letter: it was requeued or dropped already, or never was one"
	case RefusedCanceled:
		return "its tenant has canceled the scan"
	case RefusedNoInput:
		return "its archive was removed, so there is nothing left to scan"
	}
	return string(r)
}

// PauseKind says by what a pause picks jobs.
type PauseKind string

const (
	PauseAll      PauseKind = "all"       // every job
	PausePlugin   PauseKind = "plugin"    // the jobs of one plugin
	PauseScanType PauseKind = "scan_type" // the jobs of one scan type
)

// Pause is a part of the queue that is not dispatched. Neither the plugin nor
// the scan type need be known to any host.
type Pause struct {
	Kind      PauseKind
	Name      string    // of the plugin or the scan type; "" with PauseAll
	Reason    string    // one line for people; may be empty
	CreatedAt time.Time // set by the store
}

// MaxPauseText bounds a pause's name and reason, in bytes.
const MaxPauseText = 200

// Valid reports whether the pause names a part of the queue.
func (p Pause) Valid() bool {
	if len(p.Name) > MaxPauseText || len(p.Reason) > MaxPauseText {
		return false
	}
	switch p.Kind {
	case PauseAll:
		return p.Name == ""
	case PausePlugin, PauseScanType:
		return p.Name != ""
	}
	return false
}

// Covers reports whether the pause stops a plugin's jobs in scans of a type.
func (p Pause) Covers(plugin, scanType string) bool {
	switch p.Kind {
	case PauseAll:
		return true
	case PausePlugin:
		return p.Name == plugin
	case PauseScanType:
		return p.Name == scanType
	}
	return false
}
