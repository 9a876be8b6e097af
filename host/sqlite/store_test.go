package sqlite_test

import (
	"flag"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/sqlite"
	"github.com/securetaghq/securetag/host/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		crash(path)
	}
	// Each draw is hundreds of transactions; -rapid.checks on the command line
	// comes later and wins.
	_ = flag.Set("rapid.checks", "20")
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		var ahead atomic.Int64
		cfg := sqlite.Config{Path: migratedFile(t), Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
		return storetest.Harness{
			Store: open(t, cfg), Advance: func(d time.Duration) { ahead.Add(int64(d)) },
			Another: func() host.Store { return open(t, cfg) },
		}
	})
}

func open(t *testing.T, cfg sqlite.Config) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
