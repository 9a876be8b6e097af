package executor_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/host"
)

// TestDesks: the runs of a shared process write to one directory in turn while
// they leave nothing in it, and what one leaves no other one sees.
func TestDesks(t *testing.T) {
	t.Parallel()
	desks := func(b *bench) (paths []string) {
		all, err := filepath.Glob(filepath.Join(b.runDir, "p*", "work", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	run := func(b *bench, task host.Task) {
		t.Helper()
		if _, err := b.Run(t.Context(), task, &sink{}); err != nil {
			t.Fatal(err)
		}
	}
	tidy := newBench(t, "ok", confined, shared)
	var first []string
	for range 3 {
		run(tidy, tidy.task(t, ""))
		now := desks(tidy)
		if first == nil {
			first = now
		}
		if len(now) != 1 || now[0] != first[0] {
			t.Fatalf("after a run that leaves nothing: %v, want %v again", now, first)
		}
	}
	untidy := newBench(t, "read-tree", confined, shared) // it writes a file to its directory
	task := untidy.task(t, "")
	task.Root = t.TempDir()
	if err := os.WriteFile(filepath.Join(task.Root, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run(untidy, task)
		if left := desks(untidy); len(left) > 0 {
			t.Errorf("what a run has left is still there: %v", left)
		}
	}
}
