package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/config"
)

// TestStarterIsTheDefaults: as it is, and with every setting that it shows.
func TestStarterIsTheDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := loadText(t, dir, "").Config
	shown := regexp.MustCompile(`(?m)^( *)# ([a-z_]+ += )`).ReplaceAllString(config.Starter, "$1$2")
	for name, text := range map[string]string{"as it is": config.Starter, "with what it shows": shown} {
		got := loadText(t, dir, text)
		if diff := cmp.Diff(want, got.Config); diff != "" {
			t.Errorf("%s (-default +starter):\n%s", name, diff)
		}
		if got.Source("retention.archives") == "default" != (name == "as it is") {
			t.Errorf("%s: retention.archives comes from %s", name, got.Source("retention.archives"))
		}
	}
}

func TestWriteStarter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), config.FileName)
	if err := config.WriteStarter(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.WriteStarter(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another file: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("the file has now %q, %v", got, err)
	}
	if err := config.WriteStarter(filepath.Join(path, "x")); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("where no file can be: %v", err)
	}
}
