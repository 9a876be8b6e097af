package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestOwnDir(t *testing.T) {
	t.Parallel()
	name := "securetag-" + strconv.Itoa(os.Getuid())
	shared := t.TempDir()
	for range 2 {
		dir, err := ownDir(shared)
		if err != nil || dir != filepath.Join(shared, name) {
			t.Fatalf("%q, %v", dir, err)
		}
	}
	for what, plant := range map[string]func(string) error{
		"a link":          func(path string) error { return os.Symlink(shared, path) },
		"open to others":  func(path string) error { return os.Chmod(path, 0o755) },
		"a file":          func(path string) error { return os.WriteFile(path, nil, 0o700) },
		"a link to there": func(path string) error { return os.Symlink(filepath.Join(shared, name), path) },
	} {
		in := t.TempDir()
		path := filepath.Join(in, name)
		if what == "open to others" {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if dir, err := ownDir(in); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %q, %v", what, dir, err)
		}
	}
}

// TestRunDir: sockets live below the data directory while their path fits.
func TestRunDir(t *testing.T) {
	t.Parallel()
	dir, err := runDir("/var/lib/securetag", &identity{key: "abc", slot: 3})
	if err != nil || dir != "/var/lib/securetag/run/3" {
		t.Errorf("%q, %v", dir, err)
	}
	dir, err = runDir("/"+strings.Repeat("deep/", 20), &identity{key: "abc", slot: 3})
	if err != nil || !strings.HasPrefix(dir, "/tmp/securetag-") || !strings.HasSuffix(dir, "/abc") {
		t.Errorf("%q, %v", dir, err)
	}
}
