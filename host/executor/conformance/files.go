package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func fileChecks() []check {
	return []check{
		must("files.target-unchanged", treeStage, "The target is as it was after the scans",
			"Write only below work_dir or TMPDIR, never in the tree: no caches, no databases, no __pycache__.",
			contract("ScanRequest.work_dir"), (*kit).leavesTrees),
		must("files.outside", configured, "Nothing is written beside the target and the work directory",
			"Write only below work_dir or TMPDIR, use no path that the target names, and write nothing after a scan is over.",
			contract("ScanRequest.work_dir"), (*kit).leavesOutside),
	}
}

func (k *kit) leavesTrees(ctx context.Context) outcome {
	if _, err := k.transcripts(ctx); err != nil {
		return k.trouble(err)
	}
	for _, name := range k.treeNames() {
		t := k.trees[name]
		after, err := snapshot(t.root)
		if err != nil {
			return k.trouble(fmt.Errorf("look at the %s tree: %w", name, err))
		}
		if why := changed(t.before, after); why != "" {
			return failed("the %s tree: %s", name, why)
		}
	}
	return pass()
}

// leavesOutside looks at the kit's own directory, where only the kit writes.
func (k *kit) leavesOutside(ctx context.Context) outcome {
	if _, err := k.transcripts(ctx); err != nil {
		return k.trouble(err)
	}
	want := map[string][]string{".": {"outside", "run", "trees", "work"}, "work": nil}
	if k.takes(pluginv1.Input_INPUT_TREE) {
		for name, t := range k.trees {
			if name != ownTree {
				want["trees"] = append(want["trees"], filepath.Base(t.root))
			}
		}
		for i := range mostAtOnce {
			want["trees"] = append(want["trees"], fmt.Sprintf("side%d", i))
		}
	}
	if t := k.trees[linksTree]; t != nil {
		want["outside"] = []string{"deploy", "src", "go.mod", "package.json", "package-lock.json", "requirements.txt", "README.md"}
	}
	for dir, names := range want {
		entries, err := os.ReadDir(filepath.Join(k.base, dir))
		if err != nil {
			return failed("the directory %s of the tests cannot be read any more: %v", dir, err)
		}
		for _, e := range entries {
			if !slices.Contains(names, e.Name()) {
				return failed("%s is new in %s", quote(e.Name()), filepath.Join(k.base, dir))
			}
		}
	}
	return pass()
}

// makeDir makes a directory for one scan.
func makeDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("make a work directory: %w", err)
	}
	return nil
}
