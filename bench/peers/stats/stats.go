// Package stats is the arithmetic of the benchmarks.
package stats

import (
	"math"
	"slices"
	"time"
)

// Latency sums up many times, in milliseconds or whatever their unit is.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Of sums up values, in any order. It is zero for none.
func Of(values []float64) Latency {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return Latency{}
	}
	return Latency{P50: percentile(s, 50), P95: percentile(s, 95), P99: percentile(s, 99), Max: s[len(s)-1]}
}

// percentile is the smallest of the sorted values that is not below p percent
// of them (nearest rank).
func percentile(sorted []float64, p int) float64 {
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Spread is the middle and the ends of a measurement over several rounds.
type Spread struct {
	N                int
	Median, Min, Max float64
}

// Over gives the spread of values, in any order. N is 0 for none.
func Over(values []float64) Spread {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return Spread{}
	}
	return Spread{N: n, Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Ratio is a to b, NaN when either was not measured.
func Ratio(a, b Spread) float64 {
	if a.N == 0 || b.N == 0 || b.Median == 0 {
		return math.NaN()
	}
	return a.Median / b.Median
}

// Rate is events a second between the events of rank from and to, counted from
// 0, when ends holds the time of each in order. It is 0 when there are not so
// many, or no time passed.
func Rate(ends []time.Time, from, to int) float64 {
	if from < 0 || to <= from || to >= len(ends) {
		return 0
	}
	span := ends[to].Sub(ends[from]).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(to-from) / span
}
