package rmtree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host/internal/rmtree"
)

// TestDeep: a tree deeper than any path can be long, and than a process may have
// files open.
func TestDeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	at, err := root.OpenRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if err := at.Mkdir("d", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := at.OpenRoot("d")
		if err != nil {
			t.Fatal(err)
		}
		at.Close()
		at = next
	}
	at.Close()
	outside := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := root.Symlink(filepath.Dir(outside), "link"); err != nil {
		t.Fatal(err)
	}
	if err := root.Mkdir("shut", 0); err != nil {
		t.Fatal(err)
	}
	if err := rmtree.Empty(root); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
}
