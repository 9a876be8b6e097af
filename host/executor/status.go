package executor

import (
	"errors"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/proxy"
)

// PluginState is how a plugin does on this host.
type PluginState string

const (
	StateUnknown     PluginState = "unknown"     // not started yet: there was no need, or no time
	StateStarting    PluginState = "starting"    // its first process is being started
	StateReady       PluginState = "ready"       // the last start went well
	StateDegraded    PluginState = "degraded"    // the same, but it says that it is not well, see Reason
	StateBackoff     PluginState = "backoff"     // it did not, see Reason; it is tried again
	StateQuarantined PluginState = "quarantined" // it is not started, see Reason, and its jobs fail at once
	StateStopped     PluginState = "stopped"     // Serve has ended

	// StateFailing is what Check says: it was started once and failed, see Reason.
	StateFailing PluginState = "failing"
)

// PluginStatus is what there is to know of one plugin.
type PluginStatus struct {
	Name        string
	State       PluginState
	Reason      string // why it is not ready, one line
	Info        *Info  // of the last good start, or what was remembered; nil: unknown
	SHA256      string // that is pinned; "" in development
	Isolation   Isolation
	Containment string    // how its processes are kept together, or the layers of its sandbox
	Missing     []string  // layers that its sandbox does without here, and why, a line each
	Standby     int       // processes waiting, or the shared one
	Running     int       // runs now
	Starts      int       // that went well
	Failed      int       // starts that did not
	Restarts    int       // processes replaced because they died unasked or broke
	Retry       time.Time // quarantined: when it is tried once more; zero: when it changes
	Since       time.Time
	Egress      proxy.Usage // through the host's proxy, by all its processes so far
	// DataUpdatedAt is how old its rules or databases are, as it says; zero: it
	// does not.
	DataUpdatedAt time.Time
}

// Status tells how every configured plugin does, sorted by name. It asks no
// process and does not block.
func (e *Executor) Status() []PluginStatus {
	out := make([]PluginStatus, 0, len(e.names))
	for _, name := range e.names {
		k := e.keeper(name)
		s := k.status()
		s.Egress = e.tallies[name].Usage()
		s.Containment, s.Missing = e.containment(k.plugin), e.missing(k.plugin)
		out = append(out, s)
	}
	return out
}

func (k *keeper) status() PluginStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := PluginStatus{
		Name: k.plugin.Name, Isolation: k.plugin.Isolation, Info: k.info, SHA256: k.plugin.SHA256,
		Standby: len(k.idle), Running: k.running, Since: k.since,
		Starts: k.counts.starts, Failed: k.counts.failed, Restarts: k.counts.restarts,
	}
	if k.shared != nil {
		s.Standby = 1
	}
	for _, p := range k.tenants {
		if p.users == 0 {
			s.Standby++
		}
	}
	s.State, s.Reason = k.state()
	s.DataUpdatedAt = k.worst().data
	if s.State == StateQuarantined {
		s.Retry = k.breaker.until
	}
	return s
}

// state says how the plugin does, and why; k.mu is held.
func (k *keeper) state() (PluginState, string) {
	switch {
	case k.stopped:
		return StateStopped, ""
	case k.breaker.open != nil:
		return StateQuarantined, reason(k.breaker.open)
	case k.lastErr != nil:
		return StateBackoff, reason(k.lastErr)
	case k.worst().degraded:
		return StateDegraded, k.worst().text
	case k.ready:
		return StateReady, ""
	case k.starting > 0:
		return StateStarting, ""
	default:
		return StateUnknown, ""
	}
}

// reason is the line for people in an error.
func reason(err error) string {
	var f *host.Fault
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}
