package sdk

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Health is how a scanner is, beyond that it runs. The zero value is well, with
// nothing that ages.
type Health struct {
	// Degraded says in one line, for operators, what is less than it should be:
	// a database that is old or cannot be read. "": nothing.
	Degraded string
	// DataUpdated is how old the rules or databases are; zero: not dated.
	DataUpdated time.Time
}

// tell puts into u what the author's function says. Before the plugin is
// configured there is nothing to ask it about.
func (s *Server) tell(u *pluginv1.HealthUpdate) {
	s.mu.Lock()
	settings := s.settings
	s.mu.Unlock()
	if s.health == nil || settings == nil {
		return
	}
	h := s.asked(settings)
	if h.Degraded != "" {
		// To be draining comes first: it says that no scan is taken.
		if u.State == pluginv1.HealthUpdate_STATE_HEALTHY {
			u.State, u.Description = pluginv1.HealthUpdate_STATE_DEGRADED, oneLine(h.Degraded, maxTitle)
		}
	}
	if !h.DataUpdated.IsZero() {
		u.DataUpdatedAt = timestamppb.New(h.DataUpdated)
	}
}

// asked makes a panic of the author's function a bad state, not a dead process.
func (s *Server) asked(settings any) (h Health) {
	defer func() {
		if v := recover(); v != nil {
			h = Health{Degraded: fmt.Sprintf("asking how it is panicked: %v", v)}
		}
	}()
	return s.health(settings)
}
