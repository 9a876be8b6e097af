package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Task is one attempt of a job as a plugin gets it.
type Task struct {
	Plugin   string
	Tenant   TenantID
	Scan     ScanID
	Job      JobID
	Attempt  int
	ScanType string
	Root     string // absolute path of the read-only tree; "" for a URL
	URL      string // "" for a tree
	// PermittedHosts are those that the scan of a URL may call, as
	// [ParseTargetPattern] reads them; none: nobody says.
	PermittedHosts []string
	DisplayName    string                     // what people call the target
	WorkDir        string                     // absolute path of a private, writable, empty directory
	Options        json.RawMessage            // for this plugin, which must know each; nil means {}
	Shared         map[string]json.RawMessage // the scan type's, of which it gets those that it knows
	Secret         map[string]json.RawMessage // of which it gets those that it calls sensitive
	// Findings and Artifacts (in bytes, together) are how many are kept, if that
	// is less than what the plugin may have; 0: it is not.
	Findings  int
	Artifacts int64
	// Give moves the tree to dst, a path that is free and on the same file
	// system, because the process started ahead of the job sees only what lies
	// there; an error says that Root is where it was. gone removes it from dst,
	// or does nothing, and is called once. nil: it cannot be moved.
	Give func(dst string) (gone func(), err error)
}

// Sink takes what a plugin says while it runs. The executor calls its methods
// from one goroutine, with values already checked and cleaned.
type Sink interface {
	// Progress replaces the last progress. It does not block.
	Progress(Progress)
	// Note keeps a remark for who asked for the scan; of many it keeps the
	// first MaxNotes. It does not block.
	Note(Note)
	// Findings keeps a batch; the executor stops the plugin when it fails.
	Findings(ctx context.Context, batch []Finding) error
	// Artifact keeps a copy of r, which a names: Name and MediaType are set, and
	// SHA256 when the plugin said what it must be. It returns the size. An error
	// that wraps ErrInvalid is the artifact's own fault (r failed, it has another
	// hash): it is left out. The executor stops the plugin on any other.
	Artifact(ctx context.Context, a Artifact, r io.Reader) (int64, error)
}

// Report is how a plugin ended by its own word (Completed).
type Report struct {
	State  State  // succeeded, partial, failed or canceled
	Reason string // with succeeded: why there was nothing to scan; else ""
	// Retryable says whether trying again may help; only read with failed.
	Retryable bool
}

// Fault is the error of an attempt that did not end by the plugin's own word,
// or that the host ended. It is never a result: whatever was found is dropped.
type Fault struct {
	Code      ErrorCode
	Message   string // one line for people
	Retryable bool
	Crashed   bool // the process died: counts toward poison input
	Err       error
}

func (f *Fault) Error() string {
	if f.Err != nil {
		return fmt.Sprintf("%s: %s: %v", f.Code, f.Message, f.Err)
	}
	return fmt.Sprintf("%s: %s", f.Code, f.Message)
}

func (f *Fault) Unwrap() error { return f.Err }

// Executor runs jobs in plugin processes. Safe for concurrent use.
type Executor interface {
	// Run runs one task to its end and returns after the plugin process has
	// been stopped or given back. When ctx ends, by its deadline too, the plugin is asked to cancel
	// and gets a short grace before it is killed; Run then still returns in
	// bounded time, with the context's cause. Every other error is a *Fault.
	Run(ctx context.Context, t Task, s Sink) (Report, error)
	// Plugins names the plugins this host can run.
	Plugins() []string
}
