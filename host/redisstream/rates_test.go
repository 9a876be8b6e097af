package redisstream_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestRatesEmbedded(t *testing.T) {
	t.Parallel()
	queuetest.RunRates(t, func(t *testing.T, c *queuetest.Clock) func(*testing.T) host.RateLimiter {
		h := newHarness(t, embedded(t))
		return func(t *testing.T) host.RateLimiter { return h.rates(t, redisstream.RatesConfig{Now: c.Now}) }
	})
}

func TestRatesRedis(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	queuetest.RunRates(t, func(t *testing.T, c *queuetest.Clock) func(*testing.T) host.RateLimiter {
		h := newHarness(t, redisstream.Server{URL: "redis://" + srv.Addr()})
		prefix := strings.ReplaceAll(t.Name(), "/", "-")
		return func(t *testing.T) host.RateLimiter {
			return h.rates(t, redisstream.RatesConfig{Prefix: prefix, Now: c.Now})
		}
	})
}

// TestRatesServerClock: by the server's own time, in a burst of three hosts,
// what passes is the bucket and what came back meanwhile.
func TestRatesServerClock(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, h *harness) {
		rate := host.Rate{Count: 100, Per: time.Minute}
		began := time.Now()
		var mu sync.Mutex
		passed := 0
		var wg sync.WaitGroup
		for range 3 {
			l := h.rates(t, redisstream.RatesConfig{})
			wg.Go(func() {
				for range 334 {
					got, err := l.Take(t.Context(), []host.RateAsk{{Key: "burst", Rate: rate}})
					if err != nil {
						t.Error(err)
						return
					}
					if got[0].OK {
						mu.Lock()
						passed++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if most := 100 + int(time.Since(began)/rate.Interval()) + 1; passed < 100 || passed > most {
			t.Errorf("%d of 1,002 passed, want 100 to %d", passed, most)
		}
	})
}

// TestRatesAreForgotten: a bucket goes when it is full, and a value that no
// limiter wrote counts as none.
func TestRatesAreForgotten(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, h *harness) {
		l := h.rates(t, redisstream.RatesConfig{})
		asks := []host.RateAsk{{Key: "k", Rate: host.Rate{Count: 6, Per: time.Minute}}}
		for i := range 10 {
			if _, err := l.Take(t.Context(), asks); err != nil {
				t.Fatal(err)
			}
			owed := min(time.Duration(i+1)*10*time.Second, time.Minute)
			if ttl := h.admin.PTTL(t.Context(), "{securetag}:rate:k").Val(); ttl <= 0 || ttl > owed+time.Second+time.Millisecond {
				t.Errorf("after %d the key stays for %v, want at most %v", i+1, ttl, owed+time.Second)
			}
		}
		if err := h.admin.Set(t.Context(), "{securetag}:rate:k", "nonsense", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Take(t.Context(), asks); err != nil || !got[0].OK || got[0].Left != 5 {
			t.Errorf("with nonsense in the key: %+v, %v", got, err)
		}
	})
}

func TestRatesDownAndBack(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	l := newHarness(t, redisstream.Server{URL: "redis://" + srv.Addr()}).rates(t, redisstream.RatesConfig{})
	asks := []host.RateAsk{{Key: "k", Rate: host.Rate{Count: 6, Per: time.Minute}}}
	srv.Kill()
	if _, err := l.Take(t.Context(), asks); !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("take while Redis is down = %v, want ErrUnavailable", err)
	}
	srv.Start()
	if got, err := l.Take(t.Context(), asks); err != nil || !got[0].OK {
		t.Errorf("take after Redis came back = %+v, %v", got, err)
	}
}

func TestRatesMistakes(t *testing.T) {
	t.Parallel()
	if _, err := redisstream.NewRates(nil, redisstream.RatesConfig{Prefix: "}"}); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("NewRates = %v, want ErrInvalid", err)
	}
}

func (h *harness) rates(t *testing.T, cfg redisstream.RatesConfig) host.RateLimiter {
	t.Helper()
	client, _ := h.clients(t)
	l, err := redisstream.NewRates(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
