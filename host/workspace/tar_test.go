package workspace_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/securetaghq/securetag/host/workspace"
)

// rawHeader is a ustar header block with a right checksum.
func rawHeader(typeflag byte, name string, size int64) []byte {
	b := make([]byte, tarBlock)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	return sealHeader(b)
}

func sealHeader(b []byte) []byte {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func padded(s string) []byte {
	return append([]byte(s), make([]byte, (tarBlock-len(s)%tarBlock)%tarBlock)...)
}

// paxRecord is "length key=value\n", where length counts itself.
func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n++
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

func pax(typeflag byte, records string) []byte {
	return append(rawHeader(typeflag, "PaxHeaders/x", int64(len(records))), padded(records)...)
}

func TestTar(t *testing.T) {
	t.Parallel()
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	end := make([]byte, 2*tarBlock)
	a := join(rawHeader('0', "a", 5), padded("aaaaa"))
	negative := rawHeader('0', "n", 0)
	copy(negative[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	sealHeader(negative)
	tebi := rawHeader('0', "t", 0)
	copy(tebi[124:], "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00") // base 256
	sealHeader(tebi)
	oldSparse := rawHeader('S', "s", 0)
	copy(oldSparse[257:], "ustar  \x00")
	copy(oldSparse[386:], "00000000000\x0000000000000\x00")
	copy(oldSparse[483:], "20000000000\x00")
	sealHeader(oldSparse)

	for name, row := range map[string]struct {
		data []byte
		lim  workspace.Limits
		want workspace.Code
		kept map[string]string // with ""; nil: just "a"
	}{
		"honest":                  {data: join(a, end)},
		"much padding":            {data: join(a, end, make([]byte, 1<<20))},
		"one block of end":        {data: join(a, end[:tarBlock])},
		"end, not a whole block":  {data: join(a, end, make([]byte, 100))},
		"type NUL":                {data: join(rawHeader(0, "a", 5), padded("aaaaa"), end)},
		"type NUL, slash":         {data: join(rawHeader(0, "d/", 0), a, end)},
		"global comment":          {data: join(pax('g', paxRecord("comment", strings.Repeat("c", 40))), a, end)},
		"long PAX path":           {data: join(pax('x', paxRecord("path", strings.Repeat("p/", 60)+"a")), a, end), kept: map[string]string{strings.Repeat("p/", 60) + "a": "aaaaa"}},
		"long GNU name":           {data: join(rawHeader('L', "././@LongLink", 201), padded(strings.Repeat("p", 200)+"\x00"), a, end), kept: map[string]string{strings.Repeat("p", 200): "aaaaa"}},
		"PAX path escapes":        {data: join(pax('x', paxRecord("path", "../canary")), a, end), want: workspace.CodePathEscape},
		"GNU name escapes":        {data: join(rawHeader('L', "././@LongLink", 10), padded("../canary\x00"), a, end), want: workspace.CodePathEscape},
		"PAX size":                {data: join(pax('x', paxRecord("size", "5")), rawHeader('0', "a", 0), padded("aaaaa"), end)},
		"PAX path with NUL":       {data: join(pax('x', paxRecord("path", "a\x00b")), a, end), want: workspace.CodeCorrupt},
		"PAX damaged":             {data: join(pax('x', "99999 path=x\n"), a, end), want: workspace.CodeCorrupt},
		"100 KiB of PAX":          {data: join(pax('x', paxRecord("comment", strings.Repeat("c", 100<<10))), a, end), want: workspace.CodeHeaderTooLarge},
		"50 x 1 MB of PAX":        {data: join(bytes.Repeat(pax('x', paxRecord("comment", strings.Repeat("c", 1000<<10))), 50), a, end), want: workspace.CodeHeaderTooLarge},
		"2 MiB of PAX":            {data: join(pax('x', paxRecord("comment", strings.Repeat("c", 2<<20))), a, end), want: workspace.CodeHeaderTooLarge},
		"many small PAX":          {data: join(bytes.Repeat(pax('x', paxRecord("comment", "c")), 100), a, end), want: workspace.CodeHeaderTooLarge},
		"60 KiB of PAX":           {data: join(pax('x', paxRecord("comment", strings.Repeat("c", 60<<10))), a, end)},
		"sparse, PAX 0.1":         {data: join(pax('x', paxRecord("GNU.sparse.numblocks", "1")+paxRecord("GNU.sparse.map", "0,5")+paxRecord("GNU.sparse.size", "1099511627776")), a, end), want: workspace.CodeSparse},
		"sparse, PAX 1.0":         {data: join(pax('x', paxRecord("GNU.sparse.major", "1")+paxRecord("GNU.sparse.minor", "0")+paxRecord("GNU.sparse.realsize", "1099511627776")), rawHeader('0', "s", 512), padded("0\n"), end), want: workspace.CodeSparse},
		"sparse, unknown version": {data: join(pax('x', paxRecord("GNU.sparse.major", "9")), a, end), want: workspace.CodeSparse},
		"sparse, global":          {data: join(pax('g', paxRecord("GNU.sparse.name", "x")), a, end), want: workspace.CodeSparse},
		"sparse, old GNU":         {data: join(oldSparse, a, end), want: workspace.CodeSparse},
		"says 1 TiB":              {data: join(tebi, end), want: workspace.CodeTooLargeUnpacked},
		"negative size":           {data: join(negative, end), want: workspace.CodeCorrupt},
		"contiguous":              {data: join(rawHeader('7', "c", 0), a, end), want: workspace.CodeUnsupported},
		"unknown type":            {data: join(rawHeader('Z', "z", 0), a, end), want: workspace.CodeUnsupported},
		"volume label":            {data: join(rawHeader('V', "v", 0), a, end), want: workspace.CodeUnsupported},
		"continued":               {data: join(rawHeader('M', "m", 0), a, end), want: workspace.CodeUnsupported},
		"hard link with content":  {data: join(rawHeader('1', "h", 5), a, end)},
		"file ends in a slash":    {data: join(rawHeader('0', "f/", 5), padded("fffff"), a, end), want: workspace.CodeBadName},
		"no end":                  {data: a, want: workspace.CodeTruncated},
		"no end, zeros inside":    {data: join(a, rawHeader('0', "z", 1024), end), want: workspace.CodeTruncated},
		"ends in a header":        {data: join(a, rawHeader('x', "x", 0)), want: workspace.CodeTruncated},
		"content missing":         {data: join(rawHeader('0', "b", 9000), padded("b")), want: workspace.CodeTruncated},
		"checksum":                {data: join(a, bytes.Replace(a, []byte("a\x00"), []byte("b\x00"), 1), end), want: workspace.CodeCorrupt},
		"something after the end": {data: join(a, end, []byte("x")), want: workspace.CodeCorrupt},
		"two tars":                {data: join(a, end, a, end), want: workspace.CodeCorrupt},
		"budget counts headers":   {data: join(a, end), lim: workspace.Limits{UnpackedBytes: 600}, want: workspace.CodeTooLargeUnpacked},
		"budget counts padding":   {data: join(a, end, make([]byte, 1<<20)), lim: workspace.Limits{UnpackedBytes: 1 << 20}, want: workspace.CodeTooLargeUnpacked},
		"budget counts dropped":   {data: join(a, rawHeader('0', ".git/pack", 5000), padded(strings.Repeat("g", 5000)), end), lim: workspace.Limits{UnpackedBytes: 5000}, want: workspace.CodeTooLargeUnpacked},
		"dropped may be large":    {data: join(a, rawHeader('0', ".git/pack", 5000), padded(strings.Repeat("g", 5000)), end), lim: workspace.Limits{FileBytes: 1000}},
	} {
		for format, wrap := range wrappers() {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				_, refusal, files := verdict(t, wrap(t, row.data), row.lim)
				wantCode(t, refusal, row.want)
				kept := row.kept // the row is shared by the formats
				if kept == nil {
					kept = map[string]string{"a": "aaaaa"}
				}
				if row.want == "" && !maps.Equal(files, kept) {
					t.Errorf("files:\n%s", cmp.Diff(kept, files))
				}
			})
		}
	}
}

// TestStreams is about the compressed stream around a tar.
func TestStreams(t *testing.T) {
	t.Parallel()
	data := packTar(t, []item{file("a", "aaaaa"), file("b", strings.Repeat("b", 5000))})
	half := len(data) / 2
	gz := func(p []byte) []byte { return gzipped(t, p) }
	zst := func(p []byte) []byte { return zstded(t, p) }
	skip := append([]byte("\x5a\x2a\x4d\x18\x04\x00\x00\x00"), "skip"...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, row := range map[string]struct {
		data []byte
		want workspace.Code
	}{
		"gzip, two members":         {data: join(gz(data[:half]), gz(data[half:]))},
		"gzip, empty members":       {data: join(gz(nil), gz(data), gz(nil))},
		"gzip, zeros after":         {data: join(gz(data), make([]byte, 512)), want: workspace.CodeCorrupt},
		"gzip, junk after":          {data: join(gz(data), []byte("junkjunkjunk")), want: workspace.CodeCorrupt},
		"gzip, half a member after": {data: join(gz(data), gz(nil)[:15]), want: workspace.CodeTruncated},
		"gzip, another tar after":   {data: join(gz(data), gz(data)), want: workspace.CodeCorrupt},
		"gzip, method":              {data: join([]byte("\x1f\x8b\x07"), gz(data)[3:]), want: workspace.CodeCorrupt},
		"zstd, two frames":          {data: join(zst(data[:half]), zst(data[half:]))},
		"zstd, skippable frames":    {data: join(skip, zst(data), skip)},
		"zstd, junk after":          {data: join(zst(data), []byte("junkjunkjunk")), want: workspace.CodeCorrupt},
		"zstd, another tar after":   {data: join(zst(data), zst(data)), want: workspace.CodeCorrupt},
		"zstd, cut in a skippable":  {data: join(zst(data), skip[:10]), want: workspace.CodeTruncated},
		"zstd, long window":         {data: zstdWindow(t, data, 16<<20), want: workspace.CodeUnsupported},
		"zstd, largest window":      {data: zstdWindow(t, data, 8<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sum, refusal, _ := verdict(t, row.data, workspace.Limits{})
			wantCode(t, refusal, row.want)
			if row.want == "" && sum.Files != 2 {
				t.Errorf("%d files, want 2", sum.Files)
			}
		})
	}
}

// zstdWindow packs in a frame that says it needs such a window.
func zstdWindow(t *testing.T, data []byte, window int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // more than one block, or the writer makes a single segment of it
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		data = make([]byte, 300<<10)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestInsecurePathSetting is not parallel: it changes the environment. The
// host sets tarinsecurepath=0 for all its code; the refusal must say the same.
func TestInsecurePathSetting(t *testing.T) {
	t.Setenv("GODEBUG", "tarinsecurepath=0,zipinsecurepath=0")
	if _, err := tar.NewReader(bytes.NewReader(packTar(t, []item{file("../x", "")}))).Next(); err == nil {
		t.Fatal("the setting has no effect here")
	}
	for _, pack := range packers() {
		_, refusal, _ := verdict(t, pack(t, []item{file("../canary", "dead")}), workspace.Limits{})
		wantCode(t, refusal, workspace.CodePathEscape)
	}
}
