package host

import (
	"context"
	"time"
)

// AuditID names a line of the audit log; see [TenantID].
type AuditID string

// NewAuditID makes one. Later ones sort behind earlier ones of the same host.
func NewAuditID() AuditID { return AuditID(newID()) }

// AuditKept is how long a line of the audit log stays at least: the database
// refuses to remove a younger one, and to change any.
const AuditKept = 365 * 24 * time.Hour

// Whose doing a line of the audit log is.
const (
	ActorOperator = "operator" // by the API; Name is what the key is called
	ActorKey      = "key"      // by the API, with a tenant's key; Name is its id
	ActorCommand  = "command"  // by the command line; Name is the user of the system
	ActorAddress  = "address"  // of somebody unknown, who was refused
)

// AuditLine is a thing that was done or refused. It never holds a secret, nor a
// whole key.
type AuditLine struct {
	ID      AuditID
	At      time.Time // set by the store
	Actor   string
	Name    string
	Action  string // the operation's id in the API, or the command
	Target  string // what it was done to
	Outcome string // "done", or the code of the problem
	Source  string // the address it came from, if any
	Request string // id of the request, if it was one
	Times   int    // how often within a minute; 0 means 1
}

// AuditQuery narrows the log. Limit 0 means 100, and at most 1001 are returned: the
// largest page, and whether it is the last.
type AuditQuery struct {
	Action string
	Actor  string
	After  AuditID // continue behind this line
	Limit  int
}

// AuditStore keeps the audit log. Lines are only ever added.
type AuditStore interface {
	// AppendAudit stores lines; ErrConflict when one is there already.
	AppendAudit(ctx context.Context, lines []AuditLine) error
	// Audit lists lines, newest first.
	Audit(ctx context.Context, q AuditQuery) ([]AuditLine, error)
}
