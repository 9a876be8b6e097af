package pack_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack"
)

// asNobody runs f on a thread that has lost root's right to read everything;
// for anybody else permissions hold as they are.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			if err := unix.Setfsuid(65534); err != nil {
				panic(err)
			}
		}
		f()
	}()
	<-done
}

func TestUnreadableIsNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, map[string]string{"ok": "1", "dir/x": "2"})
	for i := range 14 {
		name := fmt.Sprintf("locked%02d", i)
		write(t, root, map[string]string{name: "x"})
		if err := os.Chmod(filepath.Join(root, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{filepath.Dir(root), root} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "dir"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "dir"), 0o755) }) //nolint:errcheck // so that it can be removed

	asNobody(func() {
		_, err := pack.Prepare(t.Context(), root, pack.Config{})
		if err == nil {
			t.Error("unreadable files were not noticed")
			return
		}
		for _, want := range []string{`read "dir": permission denied`, `read "locked00": permission denied`, "and 5 more"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in: %v", want, err)
			}
		}
		stats, err := pack.Dir(t.Context(), root, io.Discard, pack.Config{SkipUnreadable: true})
		if err != nil || stats.Files != 1 || stats.LeftTotal != 15 {
			t.Errorf("with SkipUnreadable: %v %+v", err, stats)
		}
	})
}
