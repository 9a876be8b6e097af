package report

import (
	"strings"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

// Unlimited is SecureTag for a tenant without a plan, and so without limits; in
// [Ours] it has each of them. Between the two is what it costs to hold them.
const Unlimited = "securetag-unlimited"

// cheapest is how fast SecureTag with limits must be, beside itself without.
const cheapest = 0.95

// share is a number with limits, as a part of that without, in each round that
// measured both: what the machine does to a round it does to both.
func (r *Run) share(get func(Result) (float64, bool)) stats.Spread {
	without := map[int]float64{}
	for _, res := range r.Results {
		if v, ok := get(res); ok && res.Cell == Unlimited && v > 0 {
			without[res.Round] = v
		}
	}
	return r.values(Ours, func(res Result) (float64, bool) {
		v, ok := get(res)
		base := without[res.Round]
		if !ok || base == 0 {
			return 0, false
		}
		return v / base, true
	})
}

// cheap compares what is accepted with limits and without.
func (r *Run) cheap() Target {
	s := r.share(live(acceptedLive))
	return Target{What: "Accepted/s with every limit against none", Want: ">= 0.95x", Against: "itself", Got: times(s.Median),
		Measured: s.N > 0, Pass: s.Median >= cheapest}
}

func (r *Run) limitsTable(b *strings.Builder) {
	var rows [][]string
	for _, line := range []struct {
		what string
		get  func(Result) (float64, bool)
	}{
		{"accepted/s", live(acceptedLive)},
		{"end to end jobs/s", live(endPerSec)},
		{"processor time for each job, µs", live(func(p *Live) float64 { return total(&p.Common) })},
	} {
		s := r.share(line.get)
		if s.N == 0 {
			continue
		}
		rows = append(rows, []string{line.what, spread(r.values(Ours, line.get)), spread(r.values(Unlimited, line.get)), spread(s)})
	}
	section(b, "What limits cost", "The uploads under load, of a tenant whose plan has every rate, quota and cap, all far away, beside one without a plan. "+
		"Without, no rate is counted, nobody looks for room before the body is read, and nothing is compared with a quota or a cap; counters and ledger are kept for every tenant. "+
		"With / without is of each round by itself.",
		[]string{"", "with", "without", "with / without"}, rows)
}
