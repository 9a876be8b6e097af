package retention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/retention"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		os.Exit(crash(dir))
	}
	goleak.VerifyTestMain(m)
}

// bench is a sweeper with everything around it faked.
type bench struct {
	store *fakeStore
	blobs *fakeBlobs
	meter *fakeMeter
	left  []retention.Leftover
	logs  bytes.Buffer
}

func newBench() *bench {
	return &bench{store: &fakeStore{used: map[host.BlobKey]bool{}}, blobs: newFakeBlobs(), meter: &fakeMeter{}}
}

// old adds scans that may go, with their blobs.
func (b *bench) old(n int) {
	for i := range n {
		key := host.BlobKey(fmt.Sprintf("archives/%03d", i))
		b.blobs.put(key)
		b.store.used[key] = true
		b.store.old = append(b.store.old, host.Archive{Blob: key, Size: 10})
	}
}

// run runs a sweeper for d, inside a bubble.
func (b *bench) run(t *testing.T, cfg retention.Config, d time.Duration) {
	t.Helper()
	cfg.Meter = b.meter
	log := hclog.New(&hclog.LoggerOptions{Output: &b.logs, JSONFormat: true})
	s, err := retention.New(b.store, b.blobs, b.left, cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestRemovesTenants: also where nothing else is ever removed, and after a while
// in which the store did not answer.
func TestRemovesTenants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(25)
		b.store.gone, b.store.old = b.store.old, nil
		b.store.Err = host.ErrUnavailable
		b.run(t, retention.Config{Batch: 10, Pause: time.Second, Every: time.Minute}, 100*time.Second)
		if got := b.blobs.keys(); len(got) != 25 {
			t.Errorf("%d blobs left while nothing could be removed", len(got))
		}
		b.store.Err = nil
		b.run(t, retention.Config{Batch: 10, Pause: time.Second, Every: time.Minute}, 100*time.Second)
		if got := b.blobs.keys(); len(got) != 0 || len(b.store.gone) != 0 {
			t.Errorf("blobs left: %v", got)
		}
		if logs := b.logs.String(); !strings.Contains(logs, "removed tenants with all that was theirs") {
			t.Errorf("it does not say so: %s", logs)
		}
	})
}

func TestRemovesInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(25)
		b.blobs.put("archives/other")
		b.store.used["archives/other"] = true
		b.run(t, retention.Config{Scans: host.Keep{Most: 24 * time.Hour}, Batch: 10, Pause: time.Second, Every: time.Minute}, 100*time.Second)
		if got := b.blobs.keys(); !slices.Equal(got, []host.BlobKey{"archives/other"}) {
			t.Errorf("blobs left: %v", got)
		}
		sum, _, failed := b.meter.total(host.SweepRetention)
		if diff := cmp.Diff(host.Swept{Scans: 25, Findings: 50, Blobs: 25, Bytes: 250}, sum); diff != "" || failed != 0 {
			t.Errorf("it told the meter (-want +got), %d failed:\n%s", failed, diff)
		}
		for _, age := range b.store.ages {
			if age != 24*time.Hour {
				t.Errorf("asked for scans of age %v", age)
			}
		}
		calls := b.store.calls
		if calls[1].Sub(calls[0]) != time.Second || calls[2].Sub(calls[1]) != time.Second {
			t.Errorf("batches at %v: no pause between them", calls)
		}
		if !strings.Contains(b.logs.String(), "removed what is old") {
			t.Errorf("log: %s", b.logs.String())
		}
	})
}

func TestArchivesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(3)
		b.run(t, retention.Config{Archives: time.Hour, Every: time.Minute}, 2*time.Minute)
		sum, _, _ := b.meter.total(host.SweepRetention)
		if diff := cmp.Diff(host.Swept{Archives: 3, Blobs: 3, Bytes: 30}, sum); diff != "" {
			t.Errorf("it told the meter (-want +got):\n%s", diff)
		}
	})
}

func TestKeepsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(3)
		b.run(t, retention.Config{}, 30*24*time.Hour)
		if len(b.store.calls) > 0 || len(b.blobs.keys()) != 3 {
			t.Errorf("asked %d times for old scans, %d of 3 blobs left", len(b.store.calls), len(b.blobs.keys()))
		}
	})
}

// TestOrphans has a blob of an upload under way, one that a scan needs, and
// what a crash between rows and blobs left.
func TestOrphans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		for _, key := range []host.BlobKey{"archives/1", "archives/2", "archives/3", "archives/used"} {
			b.blobs.put(key)
		}
		b.store.used["archives/used"] = true
		cfg := retention.Config{Orphans: 10 * time.Minute, Grace: time.Hour}
		b.run(t, cfg, 40*time.Minute)
		if got := len(b.blobs.keys()); got != 4 || b.blobs.lists == 0 {
			t.Fatalf("after %d sweeps within the grace %d of 4 blobs are left", b.blobs.lists, got)
		}
		time.Sleep(10 * time.Minute)
		b.blobs.put("archives/young")
		b.run(t, cfg, 40*time.Minute)
		if got := b.blobs.keys(); !slices.Equal(got, []host.BlobKey{"archives/used", "archives/young"}) {
			t.Errorf("blobs left: %v", got)
		}
		sum, _, failed := b.meter.total(host.SweepOrphans)
		if diff := cmp.Diff(host.Swept{Blobs: 3, Bytes: 30}, sum); diff != "" || failed != 0 {
			t.Errorf("it told the meter (-want +got), %d failed:\n%s", failed, diff)
		}
	})
}

// TestAnothersBlobs: to a database that is not theirs all blobs look like
// orphans, and stay.
func TestAnothersBlobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.blobs.put("archives/1")
		b.blobs.origin = "another-database"
		b.run(t, retention.Config{}, 24*time.Hour)
		if len(b.blobs.keys()) != 1 {
			t.Error("a blob of another database was removed")
		}
		if _, turns, failed := b.meter.total(host.SweepOrphans); turns == 0 || failed != turns {
			t.Errorf("%d of %d turns failed", failed, turns)
		}
		if !strings.Contains(b.logs.String(), "belong to another database") {
			t.Errorf("log: %s", b.logs.String())
		}
		b.blobs.origin = ""
		b.run(t, retention.Config{}, 24*time.Hour)
		if len(b.blobs.keys()) != 0 || b.blobs.origin != "this-database" {
			t.Errorf("blobs left: %v; origin %q", b.blobs.keys(), b.blobs.origin)
		}
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(3)
		b.blobs.refuse["archives/001"] = true
		cfg := retention.Config{Scans: host.Keep{Most: time.Hour}, Every: time.Minute, Orphans: 24 * time.Hour}
		b.store.Err = host.ErrUnavailable
		b.run(t, cfg, 10*time.Minute)
		if _, turns, failed := b.meter.total(host.SweepRetention); turns < 5 || failed != turns {
			t.Errorf("%d of %d turns failed without a store", failed, turns)
		}
		if n := strings.Count(b.logs.String(), "cannot remove all that is old"); n != 1 {
			t.Errorf("an outage was logged %d times", n)
		}
		b.store.Err = nil
		b.run(t, cfg, 10*time.Minute)
		if got := b.blobs.keys(); !slices.Equal(got, []host.BlobKey{"archives/001"}) {
			t.Errorf("blobs left: %v; want the one that could not be removed", got)
		}
		// The sweep for orphans tries it again, after the grace.
		delete(b.blobs.refuse, "archives/001")
		b.run(t, cfg, 72*time.Hour)
		if got := b.blobs.keys(); len(got) > 0 {
			t.Errorf("blobs left: %v", got)
		}
	})
}

// TestSharedBlob: a blob that another scan needs stays.
func TestSharedBlob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.blobs.put("archives/both")
		b.store.used["archives/both"] = true
		b.store.old = []host.Archive{{Size: 1}}
		b.run(t, retention.Config{Scans: host.Keep{Most: time.Hour}}, 10*time.Minute)
		if len(b.blobs.keys()) != 1 {
			t.Error("a blob in use was removed")
		}
	})
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		began := time.Now()
		var at []time.Duration
		b.left = []retention.Leftover{
			{What: "broken things", Sweep: func(context.Context) error { return errors.New("stuck") }},
			{What: "others", Sweep: func(context.Context) error { at = append(at, time.Since(began)); return nil }},
		}
		b.run(t, retention.Config{Orphans: time.Hour}, 5*time.Hour)
		if len(at) < 3 || at[0] != 0 {
			t.Errorf("swept at %v; want at the start and about every hour", at)
		}
		if !strings.Contains(b.logs.String(), "could not remove all broken things") {
			t.Errorf("log: %s", b.logs.String())
		}
	})
}

// TestStop ends many sweepers at any moment: Run returns, and blobs whose rows
// are gone are removed first.
func TestStop(t *testing.T) {
	t.Parallel()
	for ms := range 40 {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.old(100)
			b.run(t, retention.Config{Scans: host.Keep{Most: time.Hour}, Every: time.Millisecond, Batch: 7, Pause: time.Millisecond, Orphans: time.Hour},
				time.Duration(ms)*500*time.Microsecond)
			if rows, blobs := len(b.store.old), len(b.blobs.keys()); rows != blobs {
				t.Errorf("stopped after %d half milliseconds: %d scans and %d blobs left", ms, rows, blobs)
			}
		})
	}
}

// TestTwoSideBySide: each scan is removed and counted once.
func TestTwoSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(500)
		var wg sync.WaitGroup
		for range 2 {
			s, err := retention.New(b.store, b.blobs, nil, retention.Config{Scans: host.Keep{Most: time.Hour}, Batch: 9, Meter: b.meter}, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			wg.Go(func() { _ = s.Run(ctx) })
		}
		wg.Wait()
		if sum, _, failed := b.meter.total(host.SweepRetention); sum.Scans != 500 || sum.Blobs != 500 || failed != 0 {
			t.Errorf("counted %+v, %d turns failed", sum, failed)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []retention.Config{
		{Scans: host.Keep{Most: -1}}, {Scans: host.Keep{Plans: map[string]time.Duration{"free": -1}}},
		{Archives: -1}, {Every: -1}, {Batch: -1}, {Pause: -1}, {Orphans: -1}, {Grace: -1},
	} {
		if _, err := retention.New(&fakeStore{}, newFakeBlobs(), nil, cfg, hclog.NewNullLogger()); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.old(3)
		s, err := retention.New(b.store, b.blobs, nil, retention.Config{Meter: b.meter}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		asked := func() int {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			return len(b.store.ages)
		}
		time.Sleep(24 * time.Hour)
		if n := asked(); n > 0 {
			t.Errorf("asked %d times for what is old, and all is kept for ever", n)
		}
		// From keeping everything to an age: within one turn and a half.
		change := retention.Config{Scans: host.Keep{Plans: map[string]time.Duration{"": time.Hour}}, Every: time.Minute}
		if err := s.Update(change); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if n := asked(); n == 0 || b.store.ages[0] != time.Hour || len(b.blobs.keys()) != 0 {
			t.Errorf("asked %d times, ages %v, %d blobs left", n, b.store.ages, len(b.blobs.keys()))
		}
		// Saying the same again and again does not put the next turn off.
		before := asked()
		for range 600 {
			if err := s.Update(change); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := asked() - before; n < 6 || n > 20 {
			t.Errorf("%d turns in 10 minutes, want one a minute", n)
		}
		// A plan that keeps longer counts from the next turn on.
		if err := s.Update(retention.Config{Scans: host.Keep{Plans: map[string]time.Duration{"": 2 * time.Hour}}, Every: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if last := b.store.ages[asked()-1]; last != 2*time.Hour {
			t.Errorf("after the plan has changed: asked for scans of age %v", last)
		}
		// A mistake changes nothing, and what is kept for ever again is left alone.
		if err := s.Update(retention.Config{Scans: host.Keep{Most: -1}}); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("Update to a negative age = %v", err)
		}
		if err := s.Update(retention.Config{}); err != nil {
			t.Fatal(err)
		}
		before = asked()
		time.Sleep(24 * time.Hour)
		if n := asked() - before; n > 0 {
			t.Errorf("asked %d times after all is kept for ever again", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
