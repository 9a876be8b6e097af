package report

import (
	"fmt"
	"math"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

// Target is a promise and what was measured for it.
type Target struct {
	What     string
	Want     string
	Got      string
	Against  string // the peer it was compared with
	Measured bool
	Pass     bool
}

// Verdict is one word.
func (t Target) Verdict() string {
	switch {
	case !t.Measured:
		return "not measured"
	case t.Pass:
		return "pass"
	default:
		return "**miss**"
	}
}

// Targets compares medians.
func (r *Run) Targets() []Target {
	isExpress := func(c Cell) bool { return c.Kind == Express }
	isGo := func(c Cell) bool { return c.Kind == Go }
	isPeer := func(c Cell) bool { return c.Kind != SecureTag }
	return []Target{
		r.faster("End to end jobs/s against Express + BullMQ", 3, isExpress),
		r.faster("End to end jobs/s against the best Go peer", 1.5, isGo),
		r.sooner("Idle, sent to completed, p50", completedP50, isPeer),
		r.sooner("Idle, sent to completed, p99", completedP99, isPeer),
		r.flat(),
		r.small(),
		r.cheap(),
	}
}

// best is the cell with the highest median, or the lowest, among some.
func (r *Run) best(among func(Cell) bool, get func(Result) (float64, bool), lowest bool) (Cell, stats.Spread) {
	var (
		cell Cell
		top  stats.Spread
	)
	for _, c := range r.Cells {
		if !among(c) {
			continue
		}
		s := r.values(c.Name, get)
		if s.N > 0 && (top.N == 0 || (s.Median < top.Median) == lowest) {
			cell, top = c, s
		}
	}
	return cell, top
}

func (r *Run) faster(what string, want float64, among func(Cell) bool) Target {
	c, peer := r.best(among, live(endPerSec), false)
	ratio := stats.Ratio(r.values(Ours, live(endPerSec)), peer)
	return Target{What: what, Want: fmt.Sprintf(">= %gx", want), Against: c.Title, Got: times(ratio),
		Measured: !math.IsNaN(ratio), Pass: ratio >= want}
}

func (r *Run) sooner(what string, get func(*Idle) float64, among func(Cell) bool) Target {
	c, peer := r.best(among, idle(get), true)
	ours := r.values(Ours, idle(get))
	t := Target{What: what, Want: "no longer than the best peer", Against: c.Title, Measured: ours.N > 0 && peer.N > 0}
	if t.Measured {
		t.Pass = ours.Median <= peer.Median
		t.Got = fmt.Sprintf("%s ms, the peer %s ms", number(ours.Median), number(peer.Median))
	}
	return t
}

// flat compares the drain of a large backlog with that of a small one.
func (r *Run) flat() Target {
	ratio := stats.Ratio(r.values(Ours, large(drainPerSec)), r.values(Ours, backlog(drainPerSec)))
	return Target{What: "Drain with 1,000,000 queued against 10,000", Want: ">= 0.9x", Against: "itself", Got: times(ratio),
		Measured: !math.IsNaN(ratio), Pass: ratio >= 0.9}
}

func (r *Run) small() Target {
	s := r.values(Ours, large(func(d *Drain) float64 { return hostPeak(&d.Common) }))
	return Target{What: "Host's peak memory with 1,000,000 queued", Want: "< 128 MiB", Against: "-", Got: number(s.Max) + " MiB",
		Measured: s.N > 0, Pass: s.Max < 128}
}
