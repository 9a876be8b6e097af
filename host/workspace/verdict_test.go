package workspace_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// verdict runs Check and Extract on an archive, checks everything that must
// hold for any archive, and returns what they agree on: the summary or the
// refusal, and the files that came out.
func verdict(t testing.TB, data []byte, lim workspace.Limits) (workspace.Summary, *workspace.ArchiveError, map[string]string) {
	t.Helper()
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	canary := filepath.Join(outside, "canary")
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(canary, []byte("alive"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unseal(root) })

	checked, cerr := workspace.Check(t.Context(), bytes.NewReader(data), int64(len(data)), lim)
	extracted, xerr := workspace.Extract(t.Context(), bytes.NewReader(data), int64(len(data)), root, lim)
	refusal := refusalOf(t, cerr)
	if diff := cmp.Diff(refusal, refusalOf(t, xerr)); diff != "" {
		t.Errorf("Check (-) and Extract (+) refuse differently:\n%s", diff)
	}
	if diff := cmp.Diff(checked, extracted); diff != "" {
		t.Errorf("Check (-) and Extract (+) found other things:\n%s", diff)
	}

	if got, err := os.ReadFile(canary); err != nil || string(got) != "alive" {
		t.Errorf("the file beside the root: %q, %v", got, err)
	}
	if around, err := os.ReadDir(outside); err != nil || len(around) != 2 {
		t.Errorf("beside the root there is %v, %v", around, err)
	}
	files, bytes := contents(t, root, refusal == nil)
	if refusal == nil && (len(files) != checked.Files || bytes != checked.UnpackedBytes || len(files) == 0) {
		t.Errorf("the tree has %d files with %d bytes, the summary says %d with %d", len(files), bytes, checked.Files, checked.UnpackedBytes)
	}
	if refusal != nil && checked != (workspace.Summary{}) {
		t.Errorf("a refused archive has the summary %+v", checked)
	}
	budget := lim.UnpackedBytes
	if budget == 0 {
		budget = 1 << 30
	}
	if bytes > budget {
		t.Errorf("%d bytes were written, the budget is %d", bytes, budget)
	}
	if refusal == nil && checked.Format == workspace.FormatZip {
		sameAsStd(t, data, files)
	}
	return checked, refusal, files
}

func refusalOf(t testing.TB, err error) *workspace.ArchiveError {
	t.Helper()
	if err == nil {
		return nil
	}
	var refusal *workspace.ArchiveError
	if !errors.As(err, &refusal) {
		t.Fatalf("not a refusal of the archive: %v", err)
	}
	if !errors.Is(err, host.ErrInvalid) && !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("%v wraps neither ErrInvalid nor ErrTooLarge", err)
	}
	if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("unfit to show: %q", err.Error())
	}
	return refusal
}

// contents reads a tree and complains of anything but regular files and
// directories, and of permissions, when it should be sealed.
func contents(t testing.TB, root string, sealed bool) (map[string]string, int64) {
	t.Helper()
	files := make(map[string]string)
	var total int64
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.ModeDir | 0o555
		if !d.IsDir() {
			want = 0o444
			body, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, name)
			files[filepath.ToSlash(rel)] = string(body)
			total += int64(len(body))
		}
		if sealed && info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
		if !info.Mode().IsRegular() && !info.IsDir() {
			t.Errorf("%s is a %v", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, total
}

// unseal lets t.TempDir clean up when the tests do not run as root.
func unseal(root string) {
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
}

// sameAsStd checks that archive/zip finds the same files in a zip that was
// accepted: our reader of the directory and that one must not disagree.
func sameAsStd(t testing.TB, data []byte, files map[string]string) {
	t.Helper()
	std := make(map[string]string)
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Errorf("archive/zip refuses what was accepted: %v", err)
		return
	}
	for _, f := range r.File {
		if !f.Mode().IsRegular() || strings.Contains("/"+strings.ToLower(f.Name), "/.git/") {
			continue
		}
		name := f.Name
		for strings.HasPrefix(name, "./") {
			name = name[2:]
		}
		if _, ours := files[name]; !ours && strings.Contains(strings.ToLower(name), "git") {
			continue // .git in another spelling
		}
		body, err := readZipFile(f)
		if err != nil {
			t.Errorf("archive/zip cannot read %q: %v", name, err)
		}
		std[name] = body
	}
	if diff := cmp.Diff(std, files); diff != "" {
		t.Errorf("archive/zip (-) and we (+) read other files:\n%.2000s", diff)
	}
}

func readZipFile(f *zip.File) (string, error) {
	r, err := f.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// wantCode complains when the refusal is not for the wanted reason; "" wants
// none.
func wantCode(t testing.TB, got *workspace.ArchiveError, want workspace.Code) {
	t.Helper()
	code := workspace.Code("")
	if got != nil {
		code = got.Code
	}
	if code != want {
		t.Errorf("refused with %q (%v), want %q", code, fmt.Sprint(got), want)
	}
}
