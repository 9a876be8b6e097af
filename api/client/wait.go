package client

import (
	"context"
	"slices"
)

// Wait waits until the scan's state is final and returns it. progress, unless it
// is nil, is called with the scan as it is known after each change.
//
// It watches, asks for the scan when a job has ended, and polls where events are not to be had. Polling keeps to the
// host's Retry-After and slows down while the scan runs; a host that is away for
// a minute or two is waited for. When ctx ends, Wait returns the last it knew
// with the context's error; the scan goes on.
func (c *Client) Wait(ctx context.Context, id string, progress func(Scan)) (Scan, error) {
	if progress == nil {
		progress = func(Scan) {}
	}
	var last Scan
	// A host that has no room for a stream has the scan.
	for e, err := range c.watch(ctx, scanPath(id)+"/events", WatchOptions{}, tries{refused: 0, broken: 2}) {
		switch {
		case err != nil && ctx.Err() != nil:
			return last, ctx.Err()
		case err != nil:
			// Whatever is wrong with the stream: the scan says what is wrong with it.
			return c.poll(ctx, id, last, progress)
		case e.Type == EventJobRetry, e.Type == EventJobEnded, e.Type == EventChanged:
			// The scan says how many findings, what was wrong, and more.
			if s, err := c.Scan(ctx, id); err == nil {
				last = s
				progress(last)
			} else if last.apply(e) {
				progress(last)
			}
		case last.apply(e):
			progress(last)
		}
		if e.Type == EventEnded {
			return last, nil
		}
	}
	return c.poll(ctx, id, last, progress) // it was removed
}

// poll is Wait by asking.
func (c *Client) poll(ctx context.Context, id string, last Scan, progress func(Scan)) (Scan, error) {
	failures := 0
	for attempt := 0; ; attempt++ {
		s, h, err := c.scan(ctx, id)
		switch {
		case ctx.Err() != nil && err != nil:
			return last, ctx.Err()
		case err != nil && temporary(err) && failures < maxFailures:
			// A host that is being restarted; the scan goes on elsewhere.
			if failures++; c.opts.SleepFunc(ctx, c.opts.MaxWait) != nil {
				return last, ctx.Err()
			}
			continue
		case err != nil:
			return last, err
		}
		failures = 0
		last = s
		progress(s)
		if s.State.Final() {
			return s, nil
		}
		pause := c.backoff(attempt)
		if !c.opts.IgnoreRetryAfter {
			pause = max(pause, retryAfter(h))
		}
		if err := c.opts.SleepFunc(ctx, pause); err != nil {
			return last, err
		}
	}
}

// apply makes of s what it is after e, and reports whether e says anything new.
// What s had before is not changed: others may keep it.
func (s *Scan) apply(e Event) bool {
	switch {
	case e.Scan != nil:
		*s = *e.Scan
		return true
	case e.Change != nil && e.Change.State != "":
		s.State = e.Change.State
		return true
	case e.Job == nil:
		return false
	}
	i := slices.IndexFunc(s.Jobs, func(j Job) bool { return j.ID == e.Job.JobID })
	if i < 0 {
		return false
	}
	s.Jobs = slices.Clone(s.Jobs)
	s.Jobs[i].apply(e)
	if s.State == StateQueued && e.Type == EventJobStarted {
		s.State, s.StartedAt = StateRunning, &e.Job.At
	}
	return true
}

func (j *Job) apply(e Event) {
	n := e.Job
	j.State, j.Attempt = n.State, n.Attempt
	if n.Progress != nil {
		j.Progress = n.Progress
	}
	if n.Code != "" {
		j.Error = &JobError{Code: n.Code, Attempt: n.Attempt}
	}
	switch e.Type {
	case EventJobStarted:
		if j.StartedAt == nil {
			j.StartedAt = &n.At
		}
	case EventJobEnded:
		j.FinishedAt = &n.At
	}
}
