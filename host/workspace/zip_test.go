package workspace_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host/workspace"
)

// rawEntry is a zip entry in which every field can lie. Zero fields are what
// an honest writer would put.
type rawEntry struct {
	name, body string
	method     uint16
	packed     []byte // nil: body, packed by method

	localName   string
	localMethod *uint16
	flags       uint16
	localFlags  uint16
	crc         *uint32
	size        *uint32
	at          *uint32 // offset of the local header
	noLocal     bool    // write no local header; at says where one is
	attrs       uint32
	creator     uint16
	disk        uint16
	zip64       bool // sizes and offset in an extra field
}

type rawZip struct {
	entries         []rawEntry
	prefix, suffix  string // junk before and after
	gap             string // junk before the central directory
	comment         string
	count           *uint16
	disk            uint16
	zip64           bool
	count64, size64 *uint64
	moved           uint32 // added to all offsets
}

func ptr[T any](v T) *T { return &v }

func or[T any](p *T, v T) T {
	if p != nil {
		return *p
	}
	return v
}

func deflated(s string) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.BestCompression)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return buf.Bytes()
}

var le = binary.LittleEndian

func (e *rawEntry) local() []byte {
	name := e.localName
	if name == "" {
		name = e.name
	}
	b := le.AppendUint32(nil, 0x04034b50)
	b = le.AppendUint16(b, 20)
	b = le.AppendUint16(b, e.flags|e.localFlags)
	b = le.AppendUint16(b, or(e.localMethod, e.method))
	b = append(b, 0, 0, 0, 0) // time
	b = le.AppendUint32(b, or(e.crc, crc32.ChecksumIEEE([]byte(e.body))))
	b = le.AppendUint32(b, uint32(len(e.packed)))
	b = le.AppendUint32(b, or(e.size, uint32(len(e.body))))
	b = le.AppendUint16(b, uint16(len(name)))
	b = le.AppendUint16(b, 0)
	return append(b, name...)
}

func (e *rawEntry) central(at uint32) []byte {
	var extra []byte
	packed, size, off := uint32(len(e.packed)), or(e.size, uint32(len(e.body))), or(e.at, at)
	if e.zip64 {
		extra = le.AppendUint16(extra, 0x7777) // another field first
		extra = le.AppendUint16(extra, 2)
		extra = append(extra, 1, 2)
		extra = le.AppendUint16(extra, 1)
		extra = le.AppendUint16(extra, 24)
		extra = le.AppendUint64(extra, uint64(size))
		extra = le.AppendUint64(extra, uint64(packed))
		extra = le.AppendUint64(extra, uint64(off))
		packed, size, off = math.MaxUint32, math.MaxUint32, math.MaxUint32
	}
	b := le.AppendUint32(nil, 0x02014b50)
	b = le.AppendUint16(b, e.creator)
	b = le.AppendUint16(b, 20)
	b = le.AppendUint16(b, e.flags)
	b = le.AppendUint16(b, e.method)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint32(b, or(e.crc, crc32.ChecksumIEEE([]byte(e.body))))
	b = le.AppendUint32(b, packed)
	b = le.AppendUint32(b, size)
	b = le.AppendUint16(b, uint16(len(e.name)))
	b = le.AppendUint16(b, uint16(len(extra)))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, e.disk)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, e.attrs)
	b = le.AppendUint32(b, off)
	b = append(b, e.name...)
	return append(b, extra...)
}

func (z rawZip) bytes() []byte {
	out := []byte(z.prefix)
	var dir []byte
	for _, e := range z.entries {
		if e.packed == nil {
			e.packed = []byte(e.body)
			if e.method == zip.Deflate {
				e.packed = deflated(e.body)
			}
		}
		dir = append(dir, e.central(uint32(len(out))+z.moved)...)
		if !e.noLocal {
			out = append(append(out, e.local()...), e.packed...)
		}
	}
	out = append(out, z.gap...)
	at := len(out)
	out = append(out, dir...)
	count, size, off := uint16(len(z.entries)), uint32(len(dir)), uint32(at)+z.moved
	if z.zip64 {
		end := len(out)
		out = le.AppendUint32(out, 0x06064b50)
		out = le.AppendUint64(out, 44)
		out = le.AppendUint16(out, 45)
		out = le.AppendUint16(out, 45)
		out = le.AppendUint64(out, 0) // disks
		out = le.AppendUint64(out, or(z.count64, uint64(count)))
		out = le.AppendUint64(out, or(z.count64, uint64(count)))
		out = le.AppendUint64(out, or(z.size64, uint64(size)))
		out = le.AppendUint64(out, uint64(off))
		out = le.AppendUint32(out, 0x07064b50)
		out = le.AppendUint32(out, 0)
		out = le.AppendUint64(out, uint64(end))
		out = le.AppendUint32(out, 1)
		count, size, off = math.MaxUint16, math.MaxUint32, math.MaxUint32
	}
	out = le.AppendUint32(out, 0x06054b50)
	out = le.AppendUint16(out, z.disk)
	out = le.AppendUint16(out, z.disk)
	out = le.AppendUint16(out, or(z.count, count))
	out = le.AppendUint16(out, or(z.count, count))
	out = le.AppendUint32(out, size)
	out = le.AppendUint32(out, off)
	out = le.AppendUint16(out, uint16(len(z.comment)))
	out = append(out, z.comment...)
	return append(out, z.suffix...)
}

func TestZip(t *testing.T) {
	t.Parallel()
	a := rawEntry{name: "a", body: "content of a", method: zip.Deflate}
	b := rawEntry{name: "b", body: "content of b"}
	with := func(e rawEntry, change func(*rawEntry)) []rawEntry {
		change(&e)
		return []rawEntry{e, b}
	}
	const unix, symlink, fifo, folder = 3 << 8, 0o120777 << 16, 0o010644 << 16, 0o040755 << 16
	for name, row := range map[string]struct {
		z    rawZip
		lim  workspace.Limits
		want workspace.Code
	}{
		"honest":              {z: rawZip{entries: []rawEntry{a, b}}},
		"honest, comment":     {z: rawZip{entries: []rawEntry{a, b}, comment: strings.Repeat("c", math.MaxUint16)}},
		"honest, zip64":       {z: rawZip{entries: []rawEntry{a, b}, zip64: true}},
		"honest, zip64 entry": {z: rawZip{entries: with(a, func(e *rawEntry) { e.zip64 = true })}},
		"honest, all zip64":   {z: rawZip{entries: with(a, func(e *rawEntry) { e.zip64 = true }), zip64: true}},
		"signing block":       {z: rawZip{entries: []rawEntry{a, b}, gap: "APK Sig Block 42"}},
		"no entries":          {z: rawZip{}, want: workspace.CodeEmpty},

		"encrypted":              {z: rawZip{entries: with(a, func(e *rawEntry) { e.flags = 1 })}, want: workspace.CodeEncrypted},
		"encrypted, local only":  {z: rawZip{entries: with(a, func(e *rawEntry) { e.localFlags = 1 })}, want: workspace.CodeEncrypted},
		"strongly encrypted":     {z: rawZip{entries: with(a, func(e *rawEntry) { e.flags = 1 << 6 })}, want: workspace.CodeEncrypted},
		"masked headers":         {z: rawZip{entries: with(a, func(e *rawEntry) { e.flags = 1 << 13 })}, want: workspace.CodeEncrypted},
		"AES":                    {z: rawZip{entries: with(a, func(e *rawEntry) { e.method = 99 })}, want: workspace.CodeEncrypted},
		"patch":                  {z: rawZip{entries: with(a, func(e *rawEntry) { e.flags = 1 << 5 })}, want: workspace.CodeUnsupported},
		"bzip2 inside":           {z: rawZip{entries: with(a, func(e *rawEntry) { e.method = 12 })}, want: workspace.CodeUnsupported},
		"deflate64":              {z: rawZip{entries: with(a, func(e *rawEntry) { e.method = 9 })}, want: workspace.CodeUnsupported},
		"another disk":           {z: rawZip{entries: []rawEntry{a, b}, disk: 1}, want: workspace.CodeUnsupported},
		"entry on another disk":  {z: rawZip{entries: with(a, func(e *rawEntry) { e.disk = 2 })}, want: workspace.CodeUnsupported},
		"checksum":               {z: rawZip{entries: with(a, func(e *rawEntry) { e.crc = ptr(uint32(7)) })}, want: workspace.CodeCorrupt},
		"checksum, stored":       {z: rawZip{entries: with(b, func(e *rawEntry) { e.name, e.crc = "c", ptr(uint32(7)) })}, want: workspace.CodeCorrupt},
		"not deflate":            {z: rawZip{entries: with(a, func(e *rawEntry) { e.packed = []byte("\xff\xff\xff\xff") })}, want: workspace.CodeCorrupt},
		"deflate cut":            {z: rawZip{entries: with(a, func(e *rawEntry) { e.packed = deflated(a.body)[:5] })}, want: workspace.CodeCorrupt},
		"larger than it says":    {z: rawZip{entries: with(a, func(e *rawEntry) { e.size = ptr(uint32(3)) })}, want: workspace.CodeCorrupt},
		"smaller than it says":   {z: rawZip{entries: with(a, func(e *rawEntry) { e.size = ptr(uint32(300)) })}, want: workspace.CodeCorrupt},
		"stored, other size":     {z: rawZip{entries: with(b, func(e *rawEntry) { e.name, e.size = "c", ptr(uint32(3)) })}, want: workspace.CodeCorrupt},
		"says it is huge":        {z: rawZip{entries: with(a, func(e *rawEntry) { e.size = ptr(uint32(600 << 20)) })}, want: workspace.CodeFileTooLarge},
		"says they are huge":     {z: rawZip{entries: with(a, func(e *rawEntry) { e.size = ptr(uint32(2000)) })}, lim: workspace.Limits{UnpackedBytes: 1500}, want: workspace.CodeTooLargeUnpacked},
		"other local name":       {z: rawZip{entries: with(a, func(e *rawEntry) { e.localName = "../x" })}, want: workspace.CodeCorrupt},
		"other local name, size": {z: rawZip{entries: with(a, func(e *rawEntry) { e.localName = "A" })}, want: workspace.CodeCorrupt},
		"other local method":     {z: rawZip{entries: with(a, func(e *rawEntry) { e.localMethod = ptr(uint16(0)) })}, want: workspace.CodeCorrupt},
		"NUL in the name":        {z: rawZip{entries: with(a, func(e *rawEntry) { e.name = "a\x00.txt" })}, want: workspace.CodeBadName},
		"no name":                {z: rawZip{entries: with(a, func(e *rawEntry) { e.name = "" })}, want: workspace.CodeBadName},
		"64 KiB name":            {z: rawZip{entries: with(a, func(e *rawEntry) { e.name = strings.Repeat("a/", 32767) + "a" })}, want: workspace.CodeBadName},

		"one local header for two":  {z: rawZip{entries: []rawEntry{a, {name: "a", body: a.body, method: 8, noLocal: true, at: ptr(uint32(0))}}}, want: workspace.CodeOverlappingEntries},
		"overlap, quoted header":    {z: quotedOverlap(), want: workspace.CodeOverlappingEntries},
		"local header in nowhere":   {z: rawZip{entries: with(a, func(e *rawEntry) { e.at = ptr(uint32(1 << 30)) })}, want: workspace.CodeCorrupt},
		"local header in the data":  {z: rawZip{entries: with(a, func(e *rawEntry) { e.at = ptr(uint32(5)) })}, want: workspace.CodeCorrupt},
		"data in the directory":     {z: rawZip{entries: []rawEntry{b, {name: "z", body: strings.Repeat("z", 300), packed: []byte("z"), size: ptr(uint32(1))}}}, want: workspace.CodeCorrupt},
		"count too low":             {z: rawZip{entries: []rawEntry{a, b}, count: ptr(uint16(1))}, want: workspace.CodeCorrupt},
		"count too high":            {z: rawZip{entries: []rawEntry{a, b}, count: ptr(uint16(3))}, want: workspace.CodeCorrupt},
		"count over the limit":      {z: rawZip{entries: []rawEntry{a, b}, count: ptr(uint16(60000))}, lim: workspace.Limits{Entries: 50000}, want: workspace.CodeTooManyEntries},
		"directory over the limit":  {z: rawZip{entries: []rawEntry{a, b}}, lim: workspace.Limits{DirectoryBytes: 60}, want: workspace.CodeHeaderTooLarge},
		"zip64 count, huge":         {z: rawZip{entries: []rawEntry{a, b}, zip64: true, count64: ptr(uint64(1) << 63)}, want: workspace.CodeTooManyEntries},
		"zip64 size, huge":          {z: rawZip{entries: []rawEntry{a, b}, zip64: true, size64: ptr(uint64(math.MaxUint64))}, want: workspace.CodeHeaderTooLarge},
		"zip64 size, wrong":         {z: rawZip{entries: []rawEntry{a, b}, zip64: true, size64: ptr(uint64(47))}, want: workspace.CodeCorrupt},
		"zip64 contradicts":         {z: rawZip{entries: []rawEntry{a, b}, zip64: true, count: ptr(uint16(1))}, want: workspace.CodeCorrupt},
		"junk after":                {z: rawZip{entries: []rawEntry{a, b}, suffix: "junk"}, want: workspace.CodeCorrupt},
		"junk after, 100 KiB":       {z: rawZip{entries: []rawEntry{a, b}, suffix: strings.Repeat("j", 100<<10)}, want: workspace.CodeTruncated},
		"junk before":               {z: rawZip{entries: []rawEntry{a, b}, prefix: "junk"}, want: workspace.CodeNotAnArchive},
		"entry before, not counted": {z: rawZip{entries: []rawEntry{a, b}, prefix: "PK\x03\x04junk", moved: ^uint32(7)}, want: workspace.CodeCorrupt},
		"two archives":              {z: rawZip{entries: []rawEntry{a, b}, suffix: string(rawZip{entries: []rawEntry{b}}.bytes())}, want: workspace.CodeCorrupt},
		"end record in the comment": {z: rawZip{entries: []rawEntry{a, b}, comment: string(rawZip{}.bytes())}, want: workspace.CodeCorrupt},

		"symlink":               {z: rawZip{entries: with(a, func(e *rawEntry) { e.creator, e.attrs = unix, symlink })}},
		"symlink to a folder":   {z: rawZip{entries: with(a, func(e *rawEntry) { e.name, e.creator, e.attrs = "a/", unix, symlink })}},
		"fifo":                  {z: rawZip{entries: with(a, func(e *rawEntry) { e.creator, e.attrs = unix, fifo })}},
		"folder without slash":  {z: rawZip{entries: with(rawEntry{name: "a"}, func(e *rawEntry) { e.creator, e.attrs = unix, folder })}},
		"folder with content":   {z: rawZip{entries: with(a, func(e *rawEntry) { e.name = "a/" })}, want: workspace.CodeCorrupt},
		"folder, unix, content": {z: rawZip{entries: with(a, func(e *rawEntry) { e.creator, e.attrs = unix, folder })}, want: workspace.CodeCorrupt},
		"folder, packed":        {z: rawZip{entries: with(rawEntry{name: "a/", method: zip.Deflate}, func(*rawEntry) {})}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, refusal, files := verdict(t, row.z.bytes(), row.lim)
			wantCode(t, refusal, row.want)
			if strings.HasPrefix(name, "honest") {
				if diff := cmp.Diff(map[string]string{"a": a.body, "b": b.body}, files); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// quotedOverlap is the bomb that repeats nothing: the packed data of "a" is a
// stored block that quotes the local header of "b", and then the data of "b".
// Both unpack without an error, and many more could be chained.
func quotedOverlap() rawZip {
	kernel := strings.Repeat("k", 1000)
	b := rawEntry{name: "b", body: kernel, method: zip.Deflate, packed: deflated(kernel)}
	header := b.local()
	block := []byte{0}
	block = le.AppendUint16(block, uint16(len(header)))
	block = le.AppendUint16(block, ^uint16(len(header)))
	block = append(block, header...)
	a := rawEntry{name: "a", body: string(header) + kernel, method: zip.Deflate, packed: append(block, b.packed...)}
	b.noLocal, b.at = true, ptr(uint32(30+1+5))
	return rawZip{entries: []rawEntry{a, b}}
}

// TestOverlapIsReal shows that the bomb of TestZip is one: archive/zip reads
// both entries and has no complaint.
func TestOverlapIsReal(t *testing.T) {
	t.Parallel()
	data := quotedOverlap().bytes()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		body, err := readZipFile(f)
		if err != nil || !strings.HasSuffix(body, strings.Repeat("k", 1000)) {
			t.Errorf("%s: %v, %.20q", f.Name, err, body)
		}
	}
}
