package redisstream

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// EventsConfig says how long events are kept. Zero values are replaced by the
// defaults given.
type EventsConfig struct {
	// Prefix starts every key, as in Config.
	Prefix string
	// MaxLen is how many events of one feed are kept; the oldest go first.
	// All hosts need the same. Default 1000.
	MaxLen int
	// Running is how long a feed's events are kept after one of them. Default 1h.
	Running time.Duration
	// Ended is the same after the end of a job, which may be the scan's last:
	// whoever looked on has the time to connect again and read it. The next
	// event of another job sets Running again; should that come later than
	// Ended, readers begin again from the store. At thousands of scans a second
	// this is what bounds the memory that events take: Redis gives every stream
	// 4 KiB to begin with. Default 15s.
	Ended time.Duration
	// Block is how long one blocking read takes at most. go-redis cannot
	// interrupt it, so Read notices this late that its context ended; Follow is
	// woken. Default 1s.
	Block time.Duration
}

// Events is the [host.Events] on Redis Streams, one for each feed.
type Events struct {
	cfg    EventsConfig
	client redis.UniversalClient
	reader redis.UniversalClient
	wakes  string // the stream that wakes Follow

	mu   sync.Mutex
	woke string // its newest entry that Follow has seen
}

var _ host.Events = (*Events)(nil)

const (
	eventField = "e"
	scanField  = "s" // whose event it is, in a tenant's feed
	// maxEvent bounds an event in bytes; what plugins say of their progress is
	// far below it.
	maxEvent = 4 << 10
)

// NewEvents uses client for what is answered at once and reader, another client
// of the same server, for reads that wait: one connection for each Read under
// way, so its pool bounds how many there can be. It must not be the reader of
// Doorbells, whose listener would wait for a connection. NewEvents does not
// connect, and Close of both stays with the caller.
func NewEvents(client, reader redis.UniversalClient, cfg EventsConfig) (*Events, error) {
	var err error
	if cfg.Prefix, err = prefix(cfg.Prefix); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	if cfg.MaxLen == 0 {
		cfg.MaxLen = 1000
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.Running, time.Hour}, {&cfg.Ended, 15 * time.Second}, {&cfg.Block, time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < time.Millisecond {
			return nil, fmt.Errorf("events: times must be at least 1ms, not %v: %w", *d.field, host.ErrInvalid)
		}
	}
	if cfg.MaxLen < 1 {
		return nil, fmt.Errorf("events: at least one event of a scan must be kept, not %d: %w", cfg.MaxLen, host.ErrInvalid)
	}
	e := &Events{cfg: cfg, client: client, reader: reader, woke: "0"}
	e.wakes = e.key("wake:" + rand.Text())
	return e, nil
}

// Publish adds and sets the streams' time to live in one transaction: a
// connection that breaks in between must not leave a stream for ever. What is
// progress is for those who look at the one scan.
func (e *Events) Publish(ctx context.Context, events []host.Event) error {
	if len(events) == 0 {
		return nil
	}
	if len(events) > host.MaxEvents {
		return fmt.Errorf("publish %d events: at most %d at once: %w", len(events), host.MaxEvents, host.ErrInvalid)
	}
	keep := make(map[string]time.Duration, len(events))
	_, err := e.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, ev := range events {
			text := encodeEvent(ev)
			if ev.Kind != host.EventAccepted {
				stream := e.stream(host.Feed{Scan: ev.Scan})
				p.XAdd(ctx, &redis.XAddArgs{Stream: stream, MaxLen: int64(e.cfg.MaxLen), Values: []any{eventField, text}})
				keep[stream] = e.cfg.Running
				if ev.Kind == host.EventEnded || ev.ScanState != "" && ev.ScanState.Final() {
					keep[stream] = e.cfg.Ended
				}
			}
			if ev.Tenant != "" && ev.Kind != host.EventProgress {
				stream := e.stream(host.Feed{Tenant: ev.Tenant})
				p.XAdd(ctx, &redis.XAddArgs{Stream: stream, MaxLen: int64(e.cfg.MaxLen), Values: []any{eventField, text, scanField, string(ev.Scan)}})
				keep[stream] = e.cfg.Running
			}
		}
		for stream, ttl := range keep {
			p.PExpire(ctx, stream, ttl)
		}
		return nil
	})
	return translate("publish events", err)
}

func (e *Events) End(ctx context.Context, feed host.Feed) (host.EventID, error) {
	newest, err := e.client.XRevRangeN(ctx, e.stream(feed), "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return "", translate("find the newest event", err)
	}
	return host.EventID(newest[0].ID), nil
}

// Keep sets the time to live that Publish would. A stream that is not there
// stays away.
func (e *Events) Keep(ctx context.Context, scans []host.ScanID) error {
	if len(scans) == 0 {
		return nil
	}
	_, err := e.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, scan := range scans {
			p.PExpire(ctx, e.stream(host.Feed{Scan: scan}), e.cfg.Running)
		}
		return nil
	})
	return translate("keep events", err)
}

// Read looks and waits in turn. What a blocking read brings only says that
// there is something: the stream may have been wiped and begun again under it,
// and looking notices that.
func (e *Events) Read(ctx context.Context, feed host.Feed, after host.EventID, max int, wait time.Duration) ([]host.Event, error) {
	if _, err := eventTime(after); err != nil && after != "" {
		return nil, fmt.Errorf("read events after %.64q: %w", string(after), err)
	}
	if max = min(max, host.MaxEvents); max <= 0 {
		return nil, nil
	}
	for until := time.Now().Add(wait); ; {
		events, err := e.look(ctx, host.Place{Feed: feed, After: after}, max)
		left := time.Until(until)
		if err != nil || len(events) > 0 || left < time.Millisecond {
			return events, err
		}
		err = e.reader.XRead(ctx, &redis.XReadArgs{Streams: []string{e.stream(feed), idAfter(after)}, Count: 1, Block: min(left, e.cfg.Block)}).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, translate("wait for events", err)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for events: %w", ctx.Err())
		}
	}
}

// idAfter is a place as XREAD takes it.
func idAfter(after host.EventID) string {
	if after == "" {
		return "0"
	}
	return string(after)
}

// look reads from the last seen event on, itself included: while it is there
// nothing behind it is missing.
func (e *Events) look(ctx context.Context, at host.Place, max int) ([]host.Event, error) {
	entries, err := e.rangeOf(ctx, e.client, at, max).Result()
	if err != nil {
		return nil, translate("read events", err)
	}
	events, whole := e.behind(at, max, entries)
	if !whole {
		return nil, fmt.Errorf("read events of %+v after %q: %w", at.Feed, at.After, host.ErrEventsGone)
	}
	return events, nil
}

func (e *Events) rangeOf(ctx context.Context, c redis.Cmdable, at host.Place, max int) *redis.XMessageSliceCmd {
	if at.After == "" {
		return c.XRangeN(ctx, e.stream(at.Feed), "-", "+", int64(e.cfg.MaxLen))
	}
	return c.XRangeN(ctx, e.stream(at.Feed), string(at.After), "+", int64(max+1))
}

// behind gives the events behind a place, of what rangeOf read; not whole when
// some may be missing.
func (e *Events) behind(at host.Place, max int, entries []redis.XMessage) (events []host.Event, whole bool) {
	switch {
	case at.After == "" && len(entries) >= e.cfg.MaxLen, // the first may have been trimmed
		at.After != "" && (len(entries) == 0 || entries[0].ID != string(at.After)):
		return nil, false
	case at.After != "":
		entries = entries[1:]
	}
	for _, m := range entries[:min(len(entries), max)] {
		text, _ := m.Values[eventField].(string)
		ev := decodeEvent(text)
		ev.ID, ev.Scan, ev.Tenant = host.EventID(m.ID), at.Feed.Scan, at.Feed.Tenant
		if ev.Scan == "" {
			id, _ := m.Values[scanField].(string)
			ev.Scan, _ = host.ParseID[host.ScanID](id) // "" when it is not ours
		}
		ev.At, _ = eventTime(ev.ID) // it is Redis's own
		events = append(events, ev)
	}
	return events, true
}

// eventTime reads the time out of a stream's id, milliseconds and a number
// behind a dash. Readers may bring any text as an id.
func eventTime(id host.EventID) (time.Time, error) {
	ms, seq, _ := strings.Cut(string(id), "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	m, err2 := strconv.ParseUint(seq, 10, 64)
	if err := errors.Join(err, err2); err != nil || n < 0 || strconv.FormatInt(n, 10)+"-"+strconv.FormatUint(m, 10) != string(id) {
		return time.Time{}, fmt.Errorf("%.64q is no event id: %w", string(id), host.ErrInvalid)
	}
	return time.UnixMilli(n).UTC(), nil
}

// event is one as it is stored. The names are short because a busy installation
// keeps a hundred thousand of them.
type event struct {
	Kind      host.EventKind `json:"k"`
	Job       host.JobID     `json:"j,omitempty"`
	Plugin    string         `json:"p,omitempty"`
	Attempt   int            `json:"a,omitempty"`
	State     host.State     `json:"s,omitempty"`
	Code      host.ErrorCode `json:"c,omitempty"`
	ScanState host.State     `json:"ss,omitempty"`
	Progress  *host.Progress `json:"pr,omitempty"`
	Findings  int            `json:"f,omitempty"`
}

func encodeEvent(e host.Event) []byte {
	w := event{Kind: e.Kind, Job: e.Job, Plugin: e.Plugin, Attempt: e.Attempt, State: e.State, Code: e.Code, ScanState: e.ScanState, Findings: e.Findings}
	if e.Progress != (host.Progress{}) {
		w.Progress = &e.Progress
	}
	b, err := json.Marshal(w)
	if err != nil || len(b) > maxEvent {
		return []byte(`{"k":"` + host.EventChanged + `"}`)
	}
	return b
}

// decodeEvent reads an event. One that makes no sense here, because a newer
// host wrote it or none did, still says that something changed.
func decodeEvent(text string) host.Event {
	var w event
	changed := host.Event{Kind: host.EventChanged}
	if len(text) > maxEvent || json.Unmarshal([]byte(text), &w) != nil {
		return changed
	}
	for _, s := range []host.State{w.State, w.ScanState} {
		if s != "" && !s.Valid() {
			return changed
		}
	}
	switch w.Kind {
	case host.EventAccepted, host.EventStarted, host.EventProgress, host.EventRetry, host.EventEnded, host.EventChanged:
	default:
		return changed
	}
	e := host.Event{Kind: w.Kind, Job: w.Job, Plugin: w.Plugin, Attempt: w.Attempt, State: w.State, Code: w.Code, ScanState: w.ScanState, Findings: w.Findings}
	if w.Progress != nil {
		e.Progress = *w.Progress
	}
	return e
}

// stream is the key of a feed. It has the doorbells' hash tag, so that on a
// Cluster, too, a batch is one round trip and one transaction.
func (e *Events) stream(feed host.Feed) string {
	if feed.Scan == "" {
		return e.key("tenant:" + string(feed.Tenant))
	}
	return e.key(string(feed.Scan))
}

func (e *Events) key(of string) string { return "{" + e.cfg.Prefix + "}:events:" + of }
