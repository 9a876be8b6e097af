package workspace_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host/workspace"
)

// FuzzArchive gives bytes to Check and Extract. The oracle is in verdict: both
// say the same, nothing appears outside the root, only regular files and
// directories inside, no more bytes than the budget, and archive/zip agrees on
// every zip that is accepted. A fuzzer cannot guess checksums of compressed
// streams, so it may also ask for the bytes to be compressed first.
func FuzzArchive(f *testing.F) {
	for _, row := range hostile() {
		f.Add(packZip(f, row.items), byte(0))
		f.Add(packTar(f, row.items), byte(1))
	}
	seed := packTar(f, []item{dir("d/"), file("d/a", "hello"), symlink("l", "d/a"), file(".git/config", "x")})
	for wrap := range byte(3) {
		f.Add(seed, wrap)
	}
	f.Add(gzipped(f, seed), byte(0))
	f.Add(zstded(f, seed), byte(0))
	f.Add(quotedOverlap().bytes(), byte(0))
	f.Add(rawZip{entries: []rawEntry{{name: "a", body: "x", zip64: true}}, zip64: true, comment: "c"}.bytes(), byte(0))
	lim := workspace.Limits{
		UnpackedBytes: 1 << 20, FileBytes: 256 << 10, Entries: 200, Depth: 16, PathBytes: 300,
		DirectoryBytes: 64 << 10, HeaderBytes: 8 << 10, ZstdWindow: 1 << 20, Time: time.Minute,
	}
	f.Fuzz(func(t *testing.T, data []byte, wrap byte) {
		if len(data) > 1<<20 {
			return
		}
		switch wrap % 3 {
		case 1:
			data = gzipped(t, data)
		case 2:
			data = zstded(t, data)
		}
		_, _, _ = verdict(t, data, lim)
	})
}
