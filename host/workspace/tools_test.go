package workspace_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host/workspace"
)

// TestTools reads what the tools people have write: testdata/tools holds one
// small tree as packed by GNU tar, Info-ZIP, git archive, jar, Python, zstd and
// pzstd, streamed and not. Being strict must not mean to refuse them.
func TestTools(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"src/main.go":     "package main\n",
		"src/deep/ü.py":   "x = 1\n",
		"src/__init__.py": "",
		"run.sh":          "#!/bin/sh\n",
	}
	archives, err := filepath.Glob("testdata/tools/*")
	if err != nil || len(archives) < 10 {
		t.Fatalf("the archives are missing: %v, %v", archives, err)
	}
	for _, name := range archives {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sum, refusal, files := verdict(t, data, workspace.Limits{})
			wantCode(t, refusal, "")
			got := make(map[string]string)
			for path, body := range files {
				got[strings.TrimPrefix(path, "p-1.0/")] = body
			}
			if got["link"] == got["run.sh"] { // packed through the link, by a tool that follows them
				delete(got, "link")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files:\n%s", diff)
			}
			if sum.Dropped.Total() != sum.Dropped.Links || sum.Dropped.Links > 1 {
				t.Errorf("dropped %+v", sum.Dropped)
			}
		})
	}
}

// TestRealProject packs a part of Go's own source tree and expects every byte
// of it back.
func TestRealProject(t *testing.T) {
	t.Parallel()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src", "archive")
	want := make(map[string]string)
	items := []item{dir("./")}
	err = filepath.WalkDir(src, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == src {
			return err
		}
		rel, _ := filepath.Rel(src, name)
		if d.IsDir() {
			items = append(items, dir("./"+rel+"/"))
			return nil
		}
		body, err := os.ReadFile(name)
		items = append(items, file("./"+rel, string(body)))
		want[rel] = string(body)
		return err
	})
	if err != nil || len(want) < 50 {
		t.Fatalf("%d files in %s, %v", len(want), src, err)
	}
	for format, pack := range packers() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			_, refusal, files := verdict(t, pack(t, items), workspace.Limits{})
			wantCode(t, refusal, "")
			if diff := cmp.Diff(want, files); diff != "" {
				t.Errorf("files differ:\n%.1000s", diff)
			}
		})
	}
}
