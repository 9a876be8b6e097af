package storetest

import (
	"slices"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host"
)

// What operators do to the model.

func (m *machine) paused(j *modelJob) bool {
	return slices.ContainsFunc(m.pauses, func(p host.Pause) bool { return p.Covers(j.plugin, j.scan.scan.Type) })
}

// die is what an attempt's end makes of a job that has its new state.
func (j *modelJob) die(dead bool) {
	if j.state != host.StateSucceeded && j.state != host.StatePartial {
		j.past++
	}
	j.dead = dead && j.state == host.StateFailed
}

func (m *machine) pause(t *rapid.T) {
	p := rapid.SampledFrom([]host.Pause{{Kind: host.PauseAll}, {Kind: host.PausePlugin, Name: "plugin-0"},
		{Kind: host.PausePlugin, Name: "plugin-1"}, {Kind: host.PauseScanType, Name: "web"}}).Draw(t, "pause")
	must(0, m.Pause(m.ctx(), p))(t)
	if !slices.Contains(m.pauses, p) {
		m.pauses = append(m.pauses, p)
	}
	for _, j := range m.jobs {
		if j.state == host.StateQueued && p.Covers(j.plugin, j.scan.scan.Type) {
			j.out = never
		}
	}
}

func (m *machine) resume(t *rapid.T) {
	p := some(t, m.pauses, "pause")[0]
	must(0, m.Resume(m.ctx(), p.Kind, p.Name))(t)
	m.pauses = slices.DeleteFunc(m.pauses, func(o host.Pause) bool { return o == p })
}

// asked draws jobs for Requeue and Drop and says what they must refuse.
func (m *machine) asked(t *rapid.T, canceled host.RefusalReason) (good []*modelJob, ids []host.JobID, want []host.Refusal) {
	for _, j := range some(t, m.jobs, "jobs") {
		ids = append(ids, j.id)
		switch {
		case !j.dead:
			want = append(want, host.Refusal{Job: j.id, Reason: host.RefusedNotDead})
		case canceled != "" && j.scan.canceled:
			want = append(want, host.Refusal{Job: j.id, Reason: canceled})
		default:
			good = append(good, j)
		}
	}
	return good, ids, want
}

func (m *machine) requeue(t *rapid.T) {
	good, ids, want := m.asked(t, host.RefusedCanceled)
	if got := must(m.Requeue(m.ctx(), ids))(t); !slices.Equal(got, want) {
		t.Fatalf("requeue refused %v, want %v", got, want)
	}
	for _, j := range good {
		j.state, j.dead, j.attempt, j.crashes, j.deadline, j.runAt = host.StateQueued, false, 0, 0, never, m.now
	}
}

func (m *machine) drop(t *rapid.T) {
	good, ids, want := m.asked(t, "")
	if got := must(m.Drop(m.ctx(), ids))(t); !slices.Equal(got, want) {
		t.Fatalf("drop refused %v, want %v", got, want)
	}
	for _, j := range good {
		j.dead = false
	}
}

// compareQueue compares the stats, the dead letters and how long their
// histories are.
func (m *machine) compareQueue(t *rapid.T) {
	want, dead := map[string]host.QueueGroup{}, map[host.JobID]*modelJob{}
	for _, j := range m.jobs {
		if j.dead {
			dead[j.id] = j
		}
		g := want[j.plugin]
		switch {
		case j.state == host.StateRunning:
			g.Running++
		case j.dead:
			g.Dead++
		case j.state != host.StateQueued:
			continue
		case j.out != never:
			g.Out++
		case j.runAt > m.now:
			g.Waiting++
		default:
			g.Ready++
		}
		g.Plugin, g.ScanType = j.plugin, j.scan.scan.Type
		want[j.plugin] = g
	}
	got := map[string]host.QueueGroup{}
	stats := must(m.QueueStats(m.ctx()))(t)
	for _, g := range stats.Groups {
		g.OldestReady = 0
		got[g.Plugin] = g
	}
	if diff := cmp.Diff(want, got); diff != "" || len(stats.Pauses) != len(m.pauses) {
		t.Fatalf("%d pauses, want %d; stats (-want +got):\n%s", len(stats.Pauses), len(m.pauses), diff)
	}
	listed := must(m.DeadLetters(m.ctx(), host.DeadQuery{Limit: 500}))(t)
	if len(listed) != len(dead) {
		t.Fatalf("%d dead letters, want %d", len(listed), len(dead))
	}
	for _, d := range listed {
		if j := dead[d.Job.ID]; j == nil || d.Canceled != j.scan.canceled {
			t.Fatalf("dead letter %+v, want %+v", d, j)
		}
	}
	if len(listed) > 0 {
		one := listed[0].Job.ID
		if d := must(m.DeadLetter(m.ctx(), one))(t); len(d.History) != min(dead[one].past, host.MaxHistory) {
			t.Fatalf("%d attempts in the history, want %d", len(d.History), dead[one].past)
		}
	}
}

// settleQueue leaves no pause and no dead letter to the next sequence.
func (m *machine) settleQueue(t *rapid.T) {
	for _, p := range m.pauses {
		must(0, m.Resume(m.ctx(), p.Kind, p.Name))(t)
	}
	var ids []host.JobID
	for _, j := range m.jobs {
		ids = append(ids, j.id)
	}
	must(m.Drop(m.ctx(), ids))(t)
}
