// Package report renders what the benchmark measured: SecureTag beside its
// peers, as ratios, and against the targets that the project set itself.
package report

import (
	"time"

	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/bench/peers/stats"
)

// Ours is the cell that the others are compared with.
const Ours = "securetag"

// Cell is one system in one configuration.
type Cell struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Kind  Kind   `json:"kind"`
}

// Kind says which target a cell is compared for.
type Kind string

// The kinds.
const (
	SecureTag Kind = "securetag"
	Express   Kind = "express"
	Go        Kind = "go"
)

// Run is a whole campaign.
type Run struct {
	Facts   []Fact   `json:"facts"`
	Cells   []Cell   `json:"cells"`
	Uploads int      `json:"uploads"` // of each burst
	Results []Result `json:"results"`
}

// Fact is something about the machine or a version.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Result is one cell in one round. Phases that were not measured are nil.
type Result struct {
	Cell       string    `json:"cell"`
	Round      int       `json:"round"`
	At         time.Time `json:"at"`
	SyncMicros float64   `json:"sync_micros"`
	Live       *Live     `json:"live,omitempty"`
	Idle       *Idle     `json:"idle,omitempty"`
	API        *API      `json:"api,omitempty"`
	Backlog    *Drain    `json:"backlog,omitempty"`
	Large      *Drain    `json:"large,omitempty"`
}

// Common is what every phase has.
type Common struct {
	Usage meter.Usage `json:"usage"`
	Jobs  int         `json:"jobs"` // that Usage was spent on
	// Peak is the peak resident memory of each of the cell's own processes, MiB.
	Peak map[string]float64 `json:"peak"`
}

// Live is a burst of uploads while jobs run.
type Live struct {
	Common
	Burst     load.Burst `json:"burst"`
	EndPerSec float64    `json:"end_per_sec"` // jobs ended a second, from the first upload sent to the last end
}

// Idle is uploads that none has to wait for another. All in ms.
type Idle struct {
	Common
	Answer    stats.Latency `json:"answer"`    // sent to 202
	PickUp    stats.Latency `json:"pick_up"`   // 202 to started; below 0 when it started before the 202 was read
	Started   stats.Latency `json:"started"`   // sent to started
	Completed stats.Latency `json:"completed"` // sent to completed
}

// API is a burst of uploads while no worker runs.
type API struct {
	Common
	Burst load.Burst `json:"burst"`
}

// Drain is a backlog worked off.
type Drain struct {
	Common
	Queued int     `json:"queued"`
	PerSec float64 `json:"per_sec"` // over the same ranks of ends for every size, see Window
	Later  float64 `json:"later"`   // the same over many more jobs, where there are so many
}

// Window are the ends, by rank, between which the drain of a seeded backlog is
// measured: after the warm-up, and the same for every size. LaterTo is the last
// one that is waited for in a large backlog.
const (
	WindowFrom = 1000
	WindowTo   = 9000
	LaterTo    = 21000
)

// Disturbed reports whether others used the machine during the phase.
func (c *Common) Disturbed() bool { return c.Usage.Disturbed() }

// values takes a number out of every round of a cell.
func (r *Run) values(cell string, get func(Result) (float64, bool)) stats.Spread {
	var all []float64
	for _, res := range r.Results {
		if res.Cell != cell {
			continue
		}
		if v, ok := get(res); ok {
			all = append(all, v)
		}
	}
	return stats.Over(all)
}

// of makes a getter of a number in a phase that may be missing.
func of[P any](phase func(Result) *P, get func(*P) float64) func(Result) (float64, bool) {
	return func(r Result) (float64, bool) {
		p := phase(r)
		if p == nil {
			return 0, false
		}
		return get(p), true
	}
}

func live(get func(*Live) float64) func(Result) (float64, bool) {
	return of(func(r Result) *Live { return r.Live }, get)
}

func idle(get func(*Idle) float64) func(Result) (float64, bool) {
	return of(func(r Result) *Idle { return r.Idle }, get)
}

func api(get func(*API) float64) func(Result) (float64, bool) {
	return of(func(r Result) *API { return r.API }, get)
}

func backlog(get func(*Drain) float64) func(Result) (float64, bool) {
	return of(func(r Result) *Drain { return r.Backlog }, get)
}

func large(get func(*Drain) float64) func(Result) (float64, bool) {
	return of(func(r Result) *Drain { return r.Large }, get)
}

func endPerSec(p *Live) float64    { return p.EndPerSec }
func completedP50(p *Idle) float64 { return p.Completed.P50 }
func completedP99(p *Idle) float64 { return p.Completed.P99 }
func drainPerSec(p *Drain) float64 { return p.PerSec }
func acceptedLive(p *Live) float64 { return p.Burst.PerSec }
func acceptedAlone(p *API) float64 { return p.Burst.PerSec }
func laterPerSec(p *Drain) float64 { return p.Later }
func hostPeak(p *Common) float64   { return p.Peak["host"] }
func perJob(p *Common, group string) float64 {
	if p.Jobs == 0 {
		return 0
	}
	return p.Usage.Groups[group] / float64(p.Jobs) * 1e6
}
