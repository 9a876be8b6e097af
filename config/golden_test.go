package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run go test ./config -update if that is meant:\n%s", path, diff)
	}
}

// inputs lists the cases of a directory under testdata.
func inputs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.hcl"))
	dirs, derr := filepath.Glob(filepath.Join("testdata", dir, "*.d"))
	if err = errors.Join(err, derr); err != nil || len(files) == 0 {
		t.Fatalf("no inputs in testdata/%s: %v", dir, err)
	}
	return append(files, dirs...)
}

// goldenOf is the file that an input is compared with.
func goldenOf(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, ".hcl"), ".d") + ".golden"
}

// environOf is environ with what comment lines "# env NAME=value" of a file add.
func environOf(t *testing.T, path string) []string {
	t.Helper()
	out := environ()
	text, err := os.ReadFile(path)
	if err != nil {
		return out // a directory
	}
	for line := range strings.Lines(string(text)) {
		if kv, ok := strings.CutPrefix(line, "# env "); ok {
			out = append(out, strings.TrimSpace(kv))
		}
	}
	return out
}

// environ is what the golden cases may use.
func environ() []string {
	return []string{"DATABASE_URL=postgres://app:s3cret@db:5432/securetag", "REDIS_PASSWORD=hunter2", "SLOTS=6"}
}
