package engines_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/testhost"
)

const repository = "../.."

// modules are the engines in modules of their own.
var modules = []string{"secrets", "web", "dependencies", "iac", "gosec", "sarif"}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := build(); err == nil {
			_ = os.RemoveAll(dir) // of the machine's temporary files
		}
		os.Exit(code)
	}))
}

// build makes an installation: the program, and the plugins beside it. What
// `make build` has compiled is linked again and no more.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "engines-*")
	if err != nil {
		return "", err
	}
	err = testhost.Build(repository, filepath.Join(dir, "securetag"), "./cmd/securetag")
	for _, name := range modules {
		err = errors.Join(err, testhost.Build(filepath.Join(repository, "plugins", name), filepath.Join(dir, "plugins", name), "."))
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // confined plugins have a user of their own
	}
	return dir, err
})

func built(t testing.TB) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// goEnv is a setting of the go command that runs the tests.
func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := output("go", "env", name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// noArtifacts reads artifacts and keeps none.
type noArtifacts struct{}

func (noArtifacts) Artifact(_ context.Context, _ host.Artifact, r io.Reader) (int64, error) {
	return io.Copy(io.Discard, r)
}
