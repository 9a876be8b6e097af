package workspace_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// TestJobsOneAfterTheOther: where a scan has more jobs than the host has slots, its
// archive is still unpacked once, and its tree goes with the last of them.
func TestJobsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, t.TempDir())
		data := packZip(t, []item{file("a/file", "text")})
		var opened atomic.Int32
		open := func(ctx context.Context) (host.Blob, error) {
			opened.Add(1)
			return opens(data)(ctx)
		}
		var root string
		run := func(job host.JobID, of int) {
			t.Helper()
			tree, err := m.AcquireFor(t.Context(), "scan", workspace.Use{Job: job, Of: of}, open)
			if err != nil {
				t.Fatal(err)
			}
			root = tree.Root()
			wantFile(t, root)
			tree.Release()
		}
		run("one", 3)
		wantFile(t, root)
		run("two", 3)
		run("two", 3) // tried again
		wantFile(t, root)
		run("three", 3)
		gone(t, root)
		if n := opened.Load(); n != 1 {
			t.Errorf("unpacked %d times, want once", n)
		}
		run("alone", 1)
		gone(t, root)

		// Those that do not come are not waited for for ever.
		run("one", 2)
		time.Sleep(9 * time.Second)
		wantFile(t, root)
		run("one", 2)
		time.Sleep(9 * time.Second)
		wantFile(t, root)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		gone(t, root)
	})
}

// TestUnusedAreFew: however many scans leave their trees for more jobs, a few are
// kept.
func TestUnusedAreFew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newManager(t, dir)
	data := packZip(t, []item{file("a/file", "text")})
	var roots []string
	for i := range 12 {
		tree, err := m.AcquireFor(t.Context(), host.ScanID(fmt.Sprint(i)), workspace.Use{Job: "one", Of: 2}, opens(data))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, tree.Root())
		tree.Release()
	}
	left := 0
	for _, root := range roots {
		if _, err := os.Stat(root); err == nil {
			left++
		}
	}
	if left != 8 {
		t.Errorf("%d trees are kept, want 8", left)
	}
	gone(t, roots[0])
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, roots[11])
}

// TestGiveOfSeveral: the tree of a scan with more jobs stays where it is for them;
// what a process gets are the same files.
func TestGiveOfSeveral(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newManager(t, dir)
	tree, err := m.AcquireFor(t.Context(), "scan", workspace.Use{Job: "one", Of: 2}, opens(packZip(t, []item{file("a/file", "text")})))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Release()
	dst := filepath.Join(dir, "slot")
	taken, err := tree.Give(dst)
	if err != nil {
		t.Fatal(err)
	}
	one, err := os.Stat(filepath.Join(tree.Root(), "a/file"))
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.Stat(filepath.Join(dst, "a/file")); err != nil || !os.SameFile(one, two) {
		t.Errorf("another file was given: %v", err)
	}
	taken()
	gone(t, dst)
	wantFile(t, tree.Root())
}
