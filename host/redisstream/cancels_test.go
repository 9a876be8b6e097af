package redisstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestCancelsEmbedded(t *testing.T) {
	t.Parallel()
	queuetest.RunCancels(t, func(t *testing.T) func(*testing.T) host.Cancels { return newHarness(t, embedded(t)).Cancels })
}

func TestCancelsRedis(t *testing.T) {
	t.Parallel()
	queuetest.RunCancels(t, func(t *testing.T) func(*testing.T) host.Cancels {
		return newHarness(t, redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()}).Cancels
	})
}

// TestCancelsDownAndBack: a subscription ends when its server does, and not
// because the server has nothing to say.
func TestCancelsDownAndBack(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	c := newHarness(t, redisstream.Server{URL: "redis://" + srv.Addr()}).cancels(t, redisstream.CancelsConfig{Check: time.Second})
	heard := make(chan host.ScanID, 10)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	listen := func() {
		ended <- c.Subscribe(ctx, func(id host.ScanID) { heard <- id })
	}
	go listen()
	<-heard
	for !strings.Contains(info(t, srv.Addr()), "cmdstat_ping:") { // in a silence it asks, and is answered
	}
	want := host.NewScanID()
	if err := c.Publish(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != want {
		t.Errorf("heard %q after a silence, want %q", got, want)
	}
	srv.Kill()
	if err := <-ended; !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("subscribe when Redis died = %v, want ErrUnavailable", err)
	}
	if err := c.Publish(t.Context(), want); !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("publish while Redis is down = %v, want ErrUnavailable", err)
	}
	if err := c.Subscribe(ctx, func(host.ScanID) {}); !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("subscribe while Redis is down = %v, want ErrUnavailable", err)
	}
	srv.Start()
	go listen()
	<-heard
	srv.Pause() // it hangs, and its connections stay
	if err := <-ended; !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("subscribe when Redis hung = %v, want ErrUnavailable", err)
	}
	srv.Resume()
	cancel()
}

func info(t *testing.T, addr string) string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	text, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCancelsForeign: what names no scan is not passed on.
func TestCancelsForeign(t *testing.T) {
	t.Parallel()
	h := newHarness(t, embedded(t))
	c := h.Cancels(t)
	heard := make(chan host.ScanID, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Subscribe(ctx, func(id host.ScanID) { heard <- id }) }()
	<-heard
	want := host.NewScanID()
	for _, payload := range []string{"", "*", "nonsense", strings.ToUpper(string(want)), string(want) + " ", strings.Repeat("x", 1<<20), string(want)} {
		if err := h.admin.Publish(t.Context(), "{securetag}:cancels", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-heard; got != want {
		t.Errorf("heard %.64q, want only %q", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCancelsMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]redisstream.CancelsConfig{"braces": {Prefix: "{"}, "negative": {Check: -1}} {
		if _, err := redisstream.NewCancels(nil, cfg); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: NewCancels = %v, want ErrInvalid", name, err)
		}
	}
}

func (h *harness) Cancels(t *testing.T) host.Cancels {
	t.Helper()
	return h.cancels(t, redisstream.CancelsConfig{})
}

func (h *harness) cancels(t *testing.T, cfg redisstream.CancelsConfig) host.Cancels {
	t.Helper()
	client, _ := h.clients(t)
	c, err := redisstream.NewCancels(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
