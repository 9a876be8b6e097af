package sdk

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestUseMemory: less garbage is collected where there is a limit, unless somebody
// says how much.
func TestUseMemory(t *testing.T) {
	// Not parallel: it sets variables, and how much garbage is collected.
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	for _, tt := range []struct {
		limit, given, says string
		percent            int
	}{{"", "", "", 100}, {"64MiB", "50", "50", 100}, {"64MiB", "", "400", 400}} {
		t.Setenv("GOMEMLIMIT", tt.limit)
		t.Setenv("GOGC", tt.given)
		useMemory()
		if percent, says := debug.SetGCPercent(100), os.Getenv("GOGC"); percent != tt.percent || says != tt.says {
			t.Errorf("limit %q, GOGC %q: %d %%, and commands are told %q; want %d and %q", tt.limit, tt.given, percent, says, tt.percent, tt.says)
		}
	}
}
