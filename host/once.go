package host

import (
	"fmt"
	"time"
)

// OnceKept is how long a request that was accepted is remembered by its key.
const OnceKept = 24 * time.Hour

// Once makes a request that is sent again have the effect of one.
type Once struct {
	// Key tells the request from all others of its tenant: a hash of the route
	// and of what the client calls it.
	Key [32]byte
	// Digest is a hash of what is asked for. Two requests with one key must ask
	// for the same.
	Digest [32]byte
}

// Earlier is what a request with the same key led to. As an error it is why a
// scan was not accepted, and wraps ErrConflict.
type Earlier struct {
	Digest [32]byte // of that request
	Scan   Scan     // as it was accepted, whatever became of it since
}

func (e *Earlier) Error() string {
	return fmt.Sprintf("scan %s was accepted by the same key: %v", e.Scan.ID, ErrConflict)
}

func (e *Earlier) Unwrap() error { return ErrConflict }

// Repeated says which of several scans were asked for before. It wraps
// ErrConflict.
type Repeated struct{ Scans map[ScanID]*Earlier }

func (r *Repeated) Error() string {
	return fmt.Sprintf("%d scans were accepted by the same keys: %v", len(r.Scans), ErrConflict)
}

func (r *Repeated) Unwrap() error { return ErrConflict }
