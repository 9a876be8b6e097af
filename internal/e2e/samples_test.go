package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample is a small project with two secrets.
func sample(t *testing.T) []byte {
	t.Helper()
	return tarGz(t, map[string]string{
		"app/main.py":   "import os\nprint(os.name)\n",
		"app/prod.env":  "A=1\nAWS_ACCESS_KEY_ID=AKIA" + "Q3EGRIZ7" + "WT5KHJMN\nGITHUB_TOKEN=ghp_" + "0Zk9mQ4rT8xW2vB7" + "nL5cY1hD6sF3jG0pK9aE\n",
		"app/README.md": "# app\n",
	})
}

// tarGz packs files by name.
func tarGz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gitleaksSources copies the sources of the gitleaks that the plugin is built
// from, without the files by which a tree tells gitleaks what to overlook.
func gitleaksSources(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/zricethezav/gitleaks/v8")
	cmd.Dir = "../../plugins/secrets"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find the sources of gitleaks: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".gitleaks.toml", ".gitleaksignore"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return dir
}

// gitleaksFindings runs gitleaks itself.
func gitleaksFindings(t *testing.T, tree string) map[string]int {
	t.Helper()
	out := filepath.Join(t.TempDir(), "report.json")
	empty := t.TempDir()
	cmd := exec.CommandContext(t.Context(), bin.gitleaks, "dir", tree, "--config", filepath.Join(tree, "config", "gitleaks.toml"),
		"--ignore-gitleaks-allow", "--gitleaks-ignore-path", empty, "--report-path", out, "--report-format", "json", "--exit-code", "0", "--no-banner")
	cmd.Dir = empty
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gitleaks: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var leaks []struct {
		File, RuleID string
		StartLine    int
	}
	if err := json.Unmarshal(b, &leaks); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, l := range leaks {
		rel, err := filepath.Rel(tree, l.File)
		if err != nil {
			t.Fatal(err)
		}
		found[fmt.Sprintf("%s:%d %s", filepath.ToSlash(rel), l.StartLine, l.RuleID)]++
	}
	return found
}

// dirFiles reads a tree into memory.
func dirFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range filesBelow(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.ToSlash(name)] = string(b)
	}
	return files
}

// filesBelow lists regular files, relative to dir.
func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
