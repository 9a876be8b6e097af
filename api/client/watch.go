package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"mime"
	"net/http"
	"time"
)

// ErrNoEvents says that the host, or something in front of it, serves no events:
// ask again and again instead.
var ErrNoEvents = errors.New("the host serves no events")

const maxFailures = 20 // in a row: a host that is away for a minute or two is waited for

// tries is how often in a row a stream may fail: be refused for now, or break.
type tries struct{ refused, broken int }

const (
	// silence is how long a stream may say nothing; hosts say something every 15 s.
	silence = 45 * time.Second
	// defaultRetry is the pause before a stream is taken up again, when the host
	// did not say.
	defaultRetry = 3 * time.Second
)

// WatchOptions say where to begin. The zero value is good.
type WatchOptions struct {
	// LastEventID is the ID of the event seen last; what comes behind it is told.
	// "": begin with how things are.
	LastEventID string
}

// Watch tells what happens to a scan until it has ended, beginning with how it
// is. A stream that breaks off is taken up again behind the last event, at
// whichever host then answers, so that nothing is missed and nothing comes
// twice; when that cannot be said there is an EventReset. It ends after
// EventEnded or EventRemoved, or with an error: [ErrNoEvents], what the host
// refused, or the context's.
func (c *Client) Watch(ctx context.Context, id string, opts WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range c.watch(ctx, scanPath(id)+"/events", opts, tries{maxFailures, maxFailures}) {
			var refused *Error
			if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
				if _, gone := c.Scan(ctx, id); gone == nil { // it is the route that is not there
					err = ErrNoEvents
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// WatchAll is Watch for all scans of the key's tenant, without progress. It ends
// with an error only.
func (c *Client) WatchAll(ctx context.Context, opts WatchOptions) iter.Seq2[Event, error] {
	return c.watch(ctx, "/events", opts, tries{maxFailures, maxFailures})
}

// watcher is one Watch.
type watcher struct {
	c     *Client
	path  string
	last  string
	retry time.Duration
	yield func(Event, error) bool
}

// watch gives up after so many failures in a row.
func (c *Client) watch(ctx context.Context, path string, opts WatchOptions, most tries) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watcher{c: c, path: path, last: opts.LastEventID, retry: defaultRetry, yield: yield}
		for failed := 0; ; {
			heard, done, err := w.once(ctx)
			if done {
				return
			}
			if heard {
				failed = 0
			}
			failed++
			if ctx.Err() != nil {
				yield(Event{}, context.Cause(ctx))
				return
			}
			if !temporary(err) || failed > most.of(err) {
				yield(Event{}, err)
				return
			}
			if err := c.opts.SleepFunc(ctx, w.pause(failed, err)); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

func (t tries) of(err error) int {
	var refused *Error
	if errors.As(err, &refused) {
		return t.refused
	}
	return t.broken
}

// pause is as long as the host asks for, and spread, so that all who watched at
// a host that died do not come to the next at once.
func (w *watcher) pause(failed int, err error) time.Duration {
	pause := w.c.backoff(failed - 1)
	if w.c.opts.IgnoreRetryAfter {
		return pause
	}
	var refused *Error
	if errors.As(err, &refused) && refused.RetryAfter > 0 {
		return max(pause, refused.RetryAfter)
	}
	return max(pause, w.retry/2+rand.N(w.retry/2+1))
}

// once follows one stream. It is done when there is no more to come, or nobody
// wants more; otherwise the error says why it broke off.
func (w *watcher) once(ctx context.Context) (heard, done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the host said nothing for %v", silence)) })
	defer quiet.Stop()
	req := request{method: http.MethodGet, path: w.path, accept: eventStream, lastEventID: w.last}
	resp, err := w.c.do(ctx, req) //nolint:bodyclose // closed below, where it is a stream too
	if err != nil {
		return false, false, &NetworkError{req.op(), causeOf(ctx, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return false, true, nil
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxFrame)) // the status says enough
		return false, false, readError(resp, body)
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != eventStream {
		return false, false, ErrNoEvents
	}
	frames := newFrames(readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		quiet.Reset(silence)
		return n, err
	}))
	for {
		f, err := frames.next()
		if f.retry > 0 {
			w.retry = f.retry
		}
		if err != nil {
			return heard, false, &NetworkError{req.op(), causeOf(ctx, err)}
		}
		e, known, err := f.event()
		if err != nil {
			return heard, false, &NetworkError{req.op(), err}
		}
		if known && !w.yield(e, nil) {
			return true, true, nil
		}
		if f.id != "" {
			w.last, heard = f.id, true
		}
		if e.Type == EventEnded || e.Type == EventRemoved {
			return true, true, nil
		}
	}
}

// causeOf is why a request was broken off, when that was done here.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
