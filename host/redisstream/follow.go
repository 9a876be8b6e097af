package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// wakeTimeout bounds the waking of a Follow whose context ended.
const wakeTimeout = time.Second

// Follow blocks on all streams and on its own of wakes in one XREAD, which says
// where there is something, and then looks there: what XREAD brings may have a
// hole, after a trim or a wipe.
func (e *Events) Follow(ctx context.Context, places []host.Place, max int, wait time.Duration) ([]host.News, error) {
	for _, at := range places {
		if _, err := eventTime(at.After); err != nil && at.After != "" {
			return nil, fmt.Errorf("follow events after %.64q: %w", string(at.After), err)
		}
	}
	if max = min(max, host.MaxEvents); max <= 0 {
		return nil, nil
	}
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wakeTimeout)
		defer cancel()
		_ = e.Wake(ctx) // else Follow ends with its Block
	})
	defer stop()
	for until := time.Now().Add(wait); ; {
		left := time.Until(until)
		ready, woken, err := e.block(ctx, places, min(max1ms(left), e.cfg.Block))
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("follow events: %w", ctx.Err())
		}
		if len(ready) > 0 {
			return e.lookAll(ctx, ready, max)
		}
		if woken || left <= time.Millisecond {
			return nil, nil
		}
	}
}

// max1ms keeps a wait from being 0, which to Redis is for ever.
func max1ms(d time.Duration) time.Duration { return max(d, time.Millisecond) }

// block waits once, and returns the places that have something behind them and
// whether it was woken.
func (e *Events) block(ctx context.Context, places []host.Place, wait time.Duration) (ready []host.Place, woken bool, err error) {
	e.mu.Lock()
	woke := e.woke
	e.mu.Unlock()
	byStream := make(map[string]host.Place, len(places))
	streams, ids := []string{e.wakes}, []string{woke}
	for _, at := range places {
		key := e.stream(at.Feed)
		byStream[key] = at
		streams, ids = append(streams, key), append(ids, idAfter(at.After))
	}
	got, err := e.reader.XRead(ctx, &redis.XReadArgs{Streams: append(streams, ids...), Count: 1, Block: wait}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, translate("wait for events", err)
	}
	for _, s := range got {
		if at, ok := byStream[s.Stream]; ok {
			ready = append(ready, at)
		} else if n := len(s.Messages); n > 0 {
			e.mu.Lock()
			e.woke, woken = s.Messages[n-1].ID, true
			e.mu.Unlock()
		}
	}
	return ready, woken, nil
}

// lookAll is look for many, in one round trip.
func (e *Events) lookAll(ctx context.Context, places []host.Place, max int) ([]host.News, error) {
	answers := make([]*redis.XMessageSliceCmd, len(places))
	_, err := e.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range places {
			answers[i] = e.rangeOf(ctx, p, at, max)
		}
		return nil
	})
	if err != nil {
		return nil, translate("read events", err)
	}
	news := make([]host.News, len(places))
	for i, at := range places {
		events, whole := e.behind(at, max, answers[i].Val())
		news[i] = host.News{Place: at, Events: events, Gone: !whole}
	}
	return news, nil
}

// Wake adds to a stream of which one entry is kept, for a minute.
func (e *Events) Wake(ctx context.Context) error {
	_, err := e.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: e.wakes, MaxLen: 1, Values: []any{"w", ""}})
		p.PExpire(ctx, e.wakes, time.Minute)
		return nil
	})
	return translate("wake the reader of events", err)
}
