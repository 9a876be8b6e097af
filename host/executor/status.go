package executor

import (
	"errors"
	"time"

	"github.com/securetaghq/securetag/host"
)

// PluginState is how a plugin does on this host.
type PluginState string

const (
	StateUnknown PluginState = "unknown" // not started yet: there was no need, or no time
	StateReady   PluginState = "ready"   // the last start went well
	StateFailing PluginState = "failing" // it did not, see Reason; it is tried again
	StateStopped PluginState = "stopped" // Serve has ended
)

// PluginStatus is what there is to know of one plugin.
type PluginStatus struct {
	Name        string
	State       PluginState
	Reason      string // why it is failing, one line
	Info        *Info  // of the last good start; nil: never
	Isolation   Isolation
	Containment string // how its processes are kept together, or the layers of its sandbox
	Standby     int    // processes waiting, or the shared one
	Running     int    // runs now
	Restarts    int    // processes replaced because they died unasked or broke
	Since       time.Time
}

// Status tells how every configured plugin does, sorted by name. It asks no
// process and does not block.
func (e *Executor) Status() []PluginStatus {
	out := make([]PluginStatus, 0, len(e.names))
	for _, name := range e.names {
		s := e.keepers[name].status()
		s.Containment = e.containment(e.keepers[name].plugin)
		out = append(out, s)
	}
	return out
}

func (k *keeper) status() PluginStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := PluginStatus{
		Name: k.plugin.Name, State: StateReady, Isolation: k.plugin.Isolation, Info: k.info,
		Standby: len(k.idle), Running: k.running, Restarts: k.restarts, Since: k.since,
	}
	if k.shared != nil {
		s.Standby = 1
	}
	switch {
	case k.stopped:
		s.State = StateStopped
	case k.lastErr != nil:
		s.State, s.Reason = StateFailing, reason(k.lastErr)
	case k.info == nil:
		s.State = StateUnknown
	}
	return s
}

// reason is the line for people in an error.
func reason(err error) string {
	var f *host.Fault
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}
