package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/queuetest"
	"github.com/securetaghq/securetag/host/ratelimit"
)

// server stands for the one that hosts share. Asking it takes a while.
type server struct {
	*ratelimit.Local
	mu     sync.Mutex
	away   bool
	hangs  bool
	panics bool
	asked  []int // how many asks came in each question
}

const roundTrip = 10 * time.Millisecond

func (s *server) Take(ctx context.Context, asks []host.RateAsk) ([]host.RateAnswer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, len(asks))
	away, hangs, panics := s.away, s.hangs, s.panics
	s.mu.Unlock()
	switch {
	case panics:
		panic("out of cheese")
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case away:
		return nil, fmt.Errorf("count rates: %w", host.ErrUnavailable)
	}
	time.Sleep(roundTrip)
	return s.Local.Take(ctx, asks)
}

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) questions() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

// meter notes what it hears of outages.
type meter struct {
	host.NoMeter
	alone []bool
}

func (m *meter) LimitsAlone(alone bool) { m.alone = append(m.alone, alone) }

type fixture struct {
	*ratelimit.Limiter
	server *server
	meter  *meter
	log    *bytes.Buffer
}

func newFixture(t *testing.T, cfg ratelimit.Config) *fixture {
	t.Helper()
	f := &fixture{server: &server{Local: local(t, ratelimit.LocalConfig{})}, meter: &meter{}, log: &bytes.Buffer{}}
	var err error
	if f.Limiter, err = ratelimit.New(f.server, cfg, f.meter, hclog.New(&hclog.LoggerOptions{Output: f.log})); err != nil {
		t.Fatal(err)
	}
	return f
}

// asksAtOnce asks n times at once, each by itself, and counts what passed.
func (f *fixture) asksAtOnce(t *testing.T, n int, a host.RateAsk) (passed int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			got, err := f.Take(t.Context(), []host.RateAsk{a})
			if err != nil || len(got) != 1 {
				t.Errorf("take = %v, %v", got, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if got[0].OK {
				passed++
			}
		})
	}
	wg.Wait()
	return passed
}

func minutely(n int) host.RateAsk {
	return host.RateAsk{Key: fmt.Sprint(n), Rate: host.Rate{Count: n, Per: time.Minute}}
}

// TestLimiterShares: requests that come while the server is being asked share
// the next question, of a bounded size, and each gets its own answer.
func TestLimiterShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, ratelimit.Config{})
		began := time.Now()
		if got := f.asksAtOnce(t, 1000, minutely(100)); got != 100 {
			t.Errorf("%d passed, want 100", got)
		}
		if took, want := time.Since(began), 5*roundTrip; took != want {
			t.Errorf("it took %v, want %v", took, want)
		}
		if diff := cmp.Diff([]int{1, 256, 256, 256, 231}, f.server.questions()); diff != "" {
			t.Errorf("asks by question (-want +got):\n%s", diff)
		}
	})
}

// TestLimiterSuite: what is put together is still a limiter.
func TestLimiterSuite(t *testing.T) {
	t.Parallel()
	queuetest.RunRates(t, func(t *testing.T, c *queuetest.Clock) func(*testing.T) host.RateLimiter {
		shared := local(t, ratelimit.LocalConfig{Now: c.Now})
		return func(t *testing.T) host.RateLimiter {
			l, err := ratelimit.New(shared, ratelimit.Config{}, host.NoMeter{}, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	})
}

// TestLimiterHangsUp: a request that ends while it asks for others takes the
// answer from nobody.
func TestLimiterHangsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, ratelimit.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = f.Take(ctx, []host.RateAsk{minutely(100)}) }()
		synctest.Wait()
		cancel()
		if got := f.asksAtOnce(t, 150, minutely(100)); got != 99 {
			t.Errorf("%d passed behind one that hung up, want 99", got)
		}
		if len(f.meter.alone) != 0 {
			t.Errorf("the meter heard of an outage: %v", f.meter.alone)
		}
	})
}

// TestLimiterAlone: while the server is away the host counts its part by
// itself; it says so once, asks again once in each pause, and goes back.
func TestLimiterAlone(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*server){
		"away":  func(s *server) { s.away = true },
		"hangs": func(s *server) { s.hangs = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testAlone(t, down) })
		})
	}
}

func testAlone(t *testing.T, down func(*server)) {
	f := newFixture(t, ratelimit.Config{Hosts: 3})
	start := time.Now()
	if got := f.asksAtOnce(t, 50, minutely(100)); got != 50 {
		t.Errorf("%d of 50 passed", got)
	}
	f.server.questions()
	f.server.set(down)
	began := time.Now()
	if got := f.asksAtOnce(t, 500, minutely(100)); got != 33 {
		t.Errorf("%d passed while the server is away, want a third of 100", got)
	}
	if took := time.Since(began); took > 3*250*time.Millisecond {
		t.Errorf("they waited %v for a server that is away", took)
	}
	f.server.questions()
	for range 50 { // five seconds
		f.asksAtOnce(t, 5, minutely(100))
		time.Sleep(100 * time.Millisecond)
	}
	if n := len(f.server.questions()); n < 3 || n > 6 {
		t.Errorf("a server that is away was asked %d times in five seconds", n)
	}
	f.server.set(func(s *server) { s.away, s.hangs = false, false })
	time.Sleep(time.Second)
	if got := f.asksAtOnce(t, 1, minutely(100)); got != 1 {
		t.Errorf("%d of 1 passed when the server was back", got)
	}
	want := 49 + int(time.Since(start)/(600*time.Millisecond)) // what was left, and what came back
	if got := f.asksAtOnce(t, 500, minutely(100)); got < want-1 || got > want+1 {
		t.Errorf("%d passed when the server was back, want %d: its bucket again", got, want)
	}
	if diff := cmp.Diff([]bool{true, false}, f.meter.alone); diff != "" {
		t.Errorf("the meter heard (-want +got):\n%s", diff)
	}
	log := f.log.String()
	if strings.Count(log, "cannot count rates") != 1 || strings.Count(log, "can count rates") != 1 || !strings.Contains(log, "part=1/3") {
		t.Errorf("log:\n%s", log)
	}
}

// TestLimiterPanic: it fails the request that asked, and the others count alone.
func TestLimiterPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, ratelimit.Config{})
		f.server.set(func(s *server) { s.panics = true })
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = f.Take(t.Context(), []host.RateAsk{minutely(1)})
		}()
		f.server.set(func(s *server) { s.panics = false })
		if got := f.asksAtOnce(t, 3, minutely(1)); got != 1 {
			t.Errorf("%d passed after a panic, want 1", got)
		}
	})
}

// TestLimiterMistake: a wrong ask fails alone.
func TestLimiterMistake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, ratelimit.Config{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				a := minutely(100)
				if i == 5 {
					a.Rate.Count = -1
				}
				if _, err := f.Take(t.Context(), []host.RateAsk{a}); (i == 5) != errors.Is(err, host.ErrInvalid) {
					t.Errorf("ask %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if len(f.meter.alone) != 0 {
			t.Errorf("the meter heard of an outage: %v", f.meter.alone)
		}
	})
}
