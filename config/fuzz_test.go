package config_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/config"
)

// FuzzLoad holds that any file gives either a configuration that can be shown
// or mistakes that can be printed, never a panic or another error.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"valid", "invalid"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.hcl"))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range append(files, filepath.Join("..", config.FileName)) {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	dir := f.TempDir()
	path := filepath.Join(dir, config.FileName)
	f.Fuzz(func(t *testing.T, text []byte) { // not parallel: the inputs share one file
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := config.Load(config.Options{Dir: dir, Path: path, Executable: "/bin/securetag", Environ: environ()})
		if err == nil {
			err = l.Show(io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		var e *config.Error
		if !errors.As(err, &e) || len(e.Diagnostics) == 0 || e.Error() == "" {
			t.Fatalf("got %T %v, want a *config.Error", err, err)
		}
		if err := e.Write(io.Discard, true, 60); err != nil {
			t.Fatal(err)
		}
	})
}
