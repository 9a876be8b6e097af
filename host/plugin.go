package host

import (
	"context"
	"time"
)

// PluginStatus is how a plugin does on one host.
type PluginStatus struct {
	Name        string
	State       string // unknown, starting, ready, degraded, backoff, quarantined, stopped; elsewhere: this host starts none
	Reason      string // why it is not ready, one line, for operators; "" when it is
	Version     string // of what it said last; "" with Description and the rest while it has not
	Description string
	Inputs      []InputKind
	Rules       int
	Isolation   string
	Containment string
	SHA256      string // what is pinned; "" in development
	Standby     int    // processes that wait, or the shared one
	Running     int    // jobs now
	Starts      int    // of processes, that went well
	Failed      int    // starts that did not
	Restarts    int    // processes that were replaced because they died or broke
	Since       time.Time
	Retry       time.Time // quarantined: when it is tried once more; zero: when it changes
	DataUpdated time.Time // how old its rules or databases are; zero: it does not say
	Egress      Egress
}

// Egress is what all processes of a plugin so far did on the network through the
// proxy of their host.
type Egress struct {
	Connections    int   // that were made
	Refused        int   // requests
	Sent, Received int64 // bytes
}

// Reloaded is what became of asking for the plugins' configuration anew.
type Reloaded struct {
	Plugins []string // begin anew
	Restart []string // are in one configuration only, old or new: the host must be restarted
}

// Plugins are those of a host. Safe for concurrent use.
type Plugins interface {
	// Status tells how every plugin does, sorted by name. It does not block.
	Status() []PluginStatus
	// Reload reads the configuration again and takes what it says of one plugin,
	// or with "" of all. ErrInvalid is in the error when it is wrong, and then
	// nothing has changed; ErrNoPlugin when this host starts none, ErrNotFound when
	// neither it nor the configuration knows that one.
	Reload(ctx context.Context, plugin string) (Reloaded, error)
}
