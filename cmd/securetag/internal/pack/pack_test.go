package pack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack"
	"github.com/securetaghq/securetag/host/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// packed packs root and reads the archive back as strictly as the server does.
func packed(t testing.TB, root string, cfg pack.Config) ([]string, pack.Stats) {
	t.Helper()
	var out bytes.Buffer
	stats, err := pack.Dir(t.Context(), root, &out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Written != int64(out.Len()) {
		t.Errorf("written %d, archive has %d bytes", stats.Written, out.Len())
	}
	accepted(t, out.Bytes(), stats)
	files := unpack(t, &out)
	if len(files) != stats.Files {
		t.Errorf("says %d files, archive has %d", stats.Files, len(files))
	}
	var names []string
	var size int64
	for _, f := range files {
		names = append(names, f.name)
		size += int64(len(f.content))
	}
	if size != stats.Bytes {
		t.Errorf("says %d bytes, archive has %d", stats.Bytes, size)
	}
	return names, stats
}

type file struct{ name, content string }

// accepted asks the server's own check, which must drop nothing.
func accepted(t testing.TB, archive []byte, stats pack.Stats) {
	t.Helper()
	sum, err := workspace.Check(t.Context(), bytes.NewReader(archive), int64(len(archive)), workspace.Limits{})
	if err != nil {
		t.Errorf("the server refuses the archive: %v", err)
		return
	}
	if sum.Files != stats.Files || sum.UnpackedBytes != stats.Bytes || sum.Dropped != (workspace.Dropped{}) {
		t.Errorf("the server sees %+v, packed were %+v", sum, stats)
	}
}

// unpack refuses whatever the server refuses.
func unpack(t testing.TB, r io.Reader) []file {
	t.Helper()
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(4<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var files []file
	seen := map[string]bool{}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		switch folded := strings.ToLower(name); {
		case h.Typeflag != tar.TypeReg, !filepath.IsLocal(name), !utf8.ValidString(name), strings.ContainsFunc(name, unicode.IsControl),
			strings.Contains(name, `\`), len(name) > 1024, strings.Count(name, "/") > 63, name != filepath.Clean(name):
			t.Errorf("entry %q of type %q would be refused", name, h.Typeflag)
		case seen[folded]:
			t.Errorf("entry %q is there twice", name)
		default:
			seen[folded] = true
		}
		if h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("entry %q carries its owner, mode or time: %+v", name, h)
		}
		for k := range h.PAXRecords {
			if k != "path" && k != "size" {
				t.Errorf("entry %q has PAX record %q", name, k)
			}
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{name, string(content)})
	}
	return files
}

func TestSameTreeSameBytes(t *testing.T) {
	t.Parallel()
	var archives [2]bytes.Buffer
	for i := range archives {
		root := t.TempDir()
		tree := map[string]string{"b/c": "1", "b.c": "2", "a": "3", "b/" + strings.Repeat("long/", 30) + "x": "4"}
		for name := range tree {
			write(t, root, map[string]string{name: tree[name]})
		}
		if i == 1 {
			if err := os.Chmod(filepath.Join(root, "a"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := pack.Dir(t.Context(), root, &archives[i], pack.Config{}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("two archives of the same tree differ")
	}
	want := []file{{"a", "3"}, {"b/c", "1"}, {"b/" + strings.Repeat("long/", 30) + "x", "4"}, {"b.c", "2"}}
	if diff := cmp.Diff(want, unpack(t, &archives[0]), cmp.AllowUnexported(file{})); diff != "" {
		t.Error(diff)
	}
}

func TestLeavesOut(t *testing.T) {
	t.Parallel()
	outside, root := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"secret": "x"})
	write(t, root, map[string]string{
		"ok": "1", ".git/config": "x", "sub/.git": "gitdir: elsewhere", "sub/ok": "2", "ignored/a": "x", "ignored/b": "x", ".gitignore": "ignored/\n",
		`back\slash`: "x", "new\nline": "x", "esc\x1b[31m": "x", "bad\xff": "x", "c1\u009b": "x",
		"README": "1", "readme": "x", "Dir/a": "1", "dir/b": "x", "stra\u00dfe": "x", "strasse": "1", "\u212a": "x", "k": "1",
		"odd\x7fdir/in": "x", "x/.GIT/y": "x", strings.Repeat("d/", 64) + "deep": "x", strings.Repeat(strings.Repeat("e", 200)+"/", 6) + "f": "x",
	})
	for name, target := range map[string]string{"link": filepath.Join(outside, "secret"), "up": "..", "inside": "ok", "gone": "nowhere", "dirlink": outside} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	names, stats := packed(t, root, pack.Config{})
	want := []string{".gitignore", "Dir/a", "README", "k", "ok", "strasse", "sub/ok"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if stats.Links != 5 || stats.Special != 1 || stats.Ignored != 1 || stats.LeftTotal != len(stats.Left) {
		t.Errorf("stats %+v", stats)
	}
	left := map[string]string{}
	for _, l := range stats.Left {
		left[l.Name] = l.Reason
	}
	long := strings.Repeat("e", 200)
	wantLeft := map[string]string{
		`back\slash`: "name contains a backslash", "new\nline": "name contains a control character", "esc\x1b[31m": "name contains a control character",
		"bad\xff": "name is not valid UTF-8", "c1\u009b": "name contains a control character", "odd\x7fdir": "name contains a control character", "x/.GIT": "the server takes it for .git",
		"readme": `same name as "README" where case and Unicode form do not count`, "dir/b": `same name as "Dir" where case and Unicode form do not count`,
		"stra\u00dfe": `same name as "strasse" where case and Unicode form do not count`, "\u212a": `same name as "k" where case and Unicode form do not count`,
		strings.Repeat("d/", 64) + "deep":  "more than 64 directories deep",
		strings.Repeat(long+"/", 5) + long: "path is longer than 1024 bytes",
	}
	if diff := cmp.Diff(wantLeft, left); diff != "" {
		t.Error(diff)
	}
}

func TestRepositoryAbove(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	git(t, top, "init", "-q")
	write(t, top, map[string]string{
		".gitignore": "*.log\n/lib/app/gen/\napp/tmp\n/a.txt\n", ".git/info/exclude": "*.bak\n", "lib/.gitignore": "!keep.log\n/app/only\nout/\n",
		"lib/app/a.txt": "", "lib/app/x.log": "", "lib/app/keep.log": "", "lib/app/gen/g": "", "lib/app/only": "", "lib/app/sub/only": "",
		"lib/app/app/tmp": "", "lib/app/z.bak": "", "lib/app/out/x": "", "lib/app/deep/out/x": "", "lib/app/.gitignore": "!z.bak\n",
	})
	root := filepath.Join(top, "lib/app")
	names, _ := packed(t, root, pack.Config{})
	slices.Sort(names)
	if diff := cmp.Diff(gitFiles(t, root), names); diff != "" {
		t.Errorf("-git +pack:\n%s", diff)
	}
	// The directory somebody names is scanned, ignored or not.
	write(t, top, map[string]string{"build/x": "", "build/y.log": "", "lib/.gitignore": ""})
	write(t, top, map[string]string{".gitignore": "build/\n*.log\n"})
	names, _ = packed(t, filepath.Join(top, "build"), pack.Config{})
	if diff := cmp.Diff([]string{"x"}, names); diff != "" {
		t.Error(diff)
	}
	names, _ = packed(t, filepath.Join(top, "build"), pack.Config{NoIgnore: true})
	if diff := cmp.Diff([]string{"x", "y.log"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestNestedRepositoryStartsAfresh(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	git(t, root, "init", "-q")
	inner := filepath.Join(root, "vendored")
	write(t, root, map[string]string{".gitignore": "*.log\n", "vendored/x.log": "", "vendored/y.o": "", "vendored/z": ""})
	git(t, inner, "init", "-q")
	write(t, inner, map[string]string{".git/info/exclude": "*.o\n"})
	var want []string
	for _, f := range gitFiles(t, inner) {
		want = append(want, "vendored/"+f)
	}
	names, _ := packed(t, root, pack.Config{})
	if diff := cmp.Diff(append([]string{".gitignore"}, want...), names); diff != "" {
		t.Error(diff)
	}
}

func TestPlanKnowsTheTotals(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, map[string]string{"a": strings.Repeat("x", 200_000), "b/c": "yy", "empty": ""})
	var calls []int64
	plan, err := pack.Prepare(t.Context(), root, pack.Config{ProgressFunc: func(done, total int64) {
		if total != 200_002 {
			t.Errorf("total %d", total)
		}
		calls = append(calls, done)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s := plan.Stats(); s.Files != 3 || s.Bytes != 200_002 {
		t.Errorf("planned %+v", s)
	}
	if plan.Filename() != filepath.Base(root)+".tar.zst" || plan.IsFile() {
		t.Errorf("uploads %q, as it is: %v", plan.Filename(), plan.IsFile())
	}
	var first, second bytes.Buffer
	if _, err := plan.Write(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(calls) || len(calls) < 3 || calls[len(calls)-1] != 200_002 {
		t.Errorf("progress %v", calls)
	}
	if _, err := plan.Write(t.Context(), &second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("second try: %v, same: %v", err, bytes.Equal(first.Bytes(), second.Bytes()))
	}
}

func TestArchiveGoesAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "src.zip")
	content := bytes.Repeat([]byte("PK\x03\x04"), 100_000)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	plan, err := pack.Prepare(t.Context(), path, pack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	stats, err := plan.Write(t.Context(), &out)
	if err != nil || !bytes.Equal(out.Bytes(), content) {
		t.Errorf("copied %d of %d bytes: %v", out.Len(), len(content), err)
	}
	if stats.Bytes != int64(len(content)) || stats.Written != stats.Bytes || plan.Filename() != "src.zip" || !plan.IsFile() {
		t.Errorf("%q %+v", plan.Filename(), stats)
	}
}

func TestRefusesToPackNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, map[string]string{".git/info/exclude": "*\n", "a": ""})
	_, err := pack.Prepare(t.Context(), root, pack.Config{})
	if !errors.Is(err, pack.ErrEmpty) || !strings.Contains(err.Error(), "1 ignored") {
		t.Errorf("got %v", err)
	}
	_, err = pack.Prepare(t.Context(), filepath.Join(root, "nowhere"), pack.Config{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err = pack.Prepare(t.Context(), filepath.Join(root, "pipe"), pack.Config{}); err == nil {
		t.Error("a pipe was taken")
	}
}

// TestStrictReaderTakesAnyTree: whatever names a tree has, packed checks the
// archive, and nothing is lost between packed and left out.
func TestStrictReaderTakesAnyTree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		element := rapid.OneOf(
			rapid.SampledFrom([]string{"a", "A", "..a", "a.", "ß", "ss", "K", "\u212a", "é", "e\u0301", "\ufb01", "fi", "a\\b", "\x01", "\xff", "\u202e", "aux", "x\n"}),
			rapid.StringMatching(`[a-c]{1,3}`),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 8), func(b []byte) string {
				return strings.Map(func(r rune) rune {
					if r == '/' || r == 0 {
						return '_'
					}
					return r
				}, string(b))
			}),
		)
		made := map[string]bool{}
		for range rapid.IntRange(1, 20).Draw(rt, "files") {
			parts := rapid.SliceOfN(element, 1, 5).Draw(rt, "path")
			if slices.ContainsFunc(parts, func(s string) bool { return s == "." || s == ".." || s == ".git" || s == ".gitignore" }) {
				continue
			}
			name := strings.Join(parts, "/")
			path := root + "/" + name
			if os.MkdirAll(filepath.Dir(path), 0o755) == nil && os.WriteFile(path, []byte(name), 0o644) == nil {
				made[name] = true
			}
		}
		if len(made) == 0 {
			return
		}
		var out bytes.Buffer
		stats, err := pack.Dir(t.Context(), root, &out, pack.Config{})
		if errors.Is(err, pack.ErrEmpty) {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		accepted(t, out.Bytes(), stats)
		var accounted []string
		for _, f := range unpack(t, &out) {
			if f.name != f.content {
				rt.Errorf("%q holds %q", f.name, f.content)
			}
			accounted = append(accounted, f.name)
		}
		for name := range made {
			for _, l := range stats.Left {
				if name == l.Name || strings.HasPrefix(name, l.Name+"/") {
					accounted = append(accounted, name)
					break
				}
			}
		}
		want := slices.Collect(func(yield func(string) bool) {
			for n := range made {
				if !yield(n) {
					return
				}
			}
		})
		if diff := cmp.Diff(want, accounted, cmpopts.SortSlices(strings.Compare)); diff != "" {
			rt.Error(diff)
		}
	})
}
