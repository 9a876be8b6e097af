package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// scanTree runs scan on a tree and returns what came.
func scanTree(t *testing.T, root string, scan func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error) *recorder {
	t.Helper()
	srv := newServer(t, scanner(scan))
	if _, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{}); err != nil {
		t.Fatal(err)
	}
	r := &recorder{ctx: t.Context()}
	if err := srv.Scan(request("a", root), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFiles(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(tree(t, map[string]string{"canary": "secret"}), "canary")
	root := tree(t, map[string]string{"b/2": "22", "b/1": "1", "a": "", "c/d/e/f": "x", "ü ñ": "y"})
	for name, target := range map[string]string{"link-out": outside, "link-in": "a", "link-dir": "b", "loop": "."} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := scanTree(t, root, func(ctx context.Context, _ *struct{}, tg *sdk.Target, _ *sdk.Out) error {
		if tg.Root() != root {
			t.Errorf("root %q, want %q", tg.Root(), root)
		}
		for f, err := range tg.Files(ctx) {
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprintf("%s %d", f.Path, f.Size))
		}
		for _, name := range []string{"fifo", "link-out", "../canary", "/etc/passwd", "b"} {
			if f, err := tg.Open(name); err == nil {
				f.Close()
				return fmt.Errorf("%s was opened", name)
			}
		}
		return nil
	})
	if c := r.completed(t); c.Status != pluginv1.Completed_STATUS_SUCCEEDED {
		t.Fatal(c)
	}
	want := []string{"a 0", "b/1 1", "b/2 2", "c/d/e/f 1", "ü ñ 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilesStop(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"1": "", "2": "", "3": ""})
	scanTree(t, root, func(ctx context.Context, _ *struct{}, tg *sdk.Target, _ *sdk.Out) error {
		n := 0
		for _, err := range tg.Files(ctx) {
			if n++; n == 2 || err != nil {
				break
			}
		}
		if n != 2 {
			t.Errorf("%d files after break", n)
		}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		for _, err := range tg.Files(ctx) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error of an ended walk: %v", err)
			}
		}
		return nil
	})
}

func TestEachLine(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"crlf":   "one\r\ntwo\r\n\r\nfour",
		"long":   strings.Repeat("x", 200_000) + "\nafter\n",
		"edge":   strings.Repeat("y", 100) + "\r\n" + strings.Repeat("z", 101) + "\n",
		"bin":    "text\x00text\n",
		"big":    strings.Repeat("line\n", 100_000),
		"empty":  "",
		"skip.x": "no\n",
	})
	var got []string
	r := scanTree(t, root, func(ctx context.Context, _ *struct{}, tg *sdk.Target, out *sdk.Out) error {
		opts := sdk.LineOptions{MaxFileSize: 300 * sdk.KiB, MaxLine: 100, Match: func(p string) bool { return !strings.HasSuffix(p, ".x") }}
		return tg.EachLine(ctx, opts, func(l sdk.Line) {
			text := l.Text
			if len(text) > 10 {
				text = fmt.Sprintf("%s*%d", text[:1], len(text))
			}
			got = append(got, fmt.Sprintf("%s:%d:%s:%v", l.Path, l.Number, text, l.Cut))
			if strings.HasPrefix(l.Text, "two") {
				out.Finding("r1", sdk.Finding{At: l.At(1, 3)})
			}
		})
	})
	want := []string{
		"crlf:1:one:false", "crlf:2:two:false", "crlf:3::false", "crlf:4:four:false",
		"edge:1:y*100:false", "edge:2:z*100:true",
		"long:1:x*100:true", "long:2:after:false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	all, _ := r.findings()
	if len(all) != 1 || all[0].Location.StartLine != 2 || all[0].Location.StartColumn != 2 || all[0].Location.EndColumn != 4 {
		t.Errorf("findings %v", all)
	}
	if n := r.notes(); len(n) != 1 || n[0].TargetPath != "big" {
		t.Errorf("notes %v, want one about the big file", n)
	}
	if c := r.completed(t); c.FilesScanned != 4 || c.BytesScanned != 16+200_007+204 {
		t.Errorf("completed %v", c)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{"": "****", "hunter2": "****", "AKIA" + "IOSFODNN7EXAMPLE": "AKIA****", strings.Repeat("é", 20): "éé****"} {
		if got := sdk.Redact(secret); got != want {
			t.Errorf("Redact(%q) = %q, want %q", secret, got, want)
		}
	}
}
