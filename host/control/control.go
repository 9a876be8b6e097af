// Package control is what operators do to the queue that takes more than one
// call of its store: dead letters by the thousand, in batches that hold no lock
// for long, and a queue that is drained. The API and the command line share it.
package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// batch is how many dead letters one transaction settles.
const batch = 100

// Queue controls a queue. It is a value without state; copy it as you like.
type Queue struct {
	Store host.QueueStore
	// Blobs is asked whether the archive of a job that is to run again is still
	// there; nil: nobody is asked, and a job without its archive fails again.
	Blobs host.BlobStore
	// Wake tells this host's dispatcher that jobs have become ready; nil: every
	// host finds out by itself within one sweep.
	Wake func()
}

// Selection says which dead letters: by their jobs, or, without any, those that
// Filter finds, the newest first.
type Selection struct {
	Jobs   []host.JobID
	Filter host.DeadQuery // its Limit is of no meaning here
}

// Result is what became of a selection.
type Result struct {
	Done    int // requeued, dropped
	Refused []host.Refusal
	// Next continues a selection by filter that found more than were asked for;
	// nil: that was all of it.
	Next *host.DeadCursor
}

func (r *Result) add(asked int, refused []host.Refusal) {
	r.Done += asked - len(refused)
	r.Refused = append(r.Refused, refused...)
}

// Requeue requeues dead letters, of those that a filter finds at most so many.
// After an error the result says what was done before it.
func (q Queue) Requeue(ctx context.Context, s Selection, most int) (Result, error) {
	out, err := q.each(ctx, s, most, true, q.Store.Requeue)
	if out.Done > 0 {
		q.wake()
	}
	return out, err
}

// Drop drops dead letters, as Requeue requeues them.
func (q Queue) Drop(ctx context.Context, s Selection, most int) (Result, error) {
	return q.each(ctx, s, most, false, q.Store.Drop)
}

type settleFunc func(context.Context, []host.JobID) ([]host.Refusal, error)

func (q Queue) each(ctx context.Context, s Selection, most int, needsInput bool, settle settleFunc) (out Result, err error) {
	if len(s.Jobs) > 0 {
		return q.listed(ctx, unique(s.Jobs), needsInput, settle)
	}
	f := s.Filter
	for out.Done+len(out.Refused) < most {
		f.Limit = min(batch, most-out.Done-len(out.Refused))
		page, err := q.Store.DeadLetters(ctx, f)
		if err != nil || len(page) == 0 {
			return out, err
		}
		if err := q.settle(ctx, &out, page, needsInput, settle); err != nil {
			return out, err
		}
		if len(page) < f.Limit {
			return out, nil
		}
		// Behind the last one, so that one that is refused, or dies again at
		// once, is not met twice.
		last := page[len(page)-1]
		f.After = &host.DeadCursor{DeadAt: last.DeadAt, ID: last.Job.ID}
	}
	out.Next = f.After
	return out, nil
}

// listed settles dead letters by their jobs.
func (q Queue) listed(ctx context.Context, ids []host.JobID, needsInput bool, settle settleFunc) (out Result, err error) {
	for len(ids) > 0 {
		n := min(batch, len(ids))
		var page []host.DeadLetter
		for _, id := range ids[:n] {
			d := host.DeadLetter{Job: host.Job{ID: id}}
			if needsInput && q.Blobs != nil {
				if d, err = q.Store.DeadLetter(ctx, id); errors.Is(err, host.ErrNotFound) {
					out.Refused = append(out.Refused, host.Refusal{Job: id, Reason: host.RefusedNotDead})
					continue
				}
				if err != nil {
					return out, err
				}
			}
			page = append(page, d)
		}
		if err := q.settle(ctx, &out, page, needsInput, settle); err != nil {
			return out, err
		}
		ids = ids[n:]
	}
	return out, nil
}

// settle settles one batch, but for those whose archive is gone.
func (q Queue) settle(ctx context.Context, out *Result, page []host.DeadLetter, needsInput bool, settle settleFunc) error {
	var ids []host.JobID
	for _, d := range page {
		if needsInput {
			gone, err := q.gone(ctx, d)
			if err != nil {
				return err
			}
			if gone {
				out.Refused = append(out.Refused, host.Refusal{Job: d.Job.ID, Reason: host.RefusedNoInput})
				continue
			}
		}
		ids = append(ids, d.Job.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	refused, err := settle(ctx, ids)
	if err != nil {
		return err
	}
	out.add(len(ids), refused)
	return nil
}

// gone reports whether the archive that a job would scan was removed. A scan
// that its tenant canceled has a better reason to be refused.
func (q Queue) gone(ctx context.Context, d host.DeadLetter) (bool, error) {
	if q.Blobs == nil || d.Blob == "" || d.Canceled {
		return false, nil
	}
	b, err := q.Blobs.Open(ctx, d.Blob)
	switch {
	case errors.Is(err, host.ErrNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for the archive of job %s: %w", d.Job.ID, err)
	}
	if err := b.Close(); err != nil {
		return false, fmt.Errorf("close the archive of job %s: %w", d.Job.ID, err)
	}
	return false, nil
}

// Resume takes a pause back and wakes this host.
func (q Queue) Resume(ctx context.Context, kind host.PauseKind, name string) error {
	if err := q.Store.Resume(ctx, kind, name); err != nil {
		return err
	}
	q.wake()
	return nil
}

// Drain pauses everything and returns when nothing runs: when that was so at two
// looks in a row, because a claim that was under way when the pause came may
// begin one more job. It looks at each interval and tells progress, unless that
// is nil, what it still waits for. The pause stays, also when ctx ends first.
func (q Queue) Drain(ctx context.Context, reason string, every time.Duration, progress func(host.QueueStats)) error {
	if err := q.Store.Pause(ctx, host.Pause{Kind: host.PauseAll, Reason: reason}); err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for quiet := 0; ; {
		stats, err := q.Store.QueueStats(ctx)
		if err != nil {
			return err
		}
		if stats.Total().Running > 0 {
			quiet = 0
		} else if quiet++; quiet == 2 {
			return nil
		}
		if progress != nil {
			progress(stats)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (q Queue) wake() {
	if q.Wake != nil {
		q.Wake()
	}
}

// unique keeps the first of each.
func unique(ids []host.JobID) []host.JobID {
	seen := make(map[host.JobID]bool, len(ids))
	out := make([]host.JobID, 0, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
