package report_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/bench/peers/report"
	"github.com/securetaghq/securetag/bench/peers/stats"
)

var update = flag.Bool("update", false, "write the golden page")

// phase is n jobs that each cost the host 100 µs.
func phase(n int, peak float64) report.Common {
	return report.Common{Jobs: n, Peak: map[string]float64{"host": peak}, Usage: meter.Usage{Wall: 1, Kernel: float64(n) * 5e-6,
		DiskBusy: 0.25, Groups: map[string]float64{"host": float64(n) * 100e-6, "postgres": float64(n) * 50e-6}}}
}

// sample is three rounds in which a cell ends perSec jobs a second, and then 10
// more and 10 fewer.
func sample(cells map[string]float64) *report.Run {
	r := &report.Run{Uploads: 5000, Facts: []report.Fact{{Name: "processor", Value: "2 x Abacus"}}, Cells: []report.Cell{
		{Name: report.Ours, Title: "SecureTag", Kind: report.SecureTag},
		{Name: report.Unlimited, Title: "SecureTag, a tenant without limits", Kind: report.SecureTag},
		{Name: "express", Title: "Express + BullMQ", Kind: report.Express},
		{Name: "asynq", Title: "asynq", Kind: report.Go},
		{Name: "river", Title: "River", Kind: report.Go},
	}}
	for round, more := range []float64{0, 10, -10} {
		for _, c := range r.Cells {
			perSec, ok := cells[c.Name]
			if !ok {
				continue
			}
			perSec += more
			ms := 10000 / perSec
			one := report.Result{Cell: c.Name, Round: round + 1, At: time.Unix(0, 0).UTC(), SyncMicros: 100 + more,
				Live: &report.Live{Common: phase(5000, 50), EndPerSec: perSec, Burst: load.Burst{PerSec: perSec + 1, Answer: stats.Latency{P50: ms, P99: 2 * ms}}},
				Idle: &report.Idle{Common: phase(200, 50), Answer: stats.Latency{P50: 1}, PickUp: stats.Latency{P50: -0.25, P99: 1},
					Started: stats.Latency{P50: 2}, Completed: stats.Latency{P50: ms, P99: 3 * ms}},
				Backlog: &report.Drain{Common: phase(5000, 50), Queued: 5000, PerSec: perSec * 2},
			}
			if c.Name == report.Ours {
				one.Backlog.Queued = 10_000
				one.Large = &report.Drain{Common: phase(21_000, 90), Queued: 1_000_000, PerSec: perSec * 1.9, Later: perSec * 1.8}
			} else {
				one.API = &report.API{Common: phase(5000, 50), Burst: load.Burst{PerSec: perSec * 1.5}}
			}
			r.Results = append(r.Results, one)
		}
	}
	return r
}

func TestPage(t *testing.T) {
	t.Parallel()
	got := sample(map[string]float64{report.Ours: 3300, report.Unlimited: 3400, "express": 1000, "asynq": 2000, "river": 1300}).Markdown()
	golden := filepath.Join("testdata", "page.md")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("go test ./report -update writes it (-want +got)\n%s", diff)
	}
}

func verdicts(r *report.Run) []string {
	var all []string
	for _, target := range r.Targets() {
		all = append(all, fmt.Sprintf("%s %s", target.Against, target.Verdict()))
	}
	return all
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cells map[string]float64
		want  []string
	}{
		"all met": {map[string]float64{report.Ours: 3300, report.Unlimited: 3400, "express": 1000, "asynq": 2000, "river": 1300},
			[]string{"Express + BullMQ pass", "asynq pass", "asynq pass", "asynq pass", "itself pass", "- pass", "itself pass"}},
		"limits cost too much": {map[string]float64{report.Ours: 3300, report.Unlimited: 3600},
			[]string{" not measured", " not measured", " not measured", " not measured", "itself pass", "- pass", "itself **miss**"}},
		"the best Go peer is another": {map[string]float64{report.Ours: 3300, "express": 1000, "asynq": 2000, "river": 2300},
			[]string{"Express + BullMQ pass", "River **miss**", "River pass", "River pass", "itself pass", "- pass", "itself not measured"}},
		"slower than all": {map[string]float64{report.Ours: 900, "express": 1000, "asynq": 2000},
			[]string{"Express + BullMQ **miss**", "asynq **miss**", "asynq **miss**", "asynq **miss**", "itself pass", "- pass", "itself not measured"}},
		"ours alone": {map[string]float64{report.Ours: 900},
			[]string{" not measured", " not measured", " not measured", " not measured", "itself pass", "- pass", "itself not measured"}},
		"peers alone": {map[string]float64{"asynq": 900},
			[]string{" not measured", "asynq not measured", "asynq not measured", "asynq not measured", "itself not measured", "- not measured", "itself not measured"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, verdicts(sample(tt.cells))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLargeBacklogTargets(t *testing.T) {
	t.Parallel()
	r := sample(map[string]float64{report.Ours: 1000})
	for _, one := range r.Results {
		one.Large.PerSec = one.Backlog.PerSec * 0.5
		one.Large.Peak["host"] = 128
	}
	got := verdicts(r)[4:6]
	if diff := cmp.Diff([]string{"itself **miss**", "- **miss**"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
