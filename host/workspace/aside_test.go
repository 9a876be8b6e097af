package workspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// TestLargeTreesGoAside: a large tree has left its place when it is given back,
// however many are, and nothing of any stays.
func TestLargeTreesGoAside(t *testing.T) {
	t.Parallel()
	items := []item{file("a/file", "text")}
	for i := range 100 {
		items = append(items, file(fmt.Sprintf("b%d/c", i), "more"))
	}
	data := packZip(t, items)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := newManager(t, dir)
		var trees []*workspace.Tree
		for i := range 12 { // more than go aside at once
			tree, err := m.Acquire(t.Context(), host.ScanID(fmt.Sprint(i)), opens(data))
			if err != nil {
				t.Fatal(err)
			}
			trees = append(trees, tree)
		}
		for i, tree := range trees {
			if i%2 == 0 {
				tree.Release()
				gone(t, tree.Root())
				continue
			}
			dst := filepath.Join(dir, fmt.Sprint("slot", i))
			taken, err := tree.Give(dst)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, dst)
			synctest.Wait() // there is room
			taken()
			gone(t, dst)
			tree.Release()
		}
		synctest.Wait()
		left, err := os.ReadDir(m.Dir())
		if err != nil || len(left) != 1 { // its lock
			t.Errorf("%d are left in the directory: %v %v", len(left), left, err)
		}
	})
}
