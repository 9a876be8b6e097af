package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host/executor/conformance"
	"github.com/securetaghq/securetag/internal/testhost"
)

// binaries are built when the first test needs one.
type binaries struct {
	mu   sync.Mutex
	dir  string
	done map[string]string
}

var full = flag.Bool("full", false, "try every wrong plugin with every check")

var built = &binaries{done: map[string]string{}}

// binary builds a command of the module in dir and gives its path.
func binary(t testing.TB, dir, pkg string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if path := built.done[dir+pkg]; path != "" {
		return path
	}
	path := filepath.Join(built.dir, fmt.Sprint("plugin", len(built.done)))
	if err := testhost.Build(dir, path, pkg); err != nil {
		t.Fatal(err)
	}
	built.done[dir+pkg] = path
	return path
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "conformance-bin-")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// small makes the trees small: what they prove does not hang on their size.
func small() conformance.Options {
	return conformance.Options{
		HugeFile: 1 << 20, LongLine: 256 << 10, Files: 60, LeakScans: 10, Pause: 50 * time.Millisecond,
		ScanTimeout: time.Minute, StartTimeout: 30 * time.Second, DescribeTimeout: 30 * time.Second, StopTimeout: 10 * time.Second, Grace: 20 * time.Second,
	}
}
