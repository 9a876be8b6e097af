package client

import "time"

// EventType says what happened.
type EventType string

const (
	// Of a scan and of a tenant.
	EventSnapshot    EventType = "scan.snapshot" // first, and after a reset: Scan
	EventJobStarted  EventType = "job.started"   // Job, as with the other three
	EventJobProgress EventType = "job.progress"  // only of one scan
	EventJobRetry    EventType = "job.retry"
	EventJobEnded    EventType = "job.ended"
	EventChanged     EventType = "scan.changed"   // Change; something else happened: the scan knows what
	EventAway        EventType = "events.away"    // events are not to be had for now; the stream goes on
	EventReset       EventType = "events.reset"   // what was missed is not kept; a snapshot follows
	EventEnded       EventType = "scan.ended"     // Scan; the last of a scan
	EventRemoved     EventType = "scan.removed"   // Change; the same, and the scan is there no more
	EventScans       EventType = "scans.snapshot" // Scans; of a tenant, instead of EventSnapshot
	EventAccepted    EventType = "scan.accepted"  // Change; only of a tenant
)

// JobEvent is news of a job.
type JobEvent struct {
	At        time.Time `json:"at" doc:"When it was told."`
	ScanID    string    `json:"scan_id" format:"uuid"`
	JobID     string    `json:"job_id" format:"uuid"`
	Plugin    string    `json:"plugin"`
	Attempt   int       `json:"attempt"`
	State     State     `json:"state" enum:"queued,running,succeeded,partial,failed,canceled,timed_out" doc:"The job's."`
	Code      string    `json:"code,omitempty" doc:"Why the attempt failed: the code of the job's error." example:"plugin_crashed"`
	Progress  *Progress `json:"progress,omitempty"`
	Findings  int       `json:"findings" doc:"That the attempt has reported so far."`
	ScanState State     `json:"scan_state,omitempty" enum:"queued,running,succeeded,partial,failed,canceled,timed_out" doc:"In the events of a tenant, when a job ended: how its scan stands. Left out where very many end together; ask for the scan."`
}

// ScanEvent is news of a scan as a whole.
type ScanEvent struct {
	At     *time.Time `json:"at,omitempty" doc:"When it was told."`
	ScanID string     `json:"scan_id,omitempty" format:"uuid"`
	State  State      `json:"state,omitempty" enum:"queued,running,succeeded,partial,failed,canceled,timed_out" doc:"The scan's; left out when it is to be asked for."`
}

// ScansSnapshot is the scans of a tenant that have not ended.
type ScansSnapshot struct {
	Scans []Scan `json:"scans" doc:"Running ones before queued ones, newest first, without jobs; at most 100 of each."`
	More  bool   `json:"more,omitempty" doc:"There are others: list the scans."`
}

// Notice is about the events themselves.
type Notice struct {
	Detail string `json:"detail" doc:"What it means, in words."`
}

// Event is one thing that happened. Which fields are set its type says.
type Event struct {
	// ID is where a reader is that has seen the event; "" leaves it where it was.
	ID     string
	Type   EventType
	Scan   *Scan
	Scans  *ScansSnapshot
	Job    *JobEvent
	Change *ScanEvent
}
