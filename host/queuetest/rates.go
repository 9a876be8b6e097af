package queuetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// Clock is the time of a suite: it stands still unless it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is what a limiter is given as its clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *Clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rates is what a test of rates has: a clock, and a limiter as one more host
// has it.
type rates struct {
	*Clock
	host func(*testing.T) host.RateLimiter
}

// RunRates runs the suite of host.RateLimiter. fresh makes a new server and
// gives a function that gives its rates, as one more host sees them, by the
// suite's clock.
func RunRates(t *testing.T, fresh func(*testing.T, *Clock) func(*testing.T) host.RateLimiter) {
	tests := []struct {
		name string
		test func(*testing.T, rates)
	}{
		{"three hosts, a burst", testRatesBurst},
		{"the edge of the window", testRatesEdge},
		{"answers are true", testRatesTrue},
		{"as the model", testRatesModel},
		{"keys apart", testRatesKeys},
		{"a rate that changes", testRatesChange},
		{"a clock that is set back", testRatesBack},
		{"mistakes", testRatesMistakes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// A second before a minute begins, whatever that means to a limiter.
			c := &Clock{now: time.Date(2026, 11, 26, 1, 59, 59, 0, time.UTC)}
			tt.test(t, rates{c, fresh(t, c)})
		})
	}
}

func perMinute(n int) host.Rate { return host.Rate{Count: n, Per: time.Minute} }

// take asks for n of one key at once.
func take(t *testing.T, l host.RateLimiter, key string, r host.Rate, n int) []host.RateAnswer {
	t.Helper()
	asks := make([]host.RateAsk, n)
	for i := range asks {
		asks[i] = host.RateAsk{Key: key, Rate: r}
	}
	got, err := l.Take(t.Context(), asks)
	if err != nil {
		t.Fatalf("take %d of %q: %v", n, key, err)
	}
	if len(got) != n {
		t.Fatalf("take %d of %q: %d answers", n, key, len(got))
	}
	return got
}

func passed(answers []host.RateAnswer) (n int) {
	for _, a := range answers {
		if a.OK {
			n++
		}
	}
	return n
}

// testRatesBurst: 1,000 at once on three hosts, alone and several in one
// question; 100 pass, and each is told how many are left behind it.
func testRatesBurst(t *testing.T, r rates) {
	var mu sync.Mutex
	var all []host.RateAnswer
	var wg sync.WaitGroup
	for range 3 {
		l := r.host(t)
		for _, n := range []int{1, 1, 1, 30, 100, 200} {
			wg.Go(func() {
				got, err := l.Take(t.Context(), asksOf("burst", perMinute(100), n))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, got...)
			})
		}
	}
	wg.Wait()
	left := map[int]int{}
	for _, a := range all {
		if a.Next != 600*time.Millisecond {
			t.Errorf("next in %v, want 600ms", a.Next)
		}
		if a.OK {
			left[a.Left]++
		} else if a.Left != 0 {
			t.Errorf("refused with %d left", a.Left)
		}
	}
	for i := range 100 {
		if left[i] != 1 {
			t.Errorf("%d were told that %d are left, want one", left[i], i)
		}
	}
	if n := passed(all); n != 100 || len(all) != 999 {
		t.Errorf("%d of %d passed, want 100 of 999", n, len(all))
	}
}

func asksOf(key string, r host.Rate, n int) []host.RateAsk {
	asks := make([]host.RateAsk, n)
	for i := range asks {
		asks[i] = host.RateAsk{Key: key, Rate: r}
	}
	return asks
}

// testRatesEdge: a client that asks all the time gets the bucket and then what
// comes back, in whichever stretch of time one looks; also where a minute ends.
func testRatesEdge(t *testing.T, r rates) {
	hosts := []host.RateLimiter{r.host(t), r.host(t), r.host(t)}
	const step = 100 * time.Millisecond
	var at []time.Duration // of each that passed
	for i := range 1800 {  // three minutes
		for range passed(take(t, hosts[i%3], "edge", perMinute(100), 3)) {
			at = append(at, time.Duration(i)*step)
		}
		r.add(step)
	}
	if want := 100 + 299; len(at) != want {
		t.Errorf("%d passed in three minutes, want %d: 100 at first, and one each 600ms", len(at), want)
	}
	for i := range at {
		for j := i; j < len(at); j++ {
			if most := 100 + int((at[j]-at[i])/(600*time.Millisecond)); j-i+1 > most {
				t.Fatalf("%d passed between %v and %v, want %d at most", j-i+1, at[i], at[j], most)
			}
		}
	}
	r.add(time.Minute)
	if n := passed(take(t, hosts[0], "edge", perMinute(100), 200)); n != 100 {
		t.Errorf("%d passed after a minute's rest, want 100", n)
	}
	r.add(time.Second)
	if n := passed(take(t, hosts[1], "edge", perMinute(100), 200)); n != 1 {
		t.Errorf("%d passed a second later, want 1", n)
	}
}

// testRatesTrue: what an answer says of the next ones holds.
func testRatesTrue(t *testing.T, r rates) {
	a, b := r.host(t), r.host(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, rate := range []host.Rate{perMinute(100), perMinute(5), {Count: 1, Per: time.Second}, {Count: 7, Per: time.Second}, {Count: 1000, Per: time.Hour}} {
		key := fmt.Sprint("true", i)
		for range 25 {
			r.add(time.Duration(rnd.Int64N(int64(rate.Per))).Truncate(time.Microsecond))
			said := take(t, a, key, rate, 1+rnd.IntN(rate.Count))
			last := said[len(said)-1]
			if next := take(t, b, key, rate, last.Left+1); passed(next) != last.Left || next[last.Left].OK {
				t.Fatalf("%v: %+v, and then %d passed at the same moment", rate, last, passed(next))
			}
			last = take(t, a, key, rate, 1)[0]
			if last.OK || last.Left != 0 {
				t.Fatalf("%v: %+v of an empty bucket", rate, last)
			}
			r.add(last.Next - time.Microsecond)
			if early := take(t, b, key, rate, 1)[0]; early.OK || early.Next != time.Microsecond {
				t.Fatalf("%v: %+v, and a microsecond before: %+v", rate, last, early)
			}
			r.add(time.Microsecond)
			if then := take(t, b, key, rate, 1)[0]; !then.OK {
				t.Fatalf("%v: %+v, and then: %+v", rate, last, then)
			}
		}
	}
}

// testRatesModel asks at random, of keys whose rates differ and some of which
// come several times in one question.
func testRatesModel(t *testing.T, r rates) {
	hosts := []host.RateLimiter{r.host(t), r.host(t)}
	rnd := rand.New(rand.NewPCG(3, 4))
	all := []host.Rate{perMinute(3), {Count: 7, Per: time.Second}, {Count: 999_983, Per: time.Minute}, {Count: 5_000_000, Per: time.Second}, {Count: 1, Per: 24 * time.Hour}}
	model := map[string]time.Duration{} // what each key owes
	for range 400 {
		passing := time.Duration(rnd.Int64N(int64(time.Second))).Truncate(time.Microsecond)
		r.add(passing)
		for key := range model {
			model[key] = max(0, model[key]-passing)
		}
		var asks []host.RateAsk
		var want []host.RateAnswer
		for range 1 + rnd.IntN(8) {
			i := rnd.IntN(len(all))
			a := host.RateAsk{Key: fmt.Sprint("model", i), Rate: all[i]}
			got, debt := a.Rate.Grant(model[a.Key], 1)
			model[a.Key] = debt
			asks, want = append(asks, a), append(want, a.Rate.Answers(1, got, debt)...)
		}
		got, err := hosts[rnd.IntN(2)].Take(t.Context(), asks)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v (-want +got):\n%s", asks, diff)
		}
	}
}

func testRatesKeys(t *testing.T, r rates) {
	l := r.host(t)
	for _, key := range []string{"a", "b", "a:b", strings.Repeat("k", host.MaxRateKey), "{x}", "ü \x00"} {
		if n := passed(take(t, l, key, perMinute(2), 3)); n != 2 {
			t.Errorf("%d of %q passed, want 2", n, key)
		}
	}
	if got, err := l.Take(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("asking for nothing: %v, %v", got, err)
	}
}

// testRatesChange: a bucket owes no more than its rate now lets it owe.
func testRatesChange(t *testing.T, r rates) {
	l := r.host(t)
	day, second := host.Rate{Count: 1, Per: 24 * time.Hour}, host.Rate{Count: 10, Per: time.Second}
	take(t, l, "change", day, 1)
	if got := take(t, l, "change", second, 1)[0]; got.OK || got.Next != 100*time.Millisecond {
		t.Errorf("an empty bucket whose rate was raised: %+v, want the next in 100ms", got)
	}
	r.add(time.Second)
	if n := passed(take(t, l, "change", second, 20)); n != 10 {
		t.Errorf("%d passed a second later, want 10", n)
	}
	if got, err := l.Take(t.Context(), []host.RateAsk{{Key: "both", Rate: second}, {Key: "both", Rate: perMinute(1)}}); err != nil || !got[0].OK || got[1].OK {
		t.Errorf("one key with two rates in one question: %+v, %v, want the second refused", got, err)
	}
}

func testRatesBack(t *testing.T, r rates) {
	l := r.host(t)
	take(t, l, "back", perMinute(5), 5)
	r.add(-time.Hour)
	if got := take(t, l, "back", perMinute(5), 1)[0]; got.OK || got.Next != 12*time.Second {
		t.Errorf("after the clock was set back: %+v, want the next in 12s", got)
	}
	r.add(12 * time.Second)
	if n := passed(take(t, l, "back", perMinute(5), 5)); n != 1 {
		t.Errorf("%d passed 12s later, want 1", n)
	}
}

func testRatesMistakes(t *testing.T, r rates) {
	l := r.host(t)
	good := host.RateAsk{Key: "good", Rate: perMinute(1)}
	for name, bad := range map[string]host.RateAsk{
		"no key":   {Rate: perMinute(1)},
		"long key": {Key: strings.Repeat("k", host.MaxRateKey+1), Rate: perMinute(1)},
		"no rate":  {Key: "k"},
		"no time":  {Key: "k", Rate: host.Rate{Count: 1}},
		"negative": {Key: "k", Rate: host.Rate{Count: -1, Per: time.Minute}},
		"long":     {Key: "k", Rate: host.Rate{Count: 1, Per: host.MaxRatePer + 1}},
		"huge":     {Key: "k", Rate: host.Rate{Count: 1 << 62, Per: time.Minute}},
	} {
		if _, err := l.Take(t.Context(), []host.RateAsk{good, bad}); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if got := take(t, l, "good", perMinute(1), 1)[0]; !got.OK {
		t.Errorf("one that was asked for with mistakes was taken: %+v", got)
	}
}
