package meter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

// SyncMicros is the median time in µs of writing 8 KiB below dir and syncing it.
func SyncMicros(dir string) (_ float64, err error) {
	path := filepath.Join(dir, "sync.probe")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("probe the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	page := make([]byte, 8192)
	const pages, times = 128, 300
	if _, err := f.WriteAt(make([]byte, pages*len(page)), 0); err != nil {
		return 0, fmt.Errorf("probe the disk: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("probe the disk: %w", err)
	}
	took := make([]float64, times)
	for i := range took {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i%pages*len(page))); err != nil {
			return 0, fmt.Errorf("probe the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("probe the disk: %w", err)
		}
		took[i] = float64(time.Since(began).Microseconds())
	}
	return stats.Of(took).P50, nil
}
