package host

import "errors"

// The sentinel errors of the domain. Adapters translate what their driver says
// into one of these at their edge; callers test with errors.Is.
var (
	// ErrNotFound: no such thing, or it belongs to another tenant. The two
	// are never told apart.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the thing exists already, or its state forbids the change.
	ErrConflict = errors.New("conflict")
	// ErrStale: the thing has changed since the version that the change is based on.
	ErrStale = errors.New("changed meanwhile")
	// ErrInvalid: the request or the value itself is wrong.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: the input is over a size limit.
	ErrTooLarge = errors.New("too large")
	// ErrOverQuota: the tenant would hold more than its plan allows.
	ErrOverQuota = errors.New("over quota")
	// ErrNotPermitted: the tenant has not shown that it may have this target
	// scanned.
	ErrNotPermitted = errors.New("target not permitted")
	// ErrUnauthorized: the credentials are missing, unknown, expired or revoked.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrNoPlugin: the scan type is declared, and no plugin is configured for it.
	ErrNoPlugin = errors.New("no plugin configured")
	// ErrLeaseLost: the job is not, or no longer, this host's to write to.
	ErrLeaseLost = errors.New("lease lost")
	// ErrQueueLost: the queue had forgotten all it held; what was rung before
	// must be rung again. It works again when this is returned.
	ErrQueueLost = errors.New("queue lost")
	// ErrEventsGone: events behind the place that was asked for are no longer
	// kept. The reader begins again from the store.
	ErrEventsGone = errors.New("events gone")
	// ErrUnavailable: a server this host needs does not answer; trying again helps.
	ErrUnavailable = errors.New("unavailable")
)
