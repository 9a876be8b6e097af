package sdk_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func TestEachFile(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"a": "1", "b": "22", "empty": "", "big": strings.Repeat("x", 2000), "skipped/deep/c": "3", "skip": "4", "bad": "5", "panics": "6",
	})
	var mu sync.Mutex
	var got []string
	r := scanTree(t, root, func(ctx context.Context, _ *struct{}, tg *sdk.Target, out *sdk.Out) error {
		return tg.EachFile(ctx, sdk.FileOptions{
			MaxFileSize: sdk.KiB, Workers: 3, Skip: func(p string) bool { return strings.HasPrefix(p, "skip") },
		}, func(_ context.Context, f sdk.File) error {
			mu.Lock()
			got = append(got, f.Path)
			mu.Unlock()
			switch f.Path {
			case "bad":
				return errors.New("it is torn")
			case "panics":
				panic("secret text")
			}
			out.Scanned(1, uint64(f.Size))
			return nil
		})
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b", "bad", "panics"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	notes := map[string]string{}
	for _, n := range r.notes() {
		notes[n.TargetPath] = n.Summary
	}
	if diff := cmp.Diff(map[string]string{
		"big": "larger than 1KiB, not scanned", "bad": "could not be read: it is torn", "panics": "the scanner failed on this file",
	}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if c := r.completed(t); c.Status != pluginv1.Completed_STATUS_PARTIAL || c.FilesScanned != 2 || c.BytesScanned != 3 {
		t.Errorf("completed %v", c)
	}
}

// TestEachFileCanceled: it ends with the cause, when the calls have.
func TestEachFileCanceled(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": "1", "b": "2", "c": "3"})
	enough := errors.New("enough")
	scanTree(t, root, func(ctx context.Context, _ *struct{}, tg *sdk.Target, _ *sdk.Out) error {
		ctx, cancel := context.WithCancelCause(ctx)
		calls := 0
		err := tg.EachFile(ctx, sdk.FileOptions{Workers: 1}, func(ctx context.Context, _ sdk.File) error {
			calls++
			cancel(enough)
			return ctx.Err()
		})
		if !errors.Is(err, enough) || calls == 0 || calls == 3 {
			t.Errorf("after %d calls: %v, want the cause and not all files", calls, err)
		}
		return nil
	})
}
