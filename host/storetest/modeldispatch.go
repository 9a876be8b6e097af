package storetest

import (
	"time"

	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host"
)

func (m *machine) dispatch(t *rapid.T) {
	q := host.DispatchQuery{Plugins: everyPlugin(), Window: rapid.IntRange(0, 4).Draw(t, "window"), Horizon: modelHorizon}
	if rapid.Bool().Draw(t, "capped") {
		q.Caps = host.Caps{Tenant: rapid.IntRange(0, 4).Draw(t, "tenant cap"),
			Plugins:   map[string]int{"plugin-0": rapid.IntRange(0, 2).Draw(t, "plugin cap")},
			ScanTypes: map[string]int{"web": rapid.IntRange(0, 4).Draw(t, "type cap")}}
	}
	q.Claim = host.AtOnce{Owner: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner"), TTL: modelTTL, Most: rapid.IntRange(0, 2).Draw(t, "claims")}
	room := q.Window
	fresh, lost, busy := map[host.JobID]*modelJob{}, map[host.JobID]*modelJob{}, map[string]int{}
	for _, j := range m.jobs {
		switch {
		case j.state == host.StateQueued && j.deadline != never && j.deadline <= m.now:
			j.state, j.out, j.faulty = host.StateTimedOut, never, true
		case m.paused(j):
		case j.state == host.StateQueued && j.out != never && m.now-j.out < modelHorizon:
			room--
		case j.state == host.StateQueued && j.out != never:
			lost[j.id] = j
		case j.state == host.StateQueued && j.runAt <= m.now:
			fresh[j.id] = j
		}
		if j.busy() {
			busy[j.plugin]++
			busy["all"]++
		}
	}
	room = max(room, 0)
	out := must(m.Dispatch(m.ctx(), q))(t)
	again := min(room, len(lost))
	var taken []*modelJob
	given := func(id host.JobID) *modelJob {
		j := fresh[id]
		if j != nil {
			delete(fresh, id)
			taken = append(taken, j)
			busy[j.plugin]++
			busy["all"]++
		} else if j = lost[id]; j != nil {
			delete(lost, id)
			again--
		} else {
			t.Fatalf("dispatched %s, which is not ready, or twice", id)
		}
		return j
	}
	for _, b := range out.Bells {
		given(b.Job).out = m.now
	}
	for _, c := range out.Claims {
		m.claimed(t, given(c.Job.ID), c, q.Claim.Owner)
	}
	n := len(out.Bells) + len(out.Claims)
	if again != 0 || n > room {
		t.Fatalf("with room for %d dispatched %d, and %d too few of those that were lost", room, n, again)
	}
	if want := min(q.Claim.Most, n); len(out.Claims) != want {
		t.Fatalf("claimed %d of %d, want %d", len(out.Claims), n, want)
	}
	room -= n
	m.dealt(t, q.Caps, busy, taken, fresh, room)
	if left := len(fresh)+len(lost) > 0; room > 0 && q.Caps.Tenant == 0 && len(q.Caps.Plugins) == 0 && out.More != left {
		t.Fatalf("more is %v, and %d are left", out.More, len(fresh)+len(lost))
	}
	// It may be early, for a job that was canceled; with no room it looks at none.
	if next := m.next(q.Caps, busy); room > 0 && (next > 0 && out.Next == 0 || out.Next > next && !near(next, out.Next) && next > 0) {
		t.Fatalf("next in %v, want %v", out.Next, next)
	}
}

// dealt checks what was handed out beside what was not: caps hold, nothing is
// left while there is room and no cap in the way, and the most urgent went first.
func (m *machine) dealt(t *rapid.T, caps host.Caps, busy map[string]int, taken []*modelJob, left map[host.JobID]*modelJob, room int) {
	over := func(n, most int) bool { return most > 0 && n > most }
	if len(taken) > 0 && (over(busy["all"], caps.Tenant) || over(busy["all"], caps.ScanTypes["web"])) {
		t.Fatalf("%d are out or run, caps are %+v", busy["all"], caps)
	}
	for _, j := range taken {
		if over(busy[j.plugin], caps.Plugins[j.plugin]) {
			t.Fatalf("%d of %s are out or run, caps are %+v", busy[j.plugin], j.plugin, caps)
		}
	}
	for _, l := range left {
		blocked := l.blocked(caps, busy)
		if room > 0 && !blocked {
			t.Fatalf("a job of %s was left with room for %d; caps %+v, busy %v", l.plugin, room, caps, busy)
		}
		for _, j := range taken {
			if !blocked && l.scan.rank < j.scan.rank {
				t.Fatalf("a job of priority %d was left, and one of %d was not", l.scan.rank, j.scan.rank)
			}
		}
	}
}

// busy reports whether the job counts for a cap.
func (j *modelJob) busy() bool {
	return j.state == host.StateRunning || j.state == host.StateQueued && j.out != never
}

// blocked reports whether a cap keeps the job back.
func (j *modelJob) blocked(caps host.Caps, busy map[string]int) bool {
	full := func(n, most int) bool { return most > 0 && n >= most }
	return full(busy["all"], caps.Tenant) || full(busy["all"], caps.ScanTypes["web"]) || full(busy[j.plugin], caps.Plugins[j.plugin])
}

// next is when the first job that waits, and that no cap keeps back, becomes
// ready, or when any becomes overdue.
func (m *machine) next(caps host.Caps, busy map[string]int) (least time.Duration) {
	sooner := func(d time.Duration) {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	for _, j := range m.jobs {
		if j.state != host.StateQueued {
			continue
		}
		if j.deadline != never {
			sooner(j.deadline - m.now)
		}
		if j.out != never {
			sooner(j.out + modelHorizon - m.now)
		} else if !m.paused(j) && !j.blocked(caps, busy) {
			sooner(j.runAt - m.now)
		}
	}
	return least
}

func (m *machine) undispatch(t *rapid.T) {
	var ids []host.JobID
	for _, j := range some(t, m.jobs, "jobs") {
		ids, j.out = append(ids, j.id), never
	}
	must(0, m.Undispatch(m.ctx(), ids))(t)
}
