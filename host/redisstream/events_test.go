package redisstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestEventsEmbedded(t *testing.T) {
	t.Parallel()
	queuetest.RunEvents(t, func(t *testing.T) queuetest.EventsHarness { return newHarness(t, embedded(t)) })
}

func TestEventsRedis(t *testing.T) {
	t.Parallel()
	queuetest.RunEvents(t, func(t *testing.T) queuetest.EventsHarness {
		return newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()})
	})
}

func embedded(t *testing.T) redisstream.Server {
	t.Helper()
	e, err := redisstream.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e.Server()
}

// TestEventsLive: every stream has an end, a near one once a job or its scan
// has ended.
func TestEventsLive(t *testing.T) {
	t.Parallel()
	h := newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()})
	e := h.Events(t)
	event := func(kind host.EventKind, scanState host.State) host.Event {
		return host.Event{Kind: kind, ScanState: scanState}
	}
	for name, tt := range map[string]struct {
		events []host.Event
		ttl    time.Duration
	}{
		"started":                {[]host.Event{event(host.EventStarted, "")}, time.Hour},
		"retry":                  {[]host.Event{event(host.EventStarted, ""), event(host.EventRetry, "")}, time.Hour},
		"ended":                  {[]host.Event{event(host.EventStarted, ""), event(host.EventEnded, "")}, 15 * time.Second},
		"another job goes on":    {[]host.Event{event(host.EventEnded, ""), event(host.EventProgress, "")}, time.Hour},
		"canceled as a whole":    {[]host.Event{event(host.EventChanged, host.StateCanceled)}, 15 * time.Second},
		"canceled, a job runs":   {[]host.Event{event(host.EventChanged, host.StateRunning)}, time.Hour},
		"something else changed": {[]host.Event{event(host.EventChanged, "")}, time.Hour},
	} {
		scan := host.NewScanID()
		for i := range tt.events {
			tt.events[i].Scan = scan
		}
		if err := e.Publish(t.Context(), tt.events); err != nil {
			t.Fatal(err)
		}
		ttl, err := h.admin.PTTL(t.Context(), "{securetag}:events:"+string(scan)).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl > tt.ttl || ttl < tt.ttl/2 { // it runs down meanwhile
			t.Errorf("%s: kept for %v, want %v", name, ttl, tt.ttl)
		}
		// Somebody looks at it while another job goes on.
		if err := e.Keep(t.Context(), []host.ScanID{scan, host.NewScanID()}); err != nil {
			t.Fatal(err)
		}
		if ttl := h.admin.PTTL(t.Context(), "{securetag}:events:"+string(scan)).Val(); ttl < time.Hour/2 {
			t.Errorf("%s: looked at, it is kept for %v, want an hour", name, ttl)
		}
	}
	if n := h.admin.DBSize(t.Context()).Val(); n != 7 {
		t.Errorf("%d keys, want one a scan", n)
	}
}

// TestEmbeddedForgets: the server in the process removes events too.
func TestEmbeddedForgets(t *testing.T) {
	t.Parallel()
	srv, err := redisstream.StartEmbeddedTick(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	h := newHarness(t, srv.Server())
	client, _ := h.clients(t)
	e, err := redisstream.NewEvents(client, client, redisstream.EventsConfig{Ended: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ended, runs := host.NewScanID(), host.NewScanID()
	if err := e.Publish(t.Context(), []host.Event{{Scan: ended, Kind: host.EventEnded}, {Scan: runs, Kind: host.EventStarted}}); err != nil {
		t.Fatal(err)
	}
	for n := int64(2); n != 1; {
		if n, err = h.admin.DBSize(t.Context()).Result(); err != nil || n == 0 {
			t.Fatalf("%d keys, %v, want those of the scan that runs to stay", n, err)
		}
	}
	if got, err := e.Read(t.Context(), host.Feed{Scan: runs}, "", 10, 0); err != nil || len(got) != 1 {
		t.Errorf("events of the scan that runs: %v, %v", got, err)
	}
}

// TestEventsForeign: an entry that makes no sense here says that something
// changed, and does not hold up what comes behind it.
func TestEventsForeign(t *testing.T) {
	t.Parallel()
	h := newHarness(t, embedded(t))
	scan := host.NewScanID()
	stream := "{securetag}:events:" + string(scan)
	values := []any{
		"e", "", "e", "{", "e", `{"k":"exploded"}`, "e", `{"k":"ended","s":"gone"}`, "e", `{"k":"ended","a":"one"}`, "other", "x",
	}
	for i := 0; i < len(values); i += 2 {
		if err := h.admin.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: values[i : i+2]}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Events(t).Read(t.Context(), host.Feed{Scan: scan}, "", 100, 0)
	if err != nil || len(got) != len(values)/2 {
		t.Fatalf("read %d events, %v, want %d", len(got), err, len(values)/2)
	}
	for _, e := range got {
		if e.Kind != host.EventChanged || e.State != "" || e.ID == "" {
			t.Errorf("event = %+v, want one that only says that something changed", e)
		}
	}
}

func TestEventsDown(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	e := newHarness(t, redisstream.Server{URL: "redis://" + srv.Addr()}).Events(t)
	srv.Kill()
	scan := host.NewScanID()
	_, errEnd := e.End(t.Context(), host.Feed{Scan: scan})
	_, errRead := e.Read(t.Context(), host.Feed{Scan: scan}, "", 1, time.Hour)
	_, errFollow := e.Follow(t.Context(), []host.Place{{Feed: host.Feed{Scan: scan}}}, 1, time.Hour)
	for what, err := range map[string]error{
		"follow": errFollow, "wake": e.Wake(t.Context()), "keep": e.Keep(t.Context(), []host.ScanID{scan}), "publish": e.Publish(t.Context(), []host.Event{{Scan: scan, Kind: host.EventChanged}}), "end": errEnd, "read": errRead,
	} {
		if !errors.Is(err, host.ErrUnavailable) {
			t.Errorf("%s while Redis is down = %v, want ErrUnavailable", what, err)
		}
	}
}

// TestEventsReadStops: a reader that waits ends with its context, within Block.
func TestEventsReadStops(t *testing.T) {
	t.Parallel()
	e := newHarness(t, embedded(t)).Events(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := e.Read(ctx, host.Feed{Scan: host.NewScanID()}, "", 1, time.Hour)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want context.Canceled", err)
	}
}

func TestEventsMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]redisstream.EventsConfig{
		"braces": {Prefix: "{"}, "negative length": {MaxLen: -1}, "negative time": {Ended: -1}, "below a millisecond": {Block: time.Microsecond},
	} {
		if _, err := redisstream.NewEvents(nil, nil, cfg); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: NewEvents = %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `{"k":"started"}`, `{"k":"ended","j":"x","p":"p","a":1,"s":"succeeded","f":3,"pr":{"phase":"x"}}`,
		`{"k":"retry","s":"queued","c":"plugin_crashed"}`, `{"k":"changed","ss":"canceled"}`, `{"k":"progress","a":1e99}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := redisstream.DecodeEvent(s)
		switch e.Kind {
		case host.EventAccepted, host.EventStarted, host.EventProgress, host.EventRetry, host.EventEnded, host.EventChanged:
		default:
			t.Errorf("kind %q", e.Kind)
		}
		for _, state := range []host.State{e.State, e.ScanState} {
			if state != "" && !state.Valid() {
				t.Errorf("state %q", state)
			}
		}
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("it cannot be shown: %v", err)
		}
	})
}

func (h *harness) Events(t *testing.T) host.Events {
	t.Helper()
	client, _ := h.clients(t)
	reader, err := redisstream.ConnectReader(h.server, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	e, err := redisstream.NewEvents(client, reader, redisstream.EventsConfig{MaxLen: queuetest.Kept, Block: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
