package host

import "context"

// Workspaces gives each attempt of a job its place on disk. Safe for
// concurrent use.
type Workspaces interface {
	// Prepare unpacks the scan's archive (once for all its jobs on this host)
	// and makes an empty work directory. An archive that cannot be read back or
	// unpacked gives a *Fault with CodeInputUnusable. Meanwhile it says to told how
	// far it is, now and then, from the caller's goroutine.
	Prepare(ctx context.Context, c Claim, told func(Progress)) (Workspace, error)
}

// Workspace is one attempt's place. Release removes it; it must be called once.
type Workspace struct {
	Root    string // absolute path of the read-only tree; "" when the scan has no archive
	WorkDir string // absolute path of the private, writable directory
	// Give is Task.Give for the tree at Root; nil without one.
	Give    func(dst string) (gone func(), err error)
	Release func()
}
