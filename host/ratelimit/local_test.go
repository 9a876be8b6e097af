package ratelimit_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLocal(t *testing.T) {
	t.Parallel()
	queuetest.RunRates(t, func(t *testing.T, c *queuetest.Clock) func(*testing.T) host.RateLimiter {
		l := local(t, ratelimit.LocalConfig{Now: c.Now})
		return func(*testing.T) host.RateLimiter { return l }
	})
}

func local(t *testing.T, cfg ratelimit.LocalConfig) *ratelimit.Local {
	t.Helper()
	l, err := ratelimit.NewLocal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLocalPart: hosts that each count their part let through together what the
// rate says, and each one lets something through.
func TestLocalPart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate   host.Rate
		hosts  int
		burst  int // of one host
		hourly int // of one host, asked for all the time
	}{
		{host.Rate{Count: 100, Per: time.Minute}, 1, 100, 100 + 6000},
		{host.Rate{Count: 100, Per: time.Minute}, 3, 33, 33 + 2000},
		{host.Rate{Count: 5, Per: time.Minute}, 3, 1, 1 + 100},
		{host.Rate{Count: 1, Per: time.Minute}, 3, 1, 1 + 20},
	} {
		now := time.Unix(1_800_000_000, 0)
		l := local(t, ratelimit.LocalConfig{Hosts: tt.hosts, Now: func() time.Time { return now }})
		count := func(n int) (passed int) {
			for range n {
				got, err := l.Take(t.Context(), []host.RateAsk{{Key: "k", Rate: tt.rate}})
				if err != nil {
					t.Fatal(err)
				}
				if got[0].OK {
					passed++
				}
			}
			return passed
		}
		burst := count(2 * tt.rate.Count)
		hourly := burst
		for range 36_000 {
			now = now.Add(100 * time.Millisecond)
			hourly += count(1)
		}
		if burst != tt.burst || hourly < tt.hourly-1 || hourly > tt.hourly+1 {
			t.Errorf("%v by %d hosts: %d at once and %d in an hour, want %d and %d", tt.rate, tt.hosts, burst, hourly, tt.burst, tt.hourly)
		}
	}
}

// TestLocalIsBounded: what was asked for the longest ago is forgotten.
func TestLocalIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := local(t, ratelimit.LocalConfig{Keys: 100, Now: func() time.Time { return now }})
	take := func(key string) bool {
		got, err := l.Take(t.Context(), []host.RateAsk{{Key: key, Rate: host.Rate{Count: 1, Per: time.Hour}}})
		if err != nil {
			t.Fatal(err)
		}
		return got[0].OK
	}
	for i := range 1000 {
		take(fmt.Sprint(i))
		if i > 0 && take("0") { // who goes on asking is not forgotten
			t.Fatalf("after %d keys the first one is forgotten", i)
		}
	}
	if take("999") || !take("500") {
		t.Error("want the newest remembered and an old one forgotten")
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ratelimit.LocalConfig{"hosts": {Hosts: -1}, "keys": {Keys: -1}} {
		if _, err := ratelimit.NewLocal(cfg); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: NewLocal = %v, want ErrInvalid", name, err)
		}
	}
	for name, cfg := range map[string]ratelimit.Config{"hosts": {Hosts: -1}, "timeout": {Timeout: -1}, "pause": {Pause: -1}} {
		if _, err := ratelimit.New(nil, cfg, host.NoMeter{}, nil); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: New = %v, want ErrInvalid", name, err)
		}
	}
}
