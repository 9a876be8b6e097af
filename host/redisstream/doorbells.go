package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

const (
	group = "hosts"
	field = "job"
	// maxLen bounds a stream that nobody listens to: it is rung again after
	// every horizon. A trimmed doorbell costs one horizon.
	maxLen = 100_000
)

// Config says how doorbells are kept and heard.
type Config struct {
	// Prefix starts every key, so that several installations share a server.
	// Default "securetag".
	Prefix string
	// Consumer names this host to Redis. It must be stable across restarts and
	// differ between hosts. Required.
	Consumer string
	// Block is how long Listen waits for a doorbell. go-redis cannot interrupt
	// a blocking read, so this is also how long a shutdown may wait for it.
	// Default 1s.
	Block time.Duration
	// Idle is how long a doorbell may be heard but not silenced before another
	// listener takes it over. Default 30s.
	Idle time.Duration
	// Absent is how long a host must not have listened before its name is
	// removed from those that Redis keeps. Far longer than Block. Default 1h.
	Absent time.Duration
}

// Doorbells is the [host.Doorbells] on Redis Streams.
type Doorbells struct {
	cfg    Config
	client redis.UniversalClient // Ring, Silence, Ping
	reader redis.UniversalClient // blocking reads, so that they never hold up the others

	mu       sync.Mutex
	reclaims map[string]time.Time // stream -> when to look for idle entries next; absent: never looked
	kept     map[string]time.Time // stream -> when its time was extended
	reapAt   time.Time            // when to look for absent hosts next
}

var _ host.Doorbells = (*Doorbells)(nil)

// New uses client for everything that is answered at once and reader, which
// must be another client of the same server, for reads that block. It does not
// connect, and Close of both stays with the caller.
func New(client, reader redis.UniversalClient, cfg Config) (*Doorbells, error) {
	var err error
	if cfg.Prefix, err = prefix(cfg.Prefix); err != nil {
		return nil, fmt.Errorf("doorbells: %w", err)
	}
	if cfg.Block == 0 {
		cfg.Block = time.Second
	}
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Absent == 0 {
		cfg.Absent = time.Hour
	}
	switch {
	case cfg.Consumer == "":
		return nil, fmt.Errorf("doorbells: a consumer name is required: %w", host.ErrInvalid)
	case cfg.Block < 0 || cfg.Idle < 0 || cfg.Absent < 0:
		return nil, fmt.Errorf("doorbells: block %v, idle %v and absent %v must be positive: %w", cfg.Block, cfg.Idle, cfg.Absent, host.ErrInvalid)
	}
	return &Doorbells{
		cfg: cfg, client: client, reader: reader,
		reclaims: map[string]time.Time{}, kept: map[string]time.Time{},
		reapAt: time.Now().Add(cfg.Absent), // one that starts has other things to do
	}, nil
}

// prefix checks what starts every key, or gives the default.
func prefix(p string) (string, error) {
	if p == "" {
		return "securetag", nil
	}
	if strings.ContainsAny(p, "{}") {
		return "", fmt.Errorf("prefix %q must not contain { or }: %w", p, host.ErrInvalid)
	}
	return p, nil
}

// ringAtOnce is how many doorbells share the time that Redis has for one answer.
const ringAtOnce = 500

func (d *Doorbells) Ring(ctx context.Context, bells []host.Doorbell) error {
	for some := range slices.Chunk(bells, ringAtOnce) {
		if err := d.ring(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (d *Doorbells) ring(ctx context.Context, bells []host.Doorbell) error {
	_, err := d.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, b := range bells {
			stream := d.stream(b.Plugin)
			p.XAdd(ctx, &redis.XAddArgs{Stream: stream, MaxLen: maxLen, Approx: true, Values: []any{field, string(b.Job)}})
			if d.keepDue(stream) {
				p.Expire(ctx, stream, keepFor)
			}
		}
		return nil
	})
	return translate("ring doorbells", err)
}

func (d *Doorbells) Listen(ctx context.Context, plugins []string, max int) ([]host.Ringing, error) {
	if len(plugins) == 0 || max <= 0 {
		return nil, nil
	}
	if heard, err := d.reclaim(ctx, plugins, max); err != nil || len(heard) > 0 {
		return heard, err
	}
	if err := d.keep(ctx, plugins); err != nil {
		return nil, err
	}
	if err := d.reap(ctx, plugins); err != nil {
		return nil, err
	}
	args := &redis.XReadGroupArgs{
		Group: group, Consumer: d.cfg.Consumer, Count: int64(max), Block: d.cfg.Block,
		Streams: make([]string, 0, 2*len(plugins)),
	}
	for _, p := range plugins {
		args.Streams = append(args.Streams, d.stream(p))
	}
	for range plugins {
		args.Streams = append(args.Streams, ">")
	}
	streams, err := d.reader.XReadGroup(ctx, args).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case groupGone(err):
		return nil, d.lost(ctx, plugins)
	case err != nil:
		d.forget(plugins)
		return nil, translate("listen for doorbells", err)
	}
	// COUNT is per stream, so with several plugins more than max may come; the
	// caller keeps what it has no slot for yet.
	var heard []host.Ringing
	for _, s := range streams {
		heard = d.append(heard, s.Stream, s.Messages)
	}
	return heard, nil
}

func (d *Doorbells) Silence(ctx context.Context, heard []host.Ringing) error {
	ids := map[string][]string{}
	for _, h := range heard {
		if stream, id, ok := strings.Cut(h.Receipt, " "); ok {
			ids[stream] = append(ids[stream], id)
		}
	}
	_, err := d.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for stream, ids := range ids {
			p.XAck(ctx, stream, group, ids...)
			p.XDel(ctx, stream, ids...) // an acknowledged entry stays in the stream for ever otherwise
		}
		return nil
	})
	if groupGone(err) {
		return nil // wiped: there is nothing left to silence
	}
	return translate("silence doorbells", err)
}

func (d *Doorbells) Ping(ctx context.Context) error {
	return translate("ping redis", d.client.Ping(ctx).Err())
}

// lost makes the groups of a server that is new or was wiped, and says so.
func (d *Doorbells) lost(ctx context.Context, plugins []string) error {
	if err := d.createGroups(ctx, plugins); err != nil {
		return err
	}
	return fmt.Errorf("listen for doorbells: the streams were not there: %w", host.ErrQueueLost)
}

// reclaim takes over entries that somebody heard and never silenced: once each
// half of the idle time those that were left for longer than it, and the first
// time this host's own, which it heard before it was restarted.
func (d *Doorbells) reclaim(ctx context.Context, plugins []string, max int) ([]host.Ringing, error) {
	var heard []host.Ringing
	for _, p := range plugins {
		stream := d.stream(p)
		due, first := d.reclaimDue(stream)
		if !due {
			continue
		}
		msgs, err := d.unsilenced(ctx, stream, max, first)
		if groupGone(err) {
			return heard, d.lost(ctx, plugins)
		}
		if err != nil {
			return heard, translate("reclaim doorbells", err)
		}
		if heard = d.append(heard, stream, msgs); len(heard) >= max {
			d.reclaimSoon(stream)
			break
		}
	}
	return heard, nil
}

func (d *Doorbells) unsilenced(ctx context.Context, stream string, max int, own bool) ([]redis.XMessage, error) {
	if own {
		streams, err := d.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: d.cfg.Consumer, Streams: []string{stream, "0"}, Count: maxLen, Block: -1,
		}).Result()
		if err != nil || len(streams) == 0 {
			return nil, err
		}
		return streams[0].Messages, nil
	}
	msgs, _, err := d.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: stream, Group: group, Consumer: d.cfg.Consumer,
		MinIdle: d.cfg.Idle, Start: "0-0", Count: int64(max),
	}).Result()
	return msgs, err
}

func (d *Doorbells) reclaimDue(stream string) (due, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	at, looked := d.reclaims[stream]
	if looked && now.Before(at) {
		return false, false
	}
	if !looked {
		d.reclaims[stream] = time.Time{} // others' are due next
		return true, true
	}
	d.reclaims[stream] = now.Add(d.cfg.Idle / 2)
	return true, false
}

// forget makes the next look one at this host's own entries: the answer that was
// lost may have held some.
func (d *Doorbells) forget(plugins []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range plugins {
		delete(d.reclaims, d.stream(p))
	}
}

// reclaimSoon makes the next look due at once: there may be more.
func (d *Doorbells) reclaimSoon(stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reclaims[stream] = time.Time{}
}

// createGroups makes the streams and their groups from the first entry on: at
// "$" a doorbell that was rung before would never be heard.
func (d *Doorbells) createGroups(ctx context.Context, plugins []string) error {
	for _, p := range plugins {
		err := d.client.XGroupCreateMkStream(ctx, d.stream(p), group, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return translate("create consumer group", err)
		}
		d.unkept(d.stream(p))
	}
	return nil
}

func (d *Doorbells) append(heard []host.Ringing, stream string, msgs []redis.XMessage) []host.Ringing {
	plugin := stream[strings.LastIndexByte(stream, ':')+1:]
	heard = slices.Grow(heard, len(msgs))
	for _, m := range msgs {
		job, _ := m.Values[field].(string) // an entry that is not ours claims nothing and is silenced
		heard = append(heard, host.Ringing{
			Doorbell: host.Doorbell{Plugin: plugin, Job: host.JobID(job)},
			Receipt:  stream + " " + m.ID,
		})
	}
	return heard
}

// stream is the key of a plugin's doorbells. The braces are Redis Cluster's
// hash tag.
func (d *Doorbells) stream(plugin string) string {
	return "{" + d.cfg.Prefix + "}:doorbell:" + plugin
}

// groupGone recognises what Redis says of a stream or group that was wiped,
// also to a reader that was blocked on it.
func groupGone(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED"))
}

// translate keeps Redis errors inside this package. Nothing here depends on
// the data sent, so every failure of a command is one of the server.
func translate(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	default:
		return fmt.Errorf("%s: %w: %v", what, host.ErrUnavailable, err) //nolint:errorlint // the driver's error must not leave this package
	}
}
