package redisstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// EventsConfig says how long events are kept. Zero values are replaced by the
// defaults given.
type EventsConfig struct {
	// Prefix starts every key, as in Config.
	Prefix string
	// MaxLen is how many events of one scan are kept; the oldest go first.
	// All hosts need the same. Default 1000.
	MaxLen int
	// Running is how long a scan's events are kept after one of them. Default 1h.
	Running time.Duration
	// Ended is the same after the end of a job, which may be the scan's last:
	// whoever looked on has the time to connect again and read it. The next
	// event of another job sets Running again; should that come later than
	// Ended, readers begin again from the store. At thousands of scans a second
	// this is what bounds the memory that events take: Redis gives every stream
	// 4 KiB to begin with. Default 15s.
	Ended time.Duration
	// Block is how long one blocking read takes at most. go-redis cannot
	// interrupt it, so Read notices this late that its context ended. Default 1s.
	Block time.Duration
}

// Events is the [host.Events] on Redis Streams, one for each scan.
type Events struct {
	cfg    EventsConfig
	client redis.UniversalClient
	reader redis.UniversalClient
}

var _ host.Events = (*Events)(nil)

const (
	eventField = "e"
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
	return &Events{cfg: cfg, client: client, reader: reader}, nil
}

// Publish adds and sets the streams' time to live in one transaction: a
// connection that breaks in between must not leave a stream for ever.
func (e *Events) Publish(ctx context.Context, events []host.Event) error {
	if len(events) == 0 {
		return nil
	}
	if len(events) > host.MaxEvents {
		return fmt.Errorf("publish %d events: at most %d at once: %w", len(events), host.MaxEvents, host.ErrInvalid)
	}
	keep := make(map[host.ScanID]time.Duration, len(events))
	_, err := e.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, ev := range events {
			p.XAdd(ctx, &redis.XAddArgs{Stream: e.stream(ev.Scan), MaxLen: int64(e.cfg.MaxLen), Values: []any{eventField, encodeEvent(ev)}})
			keep[ev.Scan] = e.cfg.Running
			if ev.Kind == host.EventEnded || ev.ScanState != "" && ev.ScanState.Final() {
				keep[ev.Scan] = e.cfg.Ended
			}
		}
		for scan, ttl := range keep {
			p.PExpire(ctx, e.stream(scan), ttl)
		}
		return nil
	})
	return translate("publish events", err)
}

func (e *Events) End(ctx context.Context, scan host.ScanID) (host.EventID, error) {
	newest, err := e.client.XRevRangeN(ctx, e.stream(scan), "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return "", translate("find the newest event", err)
	}
	return host.EventID(newest[0].ID), nil
}

// Read looks and waits in turn. What a blocking read brings only says that
// there is something: the stream may have been wiped and begun again under it,
// and looking notices that.
func (e *Events) Read(ctx context.Context, scan host.ScanID, after host.EventID, max int, wait time.Duration) ([]host.Event, error) {
	if _, err := eventTime(after); err != nil && after != "" {
		return nil, fmt.Errorf("read events after %.64q: %w", string(after), err)
	}
	if max = min(max, host.MaxEvents); max <= 0 {
		return nil, nil
	}
	for until := time.Now().Add(wait); ; {
		events, err := e.look(ctx, scan, after, max)
		left := time.Until(until)
		if err != nil || len(events) > 0 || left < time.Millisecond {
			return events, err
		}
		from := string(after)
		if after == "" {
			from = "0"
		}
		err = e.reader.XRead(ctx, &redis.XReadArgs{Streams: []string{e.stream(scan), from}, Count: 1, Block: min(left, e.cfg.Block)}).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, translate("wait for events", err)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for events: %w", ctx.Err())
		}
	}
}

// look reads from the last seen event on, itself included: while it is there
// nothing behind it is missing.
func (e *Events) look(ctx context.Context, scan host.ScanID, after host.EventID, max int) ([]host.Event, error) {
	start, count := string(after), max+1
	if after == "" {
		start, count = "-", e.cfg.MaxLen
	}
	entries, err := e.client.XRangeN(ctx, e.stream(scan), start, "+", int64(count)).Result()
	if err != nil {
		return nil, translate("read events", err)
	}
	switch {
	case after == "" && len(entries) >= e.cfg.MaxLen, // the first may have been trimmed
		after != "" && (len(entries) == 0 || entries[0].ID != string(after)):
		return nil, fmt.Errorf("read events of scan %s after %q: %w", scan, after, host.ErrEventsGone)
	case after != "":
		entries = entries[1:]
	}
	var events []host.Event
	for _, m := range entries[:min(len(entries), max)] {
		text, _ := m.Values[eventField].(string)
		ev := decodeEvent(text)
		ev.ID, ev.Scan = host.EventID(m.ID), scan
		ev.At, _ = eventTime(ev.ID) // it is Redis's own
		events = append(events, ev)
	}
	return events, nil
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
	case host.EventStarted, host.EventProgress, host.EventRetry, host.EventEnded, host.EventChanged:
	default:
		return changed
	}
	e := host.Event{Kind: w.Kind, Job: w.Job, Plugin: w.Plugin, Attempt: w.Attempt, State: w.State, Code: w.Code, ScanState: w.ScanState, Findings: w.Findings}
	if w.Progress != nil {
		e.Progress = *w.Progress
	}
	return e
}

// stream is the key of a scan's events. It has the doorbells' hash tag, so that
// on a Cluster, too, a batch is one round trip and one transaction.
func (e *Events) stream(scan host.ScanID) string {
	return "{" + e.cfg.Prefix + "}:events:" + string(scan)
}
