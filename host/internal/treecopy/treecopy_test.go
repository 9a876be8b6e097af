package treecopy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host/internal/treecopy"
)

func TestCopy(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	for _, dir := range []string{"a", "a/b", "empty"} {
		if err := os.Mkdir(filepath.Join(src, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(src, "a/b/file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(src, "a/link")); err != nil {
		t.Fatal(err)
	}
	if err := treecopy.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // as a plain user, t.TempDir cannot
		for _, dir := range []string{"", "a", "a/b", "empty"} {
			_ = os.Chmod(filepath.Join(dst, dir), 0o700)
		}
	})
	if b, err := os.ReadFile(filepath.Join(dst, "a/b/file")); err != nil || string(b) != "text" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if to, err := os.Readlink(filepath.Join(dst, "a/link")); err != nil || to != "/etc/passwd" {
		t.Errorf("the link: %q, %v", to, err)
	}
	if info, err := os.Stat(filepath.Join(dst, "empty")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("the empty directory: %v, %v", info, err)
	}
	if err := treecopy.Copy(dst, src); err == nil {
		t.Error("a copy onto something that is there: no error")
	}
}
