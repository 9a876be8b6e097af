package chaos_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/chaos/plan"
)

// load is what was uploaded.
type load struct {
	c       *cluster
	archive []byte
	total   int           // scans to get accepted
	pause   time.Duration // of each uploader between uploads
	most    int64         // scans that may be unfinished, so that the storm meets them all
	tame    bool

	accepting atomic.Int64 // accepted or about to be
	open      atomic.Int64 // scans that are not final, as the database last said

	mu       sync.Mutex
	accepted map[string]int         // scan -> tenant
	plans    map[int64]plan.Options // by seed
	failed   map[string]int         // uploads by how they failed
	canceled int                    // cancels that were taken
}

// newLoad prepares to upload total scans.
func newLoad(c *cluster, total int, pause time.Duration) *load {
	return &load{
		c: c, archive: sample(c.t), total: total, pause: pause, most: 150,
		accepted: map[string]int{}, plans: map[int64]plan.Options{}, failed: map[string]int{},
	}
}

// upload uploads from several goroutines until all are accepted; wait for it.
func (l *load) upload(ctx context.Context, seed uint64) (wait func()) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil && l.accepting.Add(1) <= int64(l.total) {
				for ctx.Err() == nil && !l.one(ctx, rng) {
					sleep(ctx, 50*time.Millisecond)
				}
				sleep(ctx, l.pause/2+time.Duration(rng.Int64N(int64(l.pause)+1)))
				for ctx.Err() == nil && l.open.Load() > l.most {
					sleep(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	return wg.Wait
}

// one uploads one scan to some host, and says whether it was accepted.
func (l *load) one(ctx context.Context, rng *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	tenant, opts := rng.IntN(len(l.c.keys)), client.UploadOptions{Filename: "project.tar.gz", Type: "one"}
	plans := map[string]plan.Options{"flaky": l.plan(rng)}
	if rng.IntN(4) == 0 {
		opts.Type, plans["other"] = "two", l.plan(rng)
	}
	var err error
	if opts.Options, err = json.Marshal(plans); err != nil {
		panic(err)
	}
	api := l.c.api(rng.IntN(len(l.c.hosts)), tenant)
	var body = bytes.NewReader(l.archive)
	if rng.IntN(25) == 0 && !l.tame { // a client that hangs up
		cut, hangUp := context.WithTimeout(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
		defer hangUp()
		ctx = cut
	}
	scan, err := api.Upload(ctx, body, opts)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed[kind(err)]++
		return false
	}
	l.accepted[scan.ID] = tenant
	if !l.tame && rng.IntN(40) == 0 {
		if _, err := api.Cancel(ctx, scan.ID); err == nil {
			l.canceled++
		}
	}
	return true
}

// plan makes the options of one job. Seeds never repeat.
func (l *load) plan(rng *rand.Rand) plan.Options {
	o := plan.Options{Seed: rng.Int64N(1 << 50), Tame: l.tame}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans[o.Seed] = o
	return o
}

const network = "network" // nobody answered

func kind(err error) string {
	var problem *client.Error
	if errors.As(err, &problem) {
		return http.StatusText(problem.StatusCode)
	}
	return network
}

// watch keeps open up to date until ctx ends.
func (l *load) watch(ctx context.Context) {
	for ctx.Err() == nil {
		var n int64
		if err := l.c.db.QueryRow(ctx, `select count(*) from scans where finished_at is null`).Scan(&n); err == nil {
			l.open.Store(n)
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// sample is a small archive.
func sample(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	text := []byte("print('hello')\n")
	if err := tw.WriteHeader(&tar.Header{Name: "app/main.py", Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
