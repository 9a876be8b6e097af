package workspace_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// aTree acquires a scan's tree with one file.
func aTree(t *testing.T) (root string, give func(string) (func(), error), again func() string, release func(), dir string) {
	t.Helper()
	dir = t.TempDir()
	m := newManager(t, dir)
	data, scan := packZip(t, []item{file("a/file", "text")}), host.NewScanID()
	tree, err := m.Acquire(t.Context(), scan, opens(data))
	if err != nil {
		t.Fatal(err)
	}
	again = func() string {
		other, err := m.Acquire(t.Context(), scan, opens(data))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.Release)
		return other.Root()
	}
	return tree.Root(), tree.Give, again, tree.Release, dir
}

func wantFile(t *testing.T, root string) {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(root, "a", "file")); err != nil || string(text) != "text" {
		t.Errorf("the file in %s: %q, %v", root, text, err)
	}
}

// TestGiveMoves: a tree that one job uses is moved, and whoever asks for it
// afterwards gets another.
func TestGiveMoves(t *testing.T) {
	t.Parallel()
	root, give, again, release, dir := aTree(t)
	dst := filepath.Join(dir, "slot")
	taken, err := give(dst)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, root)
	wantFile(t, dst)
	if other := again(); other == root {
		t.Error("the tree that was moved was handed out again")
	} else {
		wantFile(t, other)
	}
	taken()
	gone(t, dst)
	release()
}

// TestGiveLinks: a tree that others use stays where it is.
func TestGiveLinks(t *testing.T) {
	t.Parallel()
	root, give, again, release, dir := aTree(t)
	if other := again(); other != root {
		t.Fatalf("two jobs of a scan have %s and %s", root, other)
	}
	dst := filepath.Join(dir, "slot")
	taken, err := give(dst)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst)
	wantFile(t, root)
	taken()
	gone(t, dst)
	release()
	wantFile(t, root) // the other job's still
}

// TestGiveLast: the last job of several has the tree itself, and when it is tried
// again, another.
func TestGiveLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newManager(t, dir)
	data := packZip(t, []item{file("a/file", "text")})
	run := func(job host.JobID) (stays bool) {
		t.Helper()
		tree, err := m.AcquireFor(t.Context(), "scan", workspace.Use{Job: job, Of: 2}, opens(data))
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Release()
		dst := filepath.Join(dir, "slot")
		taken, err := tree.Give(dst)
		if err != nil {
			t.Fatal(err)
		}
		defer gone(t, dst)
		defer taken()
		wantFile(t, dst)
		_, err = os.Lstat(tree.Root())
		return err == nil
	}
	for i, step := range []struct {
		job   host.JobID
		stays bool
	}{{"one", true}, {"one", true}, {"two", false}, {"two", true}, {"one", false}} {
		if stays := run(step.job); stays != step.stays {
			t.Errorf("step %d, job %s: the tree stays where it was: %t", i, step.job, stays)
		}
	}
}

// TestGiveFails: the tree is where it was, and goes when it is released.
func TestGiveFails(t *testing.T) {
	t.Parallel()
	root, give, _, release, dir := aTree(t)
	if _, err := give(filepath.Join(dir, "nowhere", "slot")); err == nil {
		t.Fatal("no error")
	}
	wantFile(t, root)
	release()
	gone(t, root)
}
