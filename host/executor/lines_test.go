package executor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/securetaghq/securetag/host"
)

func TestLineHashes(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(dir, "a.txt"): " a\nb\n  \t\tc\n d", filepath.Join(dir, "empty"): "",
		filepath.Join(dir, "large"): strings.Repeat("x\n", maxHashedFile/2+1), filepath.Join(outside, "secret"): "a\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(path string, line int) host.Finding {
		return host.Finding{Location: host.Location{Path: path, StartLine: line}}
	}
	batch := []host.Finding{
		at("a.txt", 2), at("a.txt", 4), at("a.txt", 9), at("a.txt", 0), at("empty", 1), at("large", 1), at("link", 1), at("pipe", 1),
		at("none", 1), at("../"+filepath.Base(outside)+"/secret", 1), {Location: host.Location{URL: "https://example.com", StartLine: 1}},
	}
	want := []string{"54703d4cd895b18:1", "a23a3dc5e078b07b:1", "", "", "c129715d7a2bc9a3:1", "", "", "", "", "", ""}
	var l lineHasher
	l.hash(dir, batch)
	for i, f := range batch {
		if f.LineHash != want[i] {
			t.Errorf("%s:%d has %q, want %q", f.Location.Path, f.Location.StartLine, f.LineHash, want[i])
		}
	}

	// A scan of many files is read to a bound and no further.
	spent := lineHasher{read: maxHashed}
	again := []host.Finding{at("a.txt", 2)}
	if spent.hash(dir, again); again[0].LineHash != "" || spent.read != maxHashed {
		t.Errorf("read %d bytes after the last, and found %q", spent.read-maxHashed, again[0].LineHash)
	}
	// A target on the web has no tree.
	if l.hash("", again); again[0].LineHash != "" {
		t.Errorf("without a tree: %q", again[0].LineHash)
	}
}
