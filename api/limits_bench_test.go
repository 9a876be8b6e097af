package api_test

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/ratelimit"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testserver"
)

// BenchmarkLimit is a request that does next to nothing, with and without its
// rate. cpu-µs/op is of this process, which is everything but a real Redis.
func BenchmarkLimit(b *testing.B) {
	for name, server := range map[string]func(*testing.B) redisstream.Server{
		"none": nil,
		"embedded": func(b *testing.B) redisstream.Server {
			e, err := redisstream.StartEmbedded()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { e.Close() })
			return e.Server()
		},
		"redis": func(b *testing.B) redisstream.Server {
			return redisstream.Server{URL: "redis://" + testserver.StartRedis(b).Addr()}
		},
	} {
		b.Run(name, func(b *testing.B) {
			e := newEnvPlan(b, api.Config{}, maxArchive, host.Plan{}, func(d *api.Deps) {
				d.Log = hclog.NewNullLogger()
				if server != nil {
					d.Limiter, d.Plans = onRedis(b, server(b)), host.FixedPlan{RequestRate: host.Rate{Count: 1_000_000, Per: time.Second}}
				}
			})
			for _, clients := range []int{1, 32} {
				b.Run(map[int]string{1: "one client", 32: "32 clients"}[clients], func(b *testing.B) { benchmarkRequests(b, e, clients) })
			}
		})
	}
}

func onRedis(b *testing.B, s redisstream.Server) host.RateLimiter {
	b.Helper()
	c, reader, err := redisstream.Connect(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); reader.Close() })
	shared, err := redisstream.NewRates(c, redisstream.RatesConfig{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := ratelimit.New(shared, ratelimit.Config{}, host.NoMeter{}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func benchmarkRequests(b *testing.B, e *env, clients int) {
	path := "/scans/not-an-id" // answered without the store
	b.SetParallelism(clients)
	before := cpu(b)
	ask := func() {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-API-Key", e.keys["alice"])
		w := httptest.NewRecorder()
		if e.api.ServeHTTP(w, r); w.Code != http.StatusNotFound {
			b.Errorf("status %d", w.Code)
		}
	}
	if clients == 1 {
		for b.Loop() {
			ask()
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ask()
			}
		})
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
