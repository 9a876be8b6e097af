package pack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack"
)

// TestTreeChangesBetweenPlanAndWrite covers what somebody else may do to the
// tree; want is a part of the error, "" for none.
func TestTreeChangesBetweenPlanAndWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(root string) error
		want    string
		skipped bool // with SkipUnreadable it is left out instead
		content string
	}{
		"grown before it is opened": {func(r string) error { return os.WriteFile(r+"/b", []byte("longer"), 0o644) }, "", false, "longer"},
		"cut before it is opened":   {func(r string) error { return os.Truncate(r+"/b", 1) }, "", false, "o"},
		"gone":                      {func(r string) error { return os.Remove(r + "/b") }, `read "b": no such file`, true, ""},
		"became a link": {func(r string) error {
			return errors.Join(os.Remove(r+"/b"), os.Symlink("a", r+"/b"))
		}, `read "b": replaced by a link`, true, ""},
		"became a link outside": {func(r string) error {
			return errors.Join(os.Remove(r+"/b"), os.Symlink("/etc/passwd", r+"/b"))
		}, `read "b": `, true, ""},
		"became a pipe": {func(r string) error {
			return errors.Join(os.Remove(r+"/b"), syscall.Mkfifo(r+"/b", 0o644))
		}, `read "b": no longer a regular file`, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, skip := range []bool{false, true} {
				root := t.TempDir()
				write(t, root, map[string]string{"a": "1", "b": "old", "c": "3"})
				plan, err := pack.Prepare(t.Context(), root, pack.Config{SkipUnreadable: skip})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.change(root); err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				stats, err := plan.Write(t.Context(), &out)
				if c.want != "" && !skip {
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("got %v, want %q", err, c.want)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				want := []file{{"a", "1"}, {"b", c.content}, {"c", "3"}}
				if c.skipped {
					want = slices.Delete(want, 1, 2)
					if stats.LeftTotal != 1 || stats.Left[0].Name != "b" {
						t.Errorf("left %+v", stats.Left)
					}
				}
				if diff := cmp.Diff(want, unpack(t, &out), cmp.AllowUnexported(file{})); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestFileChangesWhileItIsRead changes a file from the progress call, which
// comes in the middle of it.
func TestFileChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	const size = 300_000
	for name, c := range map[string]struct {
		change func(path string) error
		want   string
	}{
		"shrinks": {func(p string) error { return os.Truncate(p, 70_000) }, `read "b": it shrank from 300000 to`},
		"grows":   {func(p string) error { return os.Truncate(p, size+5) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, root, map[string]string{"b": strings.Repeat("x", size), "c": "3"})
			changed := false
			var out bytes.Buffer
			stats, err := pack.Dir(t.Context(), root, &out, pack.Config{ProgressFunc: func(done, _ int64) {
				if !changed {
					changed = true
					if err := c.change(filepath.Join(root, "b")); err != nil {
						t.Error(err)
					}
				}
			}})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []file{{"b", strings.Repeat("x", size)}, {"c", "3"}}
			if diff := cmp.Diff(want, unpack(t, &out), cmp.AllowUnexported(file{})); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"b"}, stats.Grown); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStopsWithTheContext(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, map[string]string{"a": strings.Repeat("x", 1<<20)})
	because := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	plan, err := pack.Prepare(ctx, root, pack.Config{ProgressFunc: func(int64, int64) { cancel(because) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Write(ctx, io.Discard); !errors.Is(err, because) {
		t.Errorf("Write: %v", err)
	}
	if _, err := pack.Prepare(ctx, root, pack.Config{}); !errors.Is(err, because) {
		t.Errorf("Prepare: %v", err)
	}
}

type brokenPipe struct{ after int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

func TestReceiverGoesAway(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 50 {
		noise := make([]byte, 20_000)
		for j := range noise {
			noise[j] = byte((j*j*31 + i*j) >> 3)
		}
		write(t, root, map[string]string{fmt.Sprint(i): string(noise)})
	}
	if _, err := pack.Dir(t.Context(), root, &brokenPipe{after: 1000}, pack.Config{}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
}
