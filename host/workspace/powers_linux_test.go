package workspace

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestPowers makes and removes a tree with every set of powers that this process
// has a part of: tests mostly run as root, hosts mostly do not.
func TestPowers(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	if _, err := w.Create("a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	own, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	all := findPowers(own, "p")
	if _, err := os.Lstat(filepath.Join(own.Name(), "p")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("trying the powers left something: %v", err)
	}
	for _, can := range []powers{{}, {exact: all.exact}, {above: all.above}, all} {
		tree, err := makeTree(own, "t", can)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.close()
		if _, err := tree.extract(t.Context(), bytes.NewReader(packed.Bytes()), int64(packed.Len()), Limits{}); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{"": 0o555, "a": 0o555, "a/b": 0o555, "a/b/c": 0o444} {
			info, err := os.Lstat(filepath.Join(own.Name(), "t", path))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != want {
				t.Errorf("with %+v %q is %v; want %v", can, path, info.Mode(), want)
			}
		}
		if err := tree.remove(own, "t"); err != nil {
			t.Errorf("with %+v: remove: %v", can, err)
		}
		if _, err := os.Lstat(filepath.Join(own.Name(), "t")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("with %+v the tree is still there: %v", can, err)
		}
	}
}
