package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// fakeBlobs keeps what is put. Its sum of anything is its content.
type fakeBlobs struct {
	host.BlobStore // nil: the methods below are all that are used

	mu   sync.Mutex
	kept map[host.BlobKey]string
	err  error
}

func (b *fakeBlobs) Put(_ context.Context, key host.BlobKey, r io.Reader) (int64, string, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return 0, "", fmt.Errorf("put: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, "", b.err
	}
	b.kept[key] = string(text)
	return int64(len(text)), string(text), nil
}

func (b *fakeBlobs) Delete(ctx context.Context, key host.BlobKey) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil {
		delete(b.kept, key)
	}
	return ctx.Err()
}

// TestArtifacts has artifacts kept exactly as long as their attempt delivers, or
// may have.
func TestArtifacts(t *testing.T) {
	t.Parallel()
	fault := &host.Fault{Code: host.CodePluginCrashed, Message: "it crashed"}
	for name, c := range map[string]struct {
		report host.Report
		err    error
		finish error // of the store, once
		lost   bool  // the lease, before the run ends
		rows   int   // in the outcome
		blobs  int   // left at the end
	}{
		"succeeded":            {report: host.Report{State: host.StateSucceeded}, rows: 1, blobs: 1},
		"partial":              {report: host.Report{State: host.StatePartial, Reason: "r"}, rows: 1, blobs: 1},
		"failed":               {report: host.Report{State: host.StateFailed, Reason: "r"}},
		"crashed":              {err: fault},
		"lease lost":           {err: errors.New("stopped"), lost: true},
		"perhaps stored":       {report: host.Report{State: host.StateSucceeded}, finish: host.ErrLeaseLost, blobs: 1},
		"what cannot be known": {report: host.Report{State: host.StateSucceeded}, finish: errors.New("broken"), blobs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, blobs := newFakeStore(claim()), &fakeBlobs{kept: map[host.BlobKey]string{}}
				if c.lost {
					store.HeartbeatFunc = func([]host.Beat) ([]host.Pulse, error) { return nil, nil }
				}
				store.FinishFunc = func(o []host.Outcome) ([]host.Lease, error) {
					if errors.Is(c.finish, host.ErrLeaseLost) {
						return []host.Lease{o[0].Lease}, nil
					}
					return nil, c.finish
				}
				w := start(t, store, func(ctx context.Context, _ host.Task, s host.Sink) (host.Report, error) {
					n, err := s.Artifact(ctx, host.Artifact{Name: "a", MediaType: "a/b", SHA256: "text"}, strings.NewReader("text"))
					if n != 4 || err != nil {
						t.Errorf("Artifact = %d, %v", n, err)
					}
					if _, err := s.Artifact(ctx, host.Artifact{Name: "b", SHA256: "other"}, strings.NewReader("text")); !errors.Is(err, host.ErrInvalid) {
						t.Errorf("an artifact with another sum: %v, want ErrInvalid", err)
					}
					if c.lost {
						<-ctx.Done()
					}
					return c.report, c.err
				}, func(cfg *dispatch.Config) { cfg.Artifacts = blobs })
				synctest.Wait()
				if c.rows > 0 || c.err != nil && !c.lost || c.report.State == host.StateFailed {
					if got := outcomeOf(t, store).Artifacts; len(got) != c.rows || c.rows > 0 && (got[0].Size != 4 || got[0].SHA256 != "text" || blobs.kept[got[0].Blob] != "text") {
						t.Errorf("artifacts of the outcome: %+v, want %d", got, c.rows)
					}
				}
				w.end()
				if len(blobs.kept) != c.blobs {
					t.Errorf("%d blobs are left, want %d", len(blobs.kept), c.blobs)
				}
			})
		})
	}
}

// TestArtifactRefused has a host that keeps none, and a disk that is full.
func TestArtifactRefused(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		blobs host.BlobStore
		want  error
	}{"none": {nil, host.ErrInvalid}, "full": {&fakeBlobs{err: full}, full}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newFakeStore(claim())
				w := start(t, store, func(ctx context.Context, _ host.Task, s host.Sink) (host.Report, error) {
					if _, err := s.Artifact(ctx, host.Artifact{Name: "a"}, strings.NewReader("x")); !errors.Is(err, c.want) {
						t.Errorf("Artifact: %v, want %v", err, c.want)
					}
					return host.Report{State: host.StateSucceeded}, nil
				}, func(cfg *dispatch.Config) { cfg.Artifacts = c.blobs })
				defer w.end()
				if o := outcomeOf(t, store); o.State != host.StateSucceeded || len(o.Artifacts) > 0 {
					t.Errorf("outcome %+v", o)
				}
			})
		})
	}
}

// TestRemarks: what a plugin says is stored with what it delivers, some of it when
// that is very much.
func TestRemarks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(claim())
		w := start(t, store, func(_ context.Context, _ host.Task, s host.Sink) (host.Report, error) {
			for i := range 2 * (host.MaxNotes + 2) {
				s.Note(host.Note{Level: host.NoteNotice, Text: fmt.Sprint(i / 2)})
			}
			return host.Report{State: host.StateSucceeded, Reason: "no Go files"}, nil
		}, func(*dispatch.Config) {})
		defer w.end()
		r := outcomeOf(t, store).Remarks
		if r.NotApplicable != "no Go files" || len(r.Notes) != host.MaxNotes || r.Notes[1].Text != "1" || r.More == 0 {
			t.Errorf("remarks %+v, want %d different notes, and how many more", r, host.MaxNotes)
		}
	})
}
