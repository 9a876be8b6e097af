package chaos_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testhost"
)

// The flags of `make chaos`; without them the tests are short.
var (
	flagSeed    = flag.String("seed", "", "seed of the long storm; empty: a random one")
	flagScans   = flag.Int("scans", 0, "scans of the long storm; 0: no long storm")
	flagMutants = flag.Bool("mutants", false, "build the mutants and see that they are caught")
)

// Set by TestMain.
var bin struct{ dir, securetag, flaky string }

const root = "../.."

func TestMain(m *testing.M) {
	flag.Parse()
	redisstream.SilenceDriver() // the storm's own client meets the same outages
	// The tests wait for leases and horizons more than they work.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

// program is built with the race detector for the long storm: it makes every start
// of a host, of which there are many, three times as long. internal/e2e has it
// always.
func program() []string {
	if *flagScans > 0 {
		return []string{"-race", "./cmd/securetag"}
	}
	return []string{"./cmd/securetag"}
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chaos-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin.dir, bin.securetag, bin.flaky = dir, filepath.Join(dir, "securetag"), filepath.Join(dir, "flaky")
	for out, args := range map[string][]string{
		bin.securetag: program(),
		bin.flaky:     {"./internal/chaos/flaky"},
	} {
		if err := testhost.Build(root, out, args...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
