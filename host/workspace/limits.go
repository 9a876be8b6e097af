package workspace

import (
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Limits bound what an archive may ask for. A zero field means its default.
type Limits struct {
	// UnpackedBytes is the most that may come out of the archive: 1 GiB. In a
	// tar its headers and padding and what is dropped count as well.
	UnpackedBytes int64
	// FileBytes is the most for a single file: 512 MiB.
	FileBytes int64
	// Entries is the most files and directories, those only implied by a path
	// and those dropped included: 100 000.
	Entries int
	// Depth is the most segments in a path: 64.
	Depth int
	// NameBytes is the longest segment: 255.
	NameBytes int
	// PathBytes is the longest path: 1024.
	PathBytes int
	// DeflateRatio is how many times its packed size a zip or tar.gz may
	// unpack to, after a first MiB that is free: 200. Deflate can do 1032.
	// The packed size is that of the whole archive as it was received, so the
	// answer does not depend on which entry comes first.
	DeflateRatio int64
	// ZstdRatio is the same for tar.zst: 400. Zstandard can do 32 000.
	ZstdRatio int64
	// DirectoryBytes is the largest central directory of a zip: 16 MiB.
	DirectoryBytes int64
	// HeaderBytes is the most header a tar may put before one entry: 64 KiB.
	HeaderBytes int64
	// ZstdWindow is the largest window in bytes, and about what decoding
	// keeps in memory: 8 MiB, what zstd uses without --ultra and --long.
	ZstdWindow int64
	// Time is how long the walk may take: 5 minutes.
	Time time.Duration
}

// ratioFree is what any archive may unpack to: tiny ones pack well.
const ratioFree = 1 << 20

// withDefaults fills the zero fields and refuses negative ones.
func (l Limits) withDefaults() (Limits, error) {
	return l, errors.Join(
		fill(&l.UnpackedBytes, 1<<30, "UnpackedBytes"),
		fill(&l.FileBytes, 512<<20, "FileBytes"),
		fill(&l.Entries, 100_000, "Entries"),
		fill(&l.Depth, 64, "Depth"),
		fill(&l.NameBytes, 255, "NameBytes"),
		fill(&l.PathBytes, 1024, "PathBytes"),
		fill(&l.DeflateRatio, 200, "DeflateRatio"),
		fill(&l.ZstdRatio, 400, "ZstdRatio"),
		fill(&l.DirectoryBytes, 16<<20, "DirectoryBytes"),
		fill(&l.HeaderBytes, 64<<10, "HeaderBytes"),
		fill(&l.ZstdWindow, 8<<20, "ZstdWindow"),
		fill(&l.Time, 5*time.Minute, "Time"),
	)
}

func fill[T ~int | ~int64](field *T, def T, name string) error {
	if *field == 0 {
		*field = def
	}
	if *field < 0 {
		return fmt.Errorf("workspace limit %s is %v, less than zero: %w", name, *field, host.ErrInvalid)
	}
	return nil
}

// or has the larger of each limit. Both have no zero field.
func (l Limits) or(o Limits) Limits {
	return Limits{
		UnpackedBytes: max(l.UnpackedBytes, o.UnpackedBytes), FileBytes: max(l.FileBytes, o.FileBytes), Entries: max(l.Entries, o.Entries),
		Depth: max(l.Depth, o.Depth), NameBytes: max(l.NameBytes, o.NameBytes), PathBytes: max(l.PathBytes, o.PathBytes),
		DeflateRatio: max(l.DeflateRatio, o.DeflateRatio), ZstdRatio: max(l.ZstdRatio, o.ZstdRatio),
		DirectoryBytes: max(l.DirectoryBytes, o.DirectoryBytes), HeaderBytes: max(l.HeaderBytes, o.HeaderBytes),
		ZstdWindow: max(l.ZstdWindow, o.ZstdWindow), Time: max(l.Time, o.Time),
	}
}
