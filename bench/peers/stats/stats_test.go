package stats_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i) // out of order
	}
	for name, tt := range map[string]struct {
		values []float64
		want   stats.Latency
	}{
		"none":    {nil, stats.Latency{}},
		"one":     {[]float64{7}, stats.Latency{P50: 7, P95: 7, P99: 7, Max: 7}},
		"two":     {[]float64{9, 1}, stats.Latency{P50: 1, P95: 9, P99: 9, Max: 9}},
		"hundred": {hundred, stats.Latency{P50: 50, P95: 95, P99: 99, Max: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, stats.Of(tt.values)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if hundred[0] != 100 {
		t.Error("the values were sorted in place")
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values []float64
		want   stats.Spread
	}{
		"none": {nil, stats.Spread{}},
		"odd":  {[]float64{3, 1, 2}, stats.Spread{N: 3, Median: 2, Min: 1, Max: 3}},
		"even": {[]float64{4, 1, 3, 2}, stats.Spread{N: 4, Median: 2.5, Min: 1, Max: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, stats.Over(tt.values)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	four, two := stats.Over([]float64{4}), stats.Over([]float64{2})
	if got := stats.Ratio(four, two); got != 2 {
		t.Errorf("4 to 2 is %v", got)
	}
	for name, got := range map[string]float64{
		"nothing on the left":  stats.Ratio(stats.Spread{}, two),
		"nothing on the right": stats.Ratio(four, stats.Spread{}),
		"zero on the right":    stats.Ratio(four, stats.Over([]float64{0})),
	} {
		if !math.IsNaN(got) {
			t.Errorf("%s: %v, want NaN", name, got)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	var ends []time.Time
	for i := range 11 {
		ends = append(ends, time.Unix(0, 0).Add(time.Duration(i)*100*time.Millisecond))
	}
	same := []time.Time{ends[0], ends[0]}
	for name, tt := range map[string]struct {
		ends     []time.Time
		from, to int
		want     float64
	}{
		"all":       {ends, 0, 10, 10},
		"part":      {ends, 5, 7, 10},
		"too few":   {ends, 5, 11, 0},
		"backwards": {ends, 5, 5, 0},
		"below 0":   {ends, -1, 5, 0},
		"none":      {nil, 0, 1, 0},
		"no time":   {same, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := stats.Rate(tt.ends, tt.from, tt.to); got != tt.want {
				t.Errorf("%v a second, want %v", got, tt.want)
			}
		})
	}
}
