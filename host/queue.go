package host

import (
	"context"
	"time"
)

// QueueStore is the queue as operators see and control it, over all tenants.
type QueueStore interface {
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
