package workspace_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile is a table of archives that every format can hold.
func hostile() map[string]struct {
	items []item
	lim   workspace.Limits
	want  workspace.Code
} {
	type row = struct {
		items []item
		lim   workspace.Limits
		want  workspace.Code
	}
	ok := file("ok.txt", "fine")
	deep := strings.Repeat("d/", 63)
	rows := map[string]row{
		"parent":              {items: []item{file("../canary", "dead")}, want: workspace.CodePathEscape},
		"parent in the path":  {items: []item{file("a/../../canary", "dead")}, want: workspace.CodePathEscape},
		"parent, harmless":    {items: []item{file("a/../b", "x")}, want: workspace.CodePathEscape},
		"parent directory":    {items: []item{dir("../"), ok}, want: workspace.CodePathEscape},
		"parent at the end":   {items: []item{dir("a/../"), ok}, want: workspace.CodePathEscape},
		"absolute":            {items: []item{file("/etc/cron.d/x", "dead")}, want: workspace.CodePathEscape},
		"absolute twice":      {items: []item{file("//etc/cron.d/x", "dead")}, want: workspace.CodePathEscape},
		"absolute behind dot": {items: []item{file(".//etc/cron.d/x", "dead")}, want: workspace.CodeBadName},
		"backslash":           {items: []item{file(`..\canary`, "dead")}, want: workspace.CodeBadName},
		"escape":              {items: []item{file("a\x1b[2Jb", "x")}, want: workspace.CodeBadName},
		"newline":             {items: []item{file("a\nb", "x")}, want: workspace.CodeBadName},
		"delete":              {items: []item{file("a\x7fb", "x")}, want: workspace.CodeBadName},
		"C1 control":          {items: []item{file("a\u009bb", "x")}, want: workspace.CodeBadName},
		"not UTF-8":           {items: []item{file("a\xffb", "x")}, want: workspace.CodeBadName},
		"empty segment":       {items: []item{file("a//b", "x")}, want: workspace.CodeBadName},
		"dot segment":         {items: []item{file("a/./b", "x")}, want: workspace.CodeBadName},
		"dot as file":         {items: []item{file("./.", "x")}, want: workspace.CodeBadName},
		"bad link name":       {items: []item{ok, symlink("../l", "x")}, want: workspace.CodePathEscape},

		"file twice":              {items: []item{file("a", "1"), file("a", "2")}, want: workspace.CodeDuplicateName},
		"file twice, other way":   {items: []item{file("a", "1"), file("./a", "2")}, want: workspace.CodeDuplicateName},
		"file then directory":     {items: []item{file("a", "1"), file("a/b", "2")}, want: workspace.CodeDuplicateName},
		"directory then file":     {items: []item{file("a/b", "1"), file("a", "2")}, want: workspace.CodeDuplicateName},
		"twins in case":           {items: []item{file("README", "1"), file("readme", "2")}, want: workspace.CodeDuplicateName},
		"twins, directories":      {items: []item{file("A/x", "1"), file("a/y", "2")}, want: workspace.CodeDuplicateName},
		"twins, directory entry":  {items: []item{dir("A/"), dir("a/"), ok}, want: workspace.CodeDuplicateName},
		"twins in form":           {items: []item{file("caf\u00e9", "1"), file("cafe\u0301", "2")}, want: workspace.CodeDuplicateName},
		"twins, sharp s":          {items: []item{file("stra\u00dfe", "1"), file("STRASSE", "2")}, want: workspace.CodeDuplicateName},
		"twins, Kelvin":           {items: []item{file("\u212a", "1"), file("k", "2")}, want: workspace.CodeDuplicateName},
		"twins, ligature":         {items: []item{file("\ufb01x", "1"), file("fix", "2")}, want: workspace.CodeDuplicateName},
		"not twins":               {items: []item{file("a/b", "1"), file("ab", "2"), file("a.b", "3"), file("a/bc", "4")}},
		"directory twice is fine": {items: []item{dir("a/"), dir("a/"), file("a/x", "1"), dir("./a/")}},

		"at the depth":    {items: []item{file(deep+"f", "x")}},
		"too deep":        {items: []item{file(deep+"d/f", "x")}, want: workspace.CodeTooDeep},
		"3000 deep":       {items: []item{dir(strings.Repeat("d/", 3000)), ok}, lim: workspace.Limits{PathBytes: 10000}, want: workspace.CodeTooDeep},
		"at the name":     {items: []item{file(strings.Repeat("n", 255), "x")}},
		"name too long":   {items: []item{file(strings.Repeat("n", 256), "x")}, want: workspace.CodeBadName},
		"at the path":     {items: []item{file(strings.Repeat(strings.Repeat("p", 127)+"/", 7)+strings.Repeat("p", 128), "x")}},
		"path too long":   {items: []item{file(strings.Repeat(strings.Repeat("p", 127)+"/", 8)+"p", "x")}, want: workspace.CodeBadName},
		"at the entries":  {items: []item{file("a", "1"), file("b", "2")}, lim: workspace.Limits{Entries: 2}},
		"too many":        {items: []item{file("a", "1"), file("b", "2"), file("c", "3")}, lim: workspace.Limits{Entries: 2}, want: workspace.CodeTooManyEntries},
		"implied count":   {items: []item{file("a/b/c/d", "1")}, lim: workspace.Limits{Entries: 3}, want: workspace.CodeTooManyEntries},
		"dropped count":   {items: []item{ok, symlink("a", "b"), symlink("c", "d")}, lim: workspace.Limits{Entries: 2}, want: workspace.CodeTooManyEntries},
		"at the file":     {items: []item{file("a", "12345")}, lim: workspace.Limits{FileBytes: 5}},
		"file too large":  {items: []item{file("a", "123456")}, lim: workspace.Limits{FileBytes: 5}, want: workspace.CodeFileTooLarge},
		"unpacks to much": {items: []item{file("a", strings.Repeat("x", 6000)), file("b", strings.Repeat("y", 6000))}, lim: workspace.Limits{UnpackedBytes: 10000}, want: workspace.CodeTooLargeUnpacked},

		"nothing":            {want: workspace.CodeEmpty},
		"only directories":   {items: []item{dir("a/"), dir("a/b/")}, want: workspace.CodeEmpty},
		"only what we drop":  {items: []item{symlink("a", "b"), file(".git/config", "x")}, want: workspace.CodeEmpty},
		"link in the path":   {items: []item{symlink("a", "/etc"), file("a/passwd", "dead")}},
		"link, then its own": {items: []item{symlink("a", "../canary"), file("a", "dead")}},
		"hard link":          {items: []item{ok, hardlink("h", "ok.txt"), hardlink("out", "../canary")}},
		"devices": {items: []item{ok, {name: "null", mode: fs.ModeDevice | fs.ModeCharDevice | 0o666},
			{name: "sda", mode: fs.ModeDevice | 0o666}, {name: "fifo", mode: fs.ModeNamedPipe | 0o666}}},
		"setuid": {items: []item{{name: "su", body: "#!", mode: fs.ModeSetuid | 0o4777}, {name: "d/", mode: fs.ModeDir | 0o001}, file("d/x", "y")}},
		"git": {items: []item{ok, dir(".git/"), file(".git/config", "[core]\nfsmonitor=/tmp/x"), file("sub/.git", "gitdir: /"),
			file("vendor/x/.git/hooks/pre-commit", "x"), file(".GIT/config", "x"), file("\uff0egit/config", "x"),
			file(".git/refs/heads/Feature", "1"), file(".git/refs/heads/feature", "2"), file(".github/x", "kept"), file(".gitignore", "kept")}},
		"leading dot":     {items: []item{dir("./"), dir("./a/"), file("./a/b", "x")}},
		"nested archive":  {items: []item{file("inner.zip", "PK\x03\x04 not looked into")}},
		"empty file":      {items: []item{file("a", ""), file("b/c", "")}},
		"strange but fit": {items: []item{file("a b/ü/日本語/-rf/~/$(x)/…/\u202e", "x"), file("con", "x"), file("a:b", "x")}},
	}
	return rows
}

func TestHostile(t *testing.T) {
	t.Parallel()
	dropped := map[string]workspace.Dropped{
		"link in the path":   {Links: 1},
		"link, then its own": {Links: 1},
		"hard link":          {Links: 2},
		"devices":            {Devices: 3},
		"git":                {Git: 8},
	}
	kept := map[string]map[string]string{
		"link in the path":   {"a/passwd": "dead"},
		"link, then its own": {"a": "dead"},
		"hard link":          {"ok.txt": "fine"},
		"git":                {"ok.txt": "fine", ".github/x": "kept", ".gitignore": "kept"},
		"leading dot":        {"a/b": "x"},
	}
	for format, pack := range packers() {
		for name, row := range hostile() {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				sum, refusal, files := verdict(t, pack(t, row.items), row.lim)
				wantCode(t, refusal, row.want)
				if row.want != "" {
					return
				}
				if string(sum.Format) != format {
					t.Errorf("format %q, want %q", sum.Format, format)
				}
				if diff := cmp.Diff(dropped[name], sum.Dropped); diff != "" {
					t.Errorf("dropped:\n%s", diff)
				}
				if want := kept[name]; want != nil {
					if diff := cmp.Diff(want, files); diff != "" {
						t.Errorf("files:\n%s", diff)
					}
				}
			})
		}
	}
}

// TestRatio packs zeros, which compress best of all, in each format that
// compresses, with every other budget far away.
func TestRatio(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"zip", "tar.gz", "tar.zst"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			pack := packers()[format]
			_, refusal, files := verdict(t, pack(t, []item{file("zeros", strings.Repeat("\x00", 24<<20))}), workspace.Limits{})
			wantCode(t, refusal, workspace.CodeRatio)
			if n := len(files["zeros"]); n > 12<<20 {
				t.Errorf("%d bytes were written before the refusal", n)
			}
			_, refusal, _ = verdict(t, pack(t, []item{file("zeros", strings.Repeat("\x00", 900<<10))}), workspace.Limits{})
			wantCode(t, refusal, "") // the first MiB is free
		})
	}
}

// TestTruncated cuts archives everywhere. No part of one is ever accepted.
func TestTruncated(t *testing.T) {
	t.Parallel()
	items := []item{dir("d/"), file("d/a", strings.Repeat("some text ", 80)), file("b", strings.Repeat("more", 300)), file("c", "")}
	for format, pack := range packers() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			whole := pack(t, items)
			codes := make(map[workspace.Code]bool)
			for n := 0; n < len(whole); n++ {
				if format == "tar" && n >= len(whole)-tarBlock {
					break // one of the two blocks of the end marker is enough
				}
				_, err := workspace.Check(t.Context(), bytes.NewReader(whole[:n]), int64(n), workspace.Limits{})
				refusal := refusalOf(t, err)
				if refusal == nil {
					t.Fatalf("the first %d of %d bytes were accepted", n, len(whole))
				}
				codes[refusal.Code] = true
			}
			want := map[workspace.Code]bool{workspace.CodeNotAnArchive: true, workspace.CodeTruncated: true}
			if diff := cmp.Diff(want, codes); diff != "" {
				t.Errorf("codes of the cut archives:\n%s", diff)
			}
		})
	}
}

const tarBlock = 512

// TestLying says that there is more of the archive than there is.
func TestLying(t *testing.T) {
	t.Parallel()
	for format, pack := range packers() {
		data := pack(t, []item{file("a", "x")})
		_, err := workspace.Check(t.Context(), bytes.NewReader(data), int64(len(data))+3000, workspace.Limits{})
		if refusal := refusalOf(t, err); refusal == nil {
			t.Errorf("%s: accepted with a size beyond its end", format)
		}
	}
}

// TestDamaged flips a bit at a time. What is still accepted must hold the same
// files: nothing may change a file's content or name unnoticed.
func TestDamaged(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("a line of text, and another; ", 20)
	for _, format := range []string{"zip", "tar.gz", "tar.zst"} { // a bare tar has no checksum of content
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			whole := packers()[format](t, []item{file("name.txt", body)})
			for i := range whole {
				data := slices.Clone(whole)
				data[i] ^= 1 << (i % 8)
				sum, err := workspace.Check(t.Context(), bytes.NewReader(data), int64(len(data)), workspace.Limits{})
				if refusalOf(t, err) == nil && (sum.Files != 1 || sum.UnpackedBytes != int64(len(body))) {
					t.Errorf("bit flipped in byte %d: accepted as %+v", i, sum)
				}
			}
		})
	}
}

func TestNotAnArchive(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		data string
		want workspace.Code
	}{
		"nothing":        {"", workspace.CodeNotAnArchive},
		"one byte":       {"P", workspace.CodeNotAnArchive},
		"text":           {strings.Repeat("just text\n", 200), workspace.CodeNotAnArchive},
		"html":           {"<html>PK\x03\x04", workspace.CodeNotAnArchive},
		"self-extractor": {"MZ" + strings.Repeat("\x90", 600) + string(packZip(t, []item{file("a", "x")})), workspace.CodeNotAnArchive},
		"gzip of text":   {string(gzipped(t, []byte(strings.Repeat("just text\n", 200)))), workspace.CodeNotAnArchive},
		"gzip of little": {string(gzipped(t, []byte("x"))), workspace.CodeNotAnArchive},
		"gzip of a zip":  {string(gzipped(t, packZip(t, []item{file("a", strings.Repeat("x", 999))}))), workspace.CodeNotAnArchive},
		"zstd of text":   {string(zstded(t, []byte(strings.Repeat("just text\n", 200)))), workspace.CodeNotAnArchive},
		"gzip magic":     {"\x1f\x8b", workspace.CodeTruncated},
		"zip magic":      {"PK\x03\x04", workspace.CodeTruncated},
		"zstd magic":     {"\x28\xb5\x2f\xfd", workspace.CodeTruncated},
		"split zip":      {"PK\x07\x08PK\x03\x04", workspace.CodeUnsupported},
		"7z":             {"7z\xbc\xaf\x27\x1c\x00\x04", workspace.CodeUnsupported},
		"rar":            {"Rar!\x1a\x07\x01\x00", workspace.CodeUnsupported},
		"xz":             {"\xfd7zXZ\x00", workspace.CodeUnsupported},
		"bzip2":          {"BZh91AY&SY", workspace.CodeUnsupported},
		"zeros":          {strings.Repeat("\x00", 10240), workspace.CodeEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, refusal, _ := verdict(t, []byte(row.data), workspace.Limits{})
			wantCode(t, refusal, row.want)
		})
	}
}

// TestNotTheArchivesFault: an error of the disk or of the caller must never
// look like a refusal, or a retry that would help is not tried.
func TestNotTheArchivesFault(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	gone := errors.New("host is stopping")
	items := []item{file("a", strings.Repeat("0123456789abcdef", 4096)), file("b", "x")}
	for format, pack := range packers() {
		data := pack(t, items)
		calls := 0
		for n := 0; ; n++ { // fail at the first read, at the second, ...
			calls = 0
			_, err := workspace.Check(t.Context(), readerAt(func(p []byte, off int64) (int, error) {
				if calls++; calls > n {
					return 0, broken
				}
				return bytes.NewReader(data).ReadAt(p, off)
			}), int64(len(data)), workspace.Limits{})
			if err == nil {
				break
			}
			if !errors.Is(err, broken) || errors.Is(err, host.ErrInvalid) {
				t.Errorf("%s, read %d fails: %v", format, n, err)
			}
		}
		if calls < 2 {
			t.Errorf("%s: only %d reads were tried", format, calls)
		}

		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := workspace.Check(ctx, readerAt(func(p []byte, off int64) (int, error) {
			cancel(gone)
			return bytes.NewReader(data).ReadAt(p, off)
		}), int64(len(data)), workspace.Limits{})
		if !errors.Is(err, gone) || errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s, context ends: %v", format, err)
		}
	}
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestTooSlow(t *testing.T) {
	t.Parallel()
	for format, pack := range packers() {
		data := pack(t, []item{file("a", "x")})
		_, err := workspace.Check(t.Context(), bytes.NewReader(data), int64(len(data)), workspace.Limits{Time: 1})
		wantCode(t, refusalOf(t, err), workspace.CodeTooSlow)
		if !errors.Is(err, host.ErrTooLarge) {
			t.Errorf("%s: %v is not ErrTooLarge", format, err)
		}
	}
}

func TestBadLimits(t *testing.T) {
	t.Parallel()
	_, err := workspace.Check(t.Context(), bytes.NewReader(nil), 0, workspace.Limits{Entries: -1, Time: -1})
	if !errors.Is(err, host.ErrInvalid) || !strings.Contains(err.Error(), "Entries") || !strings.Contains(err.Error(), "Time") {
		t.Errorf("negative limits: %v; want both named", err)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	err := &workspace.ArchiveError{Code: workspace.CodePathEscape, Entry: `"../x"`, Detail: `the path has ".." in it`}
	if got, want := err.Error(), `archive refused (path_escape): entry "../x": the path has ".." in it`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	long := file("../"+strings.Repeat("x", 500)+"\u202egpj.exe", "")
	_, refusal, _ := verdict(t, packZip(t, []item{long}), workspace.Limits{})
	if refusal == nil || len(refusal.Entry) > 200 || strings.Contains(refusal.Entry, "\u202e") || !strings.HasPrefix(refusal.Entry, `..."xxx`) {
		t.Errorf("entry shown as %v", refusal)
	}
}
