package chaos_test

import (
	"context"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/retention"
	"github.com/securetaghq/securetag/host/sqlite"
)

// swept hears of the end of a sweep for orphans.
var _ host.Meter = (*swept)(nil)

type swept struct {
	host.NoMeter
	orphans chan host.Swept
}

func (m *swept) Swept(s host.Swept) {
	if s.Task == host.SweepOrphans {
		select {
		case m.orphans <- s:
		default:
		}
	}
}

// sweep does, with all hosts dead, what one does each hour for what is older
// than any upload or job: afterwards every blob has a scan.
func (q *crush) sweep() {
	q.t.Helper()
	ctx, stop := context.WithTimeout(q.t.Context(), time.Minute)
	defer stop()
	store, err := q.store(ctx)
	if err != nil {
		q.t.Fatal(err)
	}
	defer store.Close()
	blobs, err := dirblob.New(filepath.Join(q.dir, "data", "blobs"))
	if err != nil {
		q.t.Fatal(err)
	}
	defer blobs.Close()
	before := len(q.strangers(q.owned()))
	m := &swept{orphans: make(chan host.Swept, 1)}
	sweeper, err := retention.New(store, blobs, nil, retention.Config{Orphans: time.Millisecond, Grace: time.Nanosecond, Every: time.Hour, Meter: m}, hclog.NewNullLogger())
	if err != nil {
		q.t.Fatal(err)
	}
	run, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sweeper.Run(run) }()
	select {
	case s := <-m.orphans:
		q.t.Logf("the sweep removed %d of %d orphans", s.Blobs, before)
		if s.Blobs != before || s.Failed {
			q.wrong("of %d blobs without a scan the sweep removed %d", before, s.Blobs)
		}
	case <-ctx.Done():
		q.t.Error("the sweep for orphans did not come to its end")
	}
	end()
	if err := <-ended; err != nil {
		q.t.Error(err)
	}
	owned := q.owned()
	if left := q.strangers(owned); len(left) > 0 {
		q.wrong("blobs without a scan are left: %v", left)
	}
	for key := range owned {
		if blob, err := blobs.Open(ctx, host.BlobKey(key)); err != nil {
			q.wrong("the archive of a scan: %v", err)
		} else if err := blob.Close(); err != nil {
			q.t.Error(err)
		}
	}
}

// store opens what the hosts share.
func (q *crush) store(ctx context.Context) (host.Store, error) {
	if q.settings.embedded {
		return sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(q.dir, "data", "securetag.db")})
	}
	return postgres.Open(ctx, postgres.Config{URL: q.postgres})
}
