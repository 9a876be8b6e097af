package executor_test

import (
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/executor"
)

// TestDegraded: what a plugin says of its health is shown, cleaned, and keeps
// no job from it.
func TestDegraded(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]string{"says so": "degraded", "says nothing else": "flood-health"} {
		for how, isolation := range map[string]func(*executor.Config){"per_scan": standby(1), "shared": shared} {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, mode, isolation)
				eventually(t, "it is degraded", func() bool { return b.status().State == executor.StateDegraded })
				s := b.status()
				if s.Reason != "the rules are[31m old" || s.DataUpdatedAt.Unix() != 1_700_000_000 {
					t.Errorf("status %+v", s)
				}
				if _, _, err := b.run(t); err != nil {
					t.Errorf("Run: %v", err)
				}
				if n := strings.Count(b.logs.String(), "plugin is degraded"); n == 0 || n > 4 {
					t.Errorf("logged %d times, want once for each process", n)
				}
			})
		}
	}
}

func TestHealthIsNotRequired(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok", standby(1))
	eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
	if s := b.status(); s.State != executor.StateReady || !s.DataUpdatedAt.IsZero() {
		t.Errorf("status %+v", s)
	}
}
