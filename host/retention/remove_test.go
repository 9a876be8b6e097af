package retention_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/retention"
)

// TestDeleted: scans that were deleted go with their blobs at once where it is said
// that there are some, and with the next turn otherwise.
func TestDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		s, err := retention.New(b.store, b.blobs, nil, retention.Config{Batch: 2, Every: time.Hour, Meter: b.meter}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		add := func(keys ...host.BlobKey) {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			for _, k := range keys {
				b.blobs.put(k)
				b.store.used[k] = true
				b.store.deleted = append(b.store.deleted, host.Archive{Blob: k, Size: 10})
			}
		}
		add("a", "b", "c")
		for range 100 { // however often, and whoever waits
			s.Deleted()
		}
		time.Sleep(10 * time.Second)
		if left := b.blobs.keys(); len(left) > 0 {
			t.Errorf("blobs left: %v", left)
		}
		add("d")
		time.Sleep(10 * time.Second)
		if left := b.blobs.keys(); len(left) != 1 {
			t.Errorf("blobs left: %v, want the one of which nothing was said", left)
		}
		time.Sleep(2 * time.Hour)
		if left := b.blobs.keys(); len(left) > 0 {
			t.Errorf("blobs left: %v", left)
		}
		if sum, _, failed := b.meter.total(host.SweepDeletions); sum.Scans != 4 || sum.Blobs != 4 || failed != 0 {
			t.Errorf("counted %+v, %d turns failed", sum, failed)
		}
		b.store.mu.Lock()
		if b.store.looks > 12 {
			t.Errorf("looked %d times", b.store.looks)
		}
		b.store.mu.Unlock()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
