package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore keeps dead letters, newest first, and the running jobs that each
// look finds.
type fakeStore struct {
	host.QueueStore // what is not faked panics
	dead            []host.DeadLetter
	batches         []int // how many each transaction settled
	fail            error // of the next settling
	running         []int
	paused          []host.Pause
	resumed         int
}

func (f *fakeStore) DeadLetters(_ context.Context, q host.DeadQuery) (out []host.DeadLetter, _ error) {
	for _, d := range f.dead {
		behind := q.After == nil || d.DeadAt.Before(q.After.DeadAt)
		if behind && (q.Plugin == "" || q.Plugin == d.Job.Plugin) && len(out) < q.Limit {
			out = append(out, d)
		}
	}
	return out, nil
}

func (f *fakeStore) DeadLetter(_ context.Context, id host.JobID) (host.DeadLetter, error) {
	for _, d := range f.dead {
		if d.Job.ID == id {
			return d, nil
		}
	}
	return host.DeadLetter{}, host.ErrNotFound
}

func (f *fakeStore) Requeue(_ context.Context, ids []host.JobID) (refused []host.Refusal, _ error) {
	if err := f.fail; err != nil {
		f.fail = nil
		return nil, err
	}
	f.batches = append(f.batches, len(ids))
	for _, id := range ids {
		i := slices.IndexFunc(f.dead, func(d host.DeadLetter) bool { return d.Job.ID == id })
		switch {
		case i < 0:
			refused = append(refused, host.Refusal{Job: id, Reason: host.RefusedNotDead})
		case f.dead[i].Canceled:
			refused = append(refused, host.Refusal{Job: id, Reason: host.RefusedCanceled})
		default:
			f.dead = slices.Delete(f.dead, i, i+1)
		}
	}
	return refused, nil
}

func (f *fakeStore) Drop(ctx context.Context, ids []host.JobID) ([]host.Refusal, error) {
	return f.Requeue(ctx, ids)
}

func (f *fakeStore) Pause(_ context.Context, p host.Pause) error {
	f.paused = append(f.paused, p)
	return nil
}

func (f *fakeStore) Resume(context.Context, host.PauseKind, string) error {
	f.resumed++
	return nil
}

func (f *fakeStore) QueueStats(context.Context) (host.QueueStats, error) {
	n := f.running[0]
	if len(f.running) > 1 {
		f.running = f.running[1:]
	}
	return host.QueueStats{Groups: []host.QueueGroup{{Plugin: "p", Running: n}}}, nil
}

// fakeBlobs has only what is listed.
type fakeBlobs struct {
	host.BlobStore
	have []host.BlobKey
	err  error
}

type blob struct{ host.Blob }

func (blob) Close() error { return nil }

func (f fakeBlobs) Open(_ context.Context, key host.BlobKey) (host.Blob, error) {
	switch {
	case f.err != nil:
		return nil, f.err
	case slices.Contains(f.have, key):
		return blob{}, nil
	}
	return nil, host.ErrNotFound
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// letters makes n dead letters with the archives a-0, a-1, ... of which every
// third is of plugin "odd".
func letters(n int) (out []host.DeadLetter) {
	for i := range n {
		d := host.DeadLetter{DeadAt: noon.Add(-time.Duration(i) * time.Second), Blob: host.BlobKey(fmt.Sprintf("a-%d", i))}
		d.Job.ID, d.Job.Plugin = host.JobID(fmt.Sprintf("job-%d", i)), "p"
		if i%3 == 2 {
			d.Job.Plugin = "odd"
		}
		out = append(out, d)
	}
	return out
}

func TestByFilter(t *testing.T) {
	t.Parallel()
	f := &fakeStore{dead: letters(750)}
	woken := 0
	q := control.Queue{Store: f, Wake: func() { woken++ }}
	out, err := q.Requeue(t.Context(), control.Selection{Filter: host.DeadQuery{Plugin: "p"}}, 230)
	if err != nil || out.Done != 230 || out.Next == nil || woken != 1 {
		t.Fatalf("%+v, %v, woken %d", out, err, woken)
	}
	if want := []int{100, 100, 30}; !slices.Equal(f.batches, want) {
		t.Errorf("in batches of %v, want %v", f.batches, want)
	}
	out, err = q.Requeue(t.Context(), control.Selection{Filter: host.DeadQuery{Plugin: "p", After: out.Next}}, 1000)
	if err != nil || out.Done != 270 || out.Next != nil || len(f.dead) != 250 {
		t.Errorf("the rest: %+v, %v; %d left, want the 250 of the other plugin", out, err, len(f.dead))
	}
	if out, err = q.Drop(t.Context(), control.Selection{}, 1000); err != nil || out.Done != 250 || woken != 2 {
		t.Errorf("dropped %+v, %v, woken %d", out, err, woken)
	}
}

// TestRefusedOnce: one that cannot be requeued stays, and holds up no other.
func TestRefusedOnce(t *testing.T) {
	t.Parallel()
	f := &fakeStore{dead: letters(300)}
	for i := range f.dead {
		f.dead[i].Canceled = i%2 == 0
	}
	out, err := control.Queue{Store: f}.Requeue(t.Context(), control.Selection{}, 1000)
	if err != nil || out.Done != 150 || len(out.Refused) != 150 || out.Next != nil {
		t.Errorf("%d done, %d refused, next %v, %v", out.Done, len(out.Refused), out.Next, err)
	}
}

func TestArchiveGone(t *testing.T) {
	t.Parallel()
	dead := func() []host.DeadLetter {
		all := letters(4)
		all[2].Blob = "" // scans a URL
		all[3].Canceled = true
		return all
	}
	ids := []host.JobID{"job-0", "job-1", "job-1", "job-2", "job-3", "nobody"}
	want := []host.Refusal{{Job: "job-1", Reason: host.RefusedNoInput}, {Job: "job-3", Reason: host.RefusedCanceled}}
	for name, s := range map[string]control.Selection{"by filter": {}, "by job": {Jobs: ids}} {
		f := &fakeStore{dead: dead()}
		q := control.Queue{Store: f, Blobs: fakeBlobs{have: []host.BlobKey{"a-0"}}}
		out, err := q.Requeue(t.Context(), s, 100)
		refused := slices.DeleteFunc(out.Refused, func(r host.Refusal) bool { return r.Job == "nobody" && r.Reason == host.RefusedNotDead })
		if diff := cmp.Diff(want, refused); diff != "" || err != nil || out.Done != 2 {
			t.Errorf("%s: %d done, %v; refused (-want +got):\n%s", name, out.Done, err, diff)
		}
		// What is dropped needs no archive.
		if out, err := q.Drop(t.Context(), control.Selection{Jobs: []host.JobID{"job-1"}}, 100); err != nil || out.Done != 1 {
			t.Errorf("%s: dropped %+v, %v", name, out, err)
		}
	}
	f := &fakeStore{dead: dead()}
	broken := control.Queue{Store: f, Blobs: fakeBlobs{err: host.ErrUnavailable}}
	if out, err := broken.Requeue(t.Context(), control.Selection{}, 100); !errors.Is(err, host.ErrUnavailable) || out.Done != 0 {
		t.Errorf("when nobody can tell: %+v, %v", out, err)
	}
}

// TestPartWay: what was done before an error is told.
func TestPartWay(t *testing.T) {
	t.Parallel()
	f := &fakeStore{dead: letters(150)}
	q := control.Queue{Store: f}
	if _, err := q.Requeue(t.Context(), control.Selection{}, 100); err != nil {
		t.Fatal(err)
	}
	f.fail = host.ErrUnavailable
	if out, err := q.Requeue(t.Context(), control.Selection{}, 100); !errors.Is(err, host.ErrUnavailable) || out.Done != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := q.Requeue(t.Context(), control.Selection{}, 100); err != nil || out.Done != 50 {
		t.Errorf("then %+v, %v", out, err)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// One that began while it looked sets it back.
		f := &fakeStore{running: []int{3, 1, 0, 1, 0, 0}}
		var seen []int
		began := time.Now()
		err := control.Queue{Store: f}.Drain(t.Context(), "an upgrade", time.Second, func(s host.QueueStats) { seen = append(seen, s.Total().Running) })
		if want := []int{3, 1, 0, 1, 0}; err != nil || !slices.Equal(seen, want) || time.Since(began) != 5*time.Second {
			t.Errorf("drained after %v: %v, saw %v, want %v", time.Since(began), err, seen, want)
		}
		if want := []host.Pause{{Kind: host.PauseAll, Reason: "an upgrade"}}; !slices.Equal(f.paused, want) || f.resumed != 0 {
			t.Errorf("paused %+v, resumed %d", f.paused, f.resumed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{running: []int{1}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := (control.Queue{Store: f}).Drain(ctx, "", time.Second, nil); !errors.Is(err, context.DeadlineExceeded) || f.resumed != 0 {
			t.Errorf("with a job that never ends: %v, resumed %d", err, f.resumed)
		}
	})
}
