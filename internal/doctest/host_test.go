package doctest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/internal/testhost"
)

// server is a host that serves until the test's end, and a key for it.
type server struct{ url, key string }

func startHost(t *testing.T) server {
	t.Helper()
	dir, err := os.MkdirTemp("", "host") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "securetag.hcl")
	if err := os.WriteFile(config, fmt.Appendf(nil, "data_dir = %q\n", filepath.Join(dir, "data")), 0o600); err != nil {
		t.Fatal(err)
	}
	securetag := filepath.Join(built, "securetag")
	testhost.Command(t, securetag, "-c", config, "tenant", "create", "acme")
	key := testhost.Command(t, securetag, "-c", config, "key", "create", "--tenant", "acme", "--name", "test")
	p := &testhost.Process{Binary: securetag, Config: config, Listen: testhost.FreeAddress(t)}
	p.Start(t)
	t.Cleanup(func() { p.Stop(t) })
	return server{"http://" + p.Listen, strings.TrimSpace(key)}
}
