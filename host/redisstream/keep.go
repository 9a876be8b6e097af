package redisstream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// keepFor is how long a stream stays that nobody rings or listens to: of a
	// plugin that no host has any more. Its doorbells, at most maxLen, and its
	// group would stay for ever otherwise.
	keepFor = 7 * 24 * time.Hour
	// keepEvery is the time between two extensions of that by one host.
	keepEvery = time.Hour
)

// keepDue reports whether a stream's time is to be extended now.
func (d *Doorbells) keepDue(stream string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if at, kept := d.kept[stream]; kept && now.Sub(at) < keepEvery {
		return false
	}
	d.kept[stream] = now
	return true
}

// unkept makes the next look extend the time of a stream that is new.
func (d *Doorbells) unkept(stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kept, stream)
}

// keep extends the time of the streams that this host listens to. One that is
// not there yet is made when the read finds that out.
func (d *Doorbells) keep(ctx context.Context, plugins []string) error {
	var due []string
	for _, p := range plugins {
		if stream := d.stream(p); d.keepDue(stream) {
			due = append(due, stream)
		}
	}
	if len(due) == 0 {
		return nil
	}
	_, err := d.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, stream := range due {
			p.Expire(ctx, stream, keepFor)
		}
		return nil
	})
	if err != nil {
		for _, stream := range due {
			d.unkept(stream)
		}
	}
	return translate("keep the streams of doorbells", err)
}
