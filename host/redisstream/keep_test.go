package redisstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

// TestStreamsEnd: a stream that nobody rings or listens to any more has an end,
// and one that somebody does has it far away.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(t *testing.T) redisstream.Server{
		"embedded": func(t *testing.T) redisstream.Server {
			e, err := redisstream.StartEmbedded()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { e.Close() })
			return e.Server()
		},
		"redis": func(t *testing.T) redisstream.Server {
			return redisstream.Server{URL: "redis://" + testserver.StartRedis(t).Addr()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, server(t))
			d := h.Listener(t, "a")
			bells := []host.Doorbell{{Plugin: "rung", Job: host.NewJobID()}, {Plugin: "rung", Job: host.NewJobID()}, {Plugin: "both", Job: host.NewJobID()}}
			if err := d.Ring(t.Context(), bells); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first makes the stream that is not there
				if _, err := d.Listen(t.Context(), []string{"heard", "both"}, 10); err != nil && !errors.Is(err, host.ErrQueueLost) {
					t.Fatal(err)
				}
			}
			for _, plugin := range []string{"rung", "heard", "both"} {
				ttl, err := h.admin.TTL(t.Context(), "{securetag}:doorbell:"+plugin).Result()
				if err != nil || ttl < 24*time.Hour || ttl > 30*24*time.Hour {
					t.Errorf("stream of %q ends in %v, %v; want some days", plugin, ttl, err)
				}
			}
		})
	}
}
