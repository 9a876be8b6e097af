package retention

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/turns"
)

// Config says what is kept and how long. Zero values are replaced by the
// defaults given, unless zero has a meaning of its own.
type Config struct {
	// Scans is how long scans are kept after their end. The map is not changed
	// any more.
	Scans host.Keep
	// Archives is how long the archive of a scan is kept after the scan's end.
	// 0: as long as the scan.
	Archives time.Duration
	// Every is the time between two looks for what is old. Default 1m.
	Every time.Duration
	// Batch is how many scans one transaction removes at most. Default 200.
	Batch int
	// Pause is the time between two batches. Default 100ms.
	Pause time.Duration
	// Orphans is the time between two sweeps for what a crash left. Default 1h.
	Orphans time.Duration
	// Grace is how old a blob must be before the lack of a scan makes it an
	// orphan. It must be longer than an upload takes from its last byte to its
	// 202, and than a job takes, whose artifacts have no row before it ends.
	// Default 1h.
	Grace time.Duration
	// Meter is told what was removed. Default: none.
	Meter host.Meter
}

func (c Config) withDefaults() (Config, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Every, time.Minute)
	def(&c.Pause, 100*time.Millisecond)
	def(&c.Orphans, time.Hour)
	def(&c.Grace, time.Hour)
	if c.Batch == 0 {
		c.Batch = 200
	}
	if c.Meter == nil {
		c.Meter = host.NoMeter{}
	}
	least := c.Scans.Most
	for _, age := range c.Scans.Plans {
		least = min(least, age)
	}
	if least < 0 || c.Archives < 0 || c.Every < 0 || c.Batch < 0 || c.Pause < 0 || c.Orphans < 0 || c.Grace < 0 {
		return c, fmt.Errorf("retention: no setting may be negative: %w", host.ErrInvalid)
	}
	return c, nil
}

// Leftover removes what dead hosts left somewhere; it must know by itself what
// belongs to a living one. It runs at the start and with every sweep for
// orphans, one after the other.
type Leftover struct {
	What  string // for a log line: could not remove all of it
	Sweep func(ctx context.Context) error
}

// Sweeper removes what is no longer needed.
type Sweeper struct {
	store host.RetentionStore
	blobs host.BlobStore
	left  []Leftover
	log   hclog.Logger

	mu      sync.Mutex
	now     Config        // guarded by mu; see config
	changed chan struct{} // holds one when what retain waits for is another
	deleted chan struct{} // holds one when a tenant has deleted scans
}

// New makes a sweeper; Run starts it.
func New(store host.RetentionStore, blobs host.BlobStore, left []Leftover, cfg Config, log hclog.Logger) (*Sweeper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Sweeper{
		store: store, blobs: blobs, left: left, now: cfg,
		changed: make(chan struct{}, 1), deleted: make(chan struct{}, 1), log: log.Named("retention"),
	}, nil
}

// Update takes Scans, Archives, Every and Grace from cfg and leaves the rest as
// it is. A turn that is under way ends with what it began with. After an error
// nothing has changed. Safe for concurrent use.
func (s *Sweeper) Update(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Only then: who reloads all the time must not put off the next turn for ever.
	same := s.now.Scans.Most == cfg.Scans.Most && maps.Equal(s.now.Scans.Plans, cfg.Scans.Plans)
	if !same || s.now.Archives != cfg.Archives || s.now.Every != cfg.Every {
		select {
		case s.changed <- struct{}{}:
		default: // it has not heard of the one before yet
		}
	}
	s.now.Scans, s.now.Archives, s.now.Every, s.now.Grace = cfg.Scans, cfg.Archives, cfg.Every, cfg.Grace
	return nil
}

// config is what holds now.
func (s *Sweeper) config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Run sweeps until ctx ends. Nothing it started is left then.
func (s *Sweeper) Run(ctx context.Context) error {
	var loops errgroup.Group
	loops.Go(func() error { s.retain(ctx); return nil })
	loops.Go(func() error { s.clean(ctx); return nil })
	loops.Go(func() error { s.forget(ctx); return nil })
	loops.Go(func() error { s.remove(ctx); return nil })
	loops.Go(func() error { s.tidy(ctx); return nil })
	return loops.Wait()
}

// keptLines is how long the ledger of the quotas keeps each change by itself.
const keptLines = time.Hour

// tidy keeps the quotas' counters near to the truth, so that who must know it
// has little to add up, and their ledger short.
func (s *Sweeper) tidy(ctx context.Context) {
	trouble := turns.Trouble{Log: s.log, What: "tidy the quota ledger"}
	for turns.Sleep(ctx, turns.Jitter(s.config().Every)) {
		err := s.store.TidyLedger(ctx, keptLines)
		if ctx.Err() != nil {
			return
		}
		trouble.Report(err)
	}
}

// retain removes what is old, turn by turn.
func (s *Sweeper) retain(ctx context.Context) {
	trouble := turns.Trouble{Log: s.log, What: "remove all that is old"}
	for s.due(ctx) {
		done, err := s.turn(ctx)
		if ctx.Err() != nil && err != nil {
			err = nil // cut short, and done next time
		}
		done.Task, done.Failed = host.SweepRetention, err != nil
		s.config().Meter.Swept(done)
		trouble.Report(err)
		if done.Scans+done.Archives > 0 {
			s.log.Info("removed what is old", "scans", done.Scans, "findings", done.Findings,
				"archives", done.Archives, "blobs", done.Blobs, "bytes", done.Bytes)
		}
	}
}

// due waits for the next turn, and says whether ctx let it. There is one also
// where everything is kept for ever: only the store knows of a tenant whose scans
// are not.
func (s *Sweeper) due(ctx context.Context) bool {
	for {
		next, stop := context.WithTimeout(ctx, turns.Jitter(s.config().Every))
		select {
		case <-next.Done():
			stop()
			return ctx.Err() == nil
		case <-s.changed:
			stop()
		}
	}
}

// turn removes all that is old now.
func (s *Sweeper) turn(ctx context.Context) (done host.Swept, err error) {
	cfg := s.config()
	scans := func(ctx context.Context, limit int) (host.Dropped, error) {
		return s.store.DropScans(ctx, cfg.Scans, limit)
	}
	err = s.drop(ctx, scans, &done, &done.Scans)
	if cfg.Archives > 0 {
		archives := func(ctx context.Context, limit int) (host.Dropped, error) {
			return s.store.DropArchives(ctx, cfg.Archives, limit)
		}
		err = errors.Join(err, s.drop(ctx, archives, &done, &done.Archives))
	}
	return done, err
}

type dropFunc func(ctx context.Context, limit int) (host.Dropped, error)

// drop calls f until nothing is left, and removes the blobs of each batch after
// its rows. count is what the scans of a batch are added to.
func (s *Sweeper) drop(ctx context.Context, f dropFunc, done *host.Swept, count *int) error {
	for {
		out, err := f(ctx, s.config().Batch)
		if err != nil {
			return err
		}
		*count += out.Scans
		done.Findings += out.Findings
		if err := s.removeBlobs(ctx, out, done); err != nil {
			return err
		}
		if !out.More || !turns.Sleep(ctx, s.config().Pause) {
			return nil
		}
	}
}

// removeTime is how long the blobs of one batch may take, also when ctx ends
// meanwhile: what is not removed by then is an orphan, and the sweep for those
// finds it.
const removeTime = 10 * time.Second

// removeBlobs removes blobs whose scans are gone, unless another scan needs the
// same one.
func (s *Sweeper) removeBlobs(ctx context.Context, out host.Dropped, done *host.Swept) error {
	sizes := make(map[host.BlobKey]int64, len(out.Archives)+len(out.Artifacts))
	for _, a := range out.Archives {
		sizes[a.Blob] += a.Size // small archives share a blob
	}
	for _, a := range out.Artifacts {
		sizes[a.Blob] += a.Size
	}
	if len(sizes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	keys := slices.Sorted(maps.Keys(sizes))
	return s.removeUnused(ctx, keys, sizes, done)
}

// removeUnused removes those of the blobs that no scan needs. One that cannot
// be removed does not keep the others.
func (s *Sweeper) removeUnused(ctx context.Context, keys []host.BlobKey, sizes map[host.BlobKey]int64, done *host.Swept) error {
	unused, err := s.store.UnusedBlobs(ctx, keys)
	if err != nil {
		return err
	}
	for _, key := range unused {
		if derr := s.blobs.Delete(ctx, key); derr != nil {
			err = derr // the last one speaks for all
			continue
		}
		done.Blobs++
		done.Bytes += sizes[key]
	}
	return err
}

// clean removes what crashes left: on disk at once and then every time, blobs
// from the first interval on.
func (s *Sweeper) clean(ctx context.Context) {
	s.leftovers(ctx)
	if err := s.own(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("orphans among the blobs stay where they are", "error", err)
	}
	trouble := turns.Trouble{Log: s.log, What: "remove all blobs that no scan needs"}
	for turns.Sleep(ctx, turns.Jitter(s.config().Orphans)) {
		s.leftovers(ctx)
		done, err := s.orphans(ctx)
		if ctx.Err() != nil {
			return
		}
		done.Task, done.Failed = host.SweepOrphans, err != nil
		s.config().Meter.Swept(done)
		trouble.Report(err)
		if done.Blobs > 0 {
			s.log.Info("removed blobs that no scan needs", "blobs", done.Blobs, "bytes", done.Bytes)
		}
	}
}

func (s *Sweeper) leftovers(ctx context.Context) {
	for _, l := range s.left {
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("could not remove all "+l.What, "error", err)
		}
	}
}

// orphans goes through all blobs once.
func (s *Sweeper) orphans(ctx context.Context) (done host.Swept, err error) {
	if err := s.own(ctx); err != nil {
		return done, err
	}
	for cursor := ""; ; {
		page, next, lerr := s.blobs.List(ctx, cursor, 0)
		if lerr != nil {
			return done, errors.Join(err, lerr)
		}
		var keys []host.BlobKey
		sizes := map[host.BlobKey]int64{}
		young := time.Now().Add(-s.config().Grace)
		for _, b := range page {
			if b.Key != originKey && b.Modified.Before(young) {
				keys, sizes[b.Key] = append(keys, b.Key), b.Size
			}
		}
		if rerr := s.removeUnused(ctx, keys, sizes, &done); rerr != nil {
			err = rerr
		}
		if cursor = next; cursor == "" || !turns.Sleep(ctx, s.config().Pause) {
			return done, err
		}
	}
}
