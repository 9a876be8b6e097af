package redisstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestMain(m *testing.M) {
	redisstream.SilenceDriver()
	goleak.VerifyTestMain(m)
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness { return newHarness(t, embedded(t)) })
}

func TestRedis(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		// A server each: the suite wipes it.
		return newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()})
	})
}

func TestDownAndBack(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	d := newHarness(t, redisstream.Server{URL: "redis://" + srv.Addr()}).Listener(t, "a")
	bell := []host.Doorbell{{Plugin: "p", Job: host.NewJobID()}}

	srv.Kill()
	for what, err := range map[string]error{
		"ping": d.Ping(t.Context()),
		"ring": d.Ring(t.Context(), bell),
	} {
		if !errors.Is(err, host.ErrUnavailable) {
			t.Errorf("%s while Redis is down = %v, want ErrUnavailable", what, err)
		}
	}
	if _, err := d.Listen(t.Context(), []string{"p"}, 1); !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("listen while Redis is down = %v, want ErrUnavailable", err)
	}

	srv.Start()
	if err := d.Ring(t.Context(), bell); err != nil {
		t.Fatalf("ring after Redis came back: %v", err)
	}
	for {
		heard, err := d.Listen(t.Context(), []string{"p"}, 1)
		if err != nil && !errors.Is(err, host.ErrQueueLost) {
			t.Fatalf("listen after Redis came back: %v", err)
		}
		if len(heard) == 1 {
			return
		}
	}
}

func TestServerMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		server redisstream.Server
	}{
		{"nothing", redisstream.Server{}},
		{"both", redisstream.Server{URL: "redis://localhost", Addresses: []string{"localhost:1"}}},
		{"not a URL", redisstream.Server{URL: "http://:hunter2@localhost"}},
	} {
		_, _, err := redisstream.Connect(tt.server)
		if !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: Connect = %v, want ErrInvalid", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", tt.name, err)
		}
	}
}

func TestNewMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]redisstream.Config{
		"no consumer": {},
		"braces":      {Consumer: "a", Prefix: "x{y}"},
		"negative":    {Consumer: "a", Block: -1},
	} {
		if _, err := redisstream.New(nil, nil, cfg); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: New = %v, want ErrInvalid", name, err)
		}
	}
}

type harness struct {
	server redisstream.Server
	admin  redis.UniversalClient
}

func newHarness(t *testing.T, s redisstream.Server) *harness {
	t.Helper()
	client, reader, err := redisstream.Connect(s)
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	t.Cleanup(func() { client.Close() })
	return &harness{server: s, admin: client}
}

func (h *harness) Listener(t *testing.T, consumer string) host.Doorbells {
	t.Helper()
	return h.listener(t, redisstream.Config{Consumer: consumer})
}

func (h *harness) listener(t *testing.T, cfg redisstream.Config) host.Doorbells {
	t.Helper()
	cfg.Idle = time.Minute
	if cfg.Block == 0 {
		cfg.Block = 50 * time.Millisecond
	}
	client, reader := h.clients(t)
	d, err := redisstream.New(client, reader, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (h *harness) clients(t *testing.T) (client, reader redis.UniversalClient) {
	t.Helper()
	client, reader, err := redisstream.Connect(h.server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); reader.Close() })
	return client, reader
}

func (h *harness) Wipe(t *testing.T) {
	if err := h.admin.FlushAll(t.Context()).Err(); err != nil {
		t.Errorf("wipe: %v", err)
	}
}

// Idle sets the idle time of every pending entry to an hour, as if it had been.
func (h *harness) Idle(t *testing.T) {
	ctx := t.Context()
	streams, err := h.admin.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		pending, err := h.admin.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s, Group: "hosts", Start: "-", End: "+", Count: 1000}).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pending {
			h.age(ctx, t, s, p)
		}
	}
}

func (h *harness) age(ctx context.Context, t *testing.T, stream string, p redis.XPendingExt) {
	t.Helper()
	err := h.admin.Do(ctx, "XCLAIM", stream, "hosts", p.Consumer, 0, p.ID, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err()
	if err != nil {
		t.Fatalf("age %s: %v", p.ID, err)
	}
}
