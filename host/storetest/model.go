package storetest

import (
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host"
)

// The model keeps its own time. Its lengths end in five minutes and its steps
// do not, so that no comparison is ever close and a slow machine decides none.
const (
	modelTTL     = 65 * time.Minute
	modelTimeout = 305 * time.Minute
	modelRetry   = 45 * time.Minute
	modelHorizon = 35 * time.Minute
	never        = time.Duration(-1)
)

// modelJob is what a job must be.
type modelJob struct {
	id       host.JobID
	scan     *modelScan
	plugin   string
	state    host.State
	attempt  int
	attempts int
	crashes  int
	epoch    int64
	lease    host.Lease // zero: none
	owner    string
	ends     time.Duration // of the lease
	runAt    time.Duration
	deadline time.Duration // never: not started
	out      time.Duration // dispatched at; never: not
	early    int           // findings added under the lease
	result   int
	faulty   bool // has an error
	dead     bool
	past     int // attempts that delivered nothing
}

type modelScan struct {
	scan     host.Scan
	rank     int // of its priority
	jobs     []*modelJob
	canceled bool
}

// machine runs operations against the store and the model side by side.
type machine struct {
	*suite
	tenant host.TenantID
	now    time.Duration
	scans  []*modelScan
	jobs   []*modelJob
	leases []host.Lease // every one that was ever given
	pauses []host.Pause
}

// testModel draws sequences of operations and compares the store with the
// model after each: terminal is final, a job has one result, epochs only grow.
func testModel(s *suite) {
	tenant := s.tenant()
	rapid.Check(s.T, func(t *rapid.T) {
		m := &machine{suite: s, tenant: tenant}
		defer m.settle(t)
		t.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "claim": m.claim, "beat": m.beat, "add": m.add, "finish": m.finish,
			"cancel": m.cancel, "expire": m.expire, "release": m.release, "dispatch": m.dispatch,
			"undispatch": m.undispatch, "advance": m.step, "": m.compare,
			"pause": m.pause, "resume": m.resume, "requeue": m.requeue, "drop": m.drop,
		})
	})
}

// settle ends everything, because the next sequence uses the same store.
func (m *machine) settle(t *rapid.T) {
	for _, sc := range m.scans {
		if _, err := m.Cancel(m.ctx(), m.tenant, sc.scan.ID); err != nil && !errors.Is(err, host.ErrConflict) {
			t.Fatal(err)
		}
	}
	for _, owner := range []string{"a", "b"} {
		if _, err := m.ReleaseOwner(m.ctx(), owner); err != nil {
			t.Fatal(err)
		}
	}
	m.settleQueue(t)
}

func must[T any](v T, err error) func(*rapid.T) T {
	return func(t *rapid.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (m *machine) accept(t *rapid.T) {
	n := rapid.IntRange(1, 3).Draw(t, "jobs")
	scan := newScan(m.tenant, plugins(n)...)
	scan.Priority = rapid.SampledFrom(host.Priorities()).Draw(t, "priority")
	sc := &modelScan{rank: scan.Priority.Rank()}
	for i := range scan.Jobs {
		scan.Jobs[i].MaxAttempts = rapid.IntRange(1, 4).Draw(t, "attempts")
		scan.Jobs[i].Timeout = modelTimeout
		sc.jobs = append(sc.jobs, &modelJob{id: scan.Jobs[i].ID, scan: sc, plugin: scan.Jobs[i].Plugin, state: host.StateQueued,
			attempts: scan.Jobs[i].MaxAttempts, runAt: m.now, deadline: never, out: never})
	}
	sc.scan = must(m.Accept(m.ctx(), []host.Scan{scan}, nil))(t)[0]
	m.scans, m.jobs = append(m.scans, sc), append(m.jobs, sc.jobs...)
}

// some draws a few different elements.
func some[T any](t *rapid.T, from []T, label string) []T {
	if len(from) == 0 {
		t.Skip("none yet")
	}
	n := rapid.IntRange(1, min(4, len(from))).Draw(t, "how many "+label)
	return rapid.Permutation(from).Draw(t, label)[:n]
}

func (m *machine) claim(t *rapid.T) {
	owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
	picked := some(t, m.jobs, "jobs")
	ids := []host.JobID{host.NewJobID()}
	want := map[host.JobID]*modelJob{}
	for _, j := range picked {
		ids = append(ids, j.id)
		if j.state == host.StateQueued && j.out != never && !m.paused(j) && j.runAt <= m.now && (j.deadline == never || j.deadline > m.now) {
			want[j.id] = j
		}
	}
	for _, c := range must(m.Store.Claim(m.ctx(), owner, ids, modelTTL))(t) {
		j := want[c.Job.ID]
		if j == nil {
			t.Fatalf("claimed %s, which was not to be had", c.Job.ID)
		}
		delete(want, c.Job.ID)
		m.claimed(t, j, c, owner)
	}
	if len(want) > 0 {
		t.Fatalf("%d jobs were not claimed", len(want))
	}
}

// claimed is what a claim makes of a job.
func (m *machine) claimed(t *rapid.T, j *modelJob, c host.Claim, owner string) {
	if c.Lease.Epoch != j.epoch+1 {
		t.Fatalf("epoch %d after %d", c.Lease.Epoch, j.epoch)
	}
	j.state, j.epoch, j.lease, j.owner, j.ends, j.out, j.early = host.StateRunning, c.Lease.Epoch, c.Lease, owner, m.now+modelTTL, never, 0
	j.attempt++
	if j.deadline == never {
		j.deadline = m.now + modelTimeout
	}
	if c.Job.Attempt != j.attempt || !near(c.Remaining, j.deadline-m.now) {
		t.Fatalf("claim %+v of %+v", c, j)
	}
	m.leases = append(m.leases, c.Lease)
}

// holder is the job that a lease still holds, or nil.
func (m *machine) holder(l host.Lease) *modelJob {
	for _, j := range m.jobs {
		if j.lease == l {
			return j
		}
	}
	return nil
}

func (m *machine) beat(t *rapid.T) {
	var beats []host.Beat
	want := map[host.Lease]bool{}
	for _, l := range some(t, m.leases, "leases") {
		beats = append(beats, host.Beat{Lease: l})
		if j := m.holder(l); j != nil && j.ends > m.now {
			want[l], j.ends = j.scan.canceled, m.now+modelTTL
		}
	}
	got := map[host.Lease]bool{}
	for _, p := range must(m.Heartbeat(m.ctx(), beats, modelTTL))(t) {
		got[p.Lease] = p.CancelRequested
	}
	for l, cancel := range want {
		if c, ok := got[l]; !ok || c != cancel {
			t.Fatalf("pulse of %v: %v, %v, want %v", l, ok, c, cancel)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d pulses, want %d", len(got), len(want))
	}
}

func (m *machine) add(t *rapid.T) {
	l := some(t, m.leases, "lease")[0]
	n := rapid.IntRange(1, 3).Draw(t, "findings")
	err := m.AddFindings(m.ctx(), l, newFindings(n, host.SeverityLow))
	j := m.holder(l)
	switch {
	case j == nil && !errors.Is(err, host.ErrLeaseLost):
		t.Fatalf("add findings without the lease: %v", err)
	case j != nil && err != nil:
		t.Fatal(err)
	case j != nil:
		j.early += n
	}
}

func (m *machine) finish(t *rapid.T) {
	var outcomes []host.Outcome
	var want []host.Lease
	for _, l := range some(t, m.leases, "leases") {
		o := end(l, rapid.SampledFrom([]host.State{host.StateSucceeded, host.StatePartial, host.StateFailed,
			host.StateTimedOut, host.StateCanceled, host.StateQueued, host.StateQueued}).Draw(t, "state"))
		o.Findings = newFindings(rapid.IntRange(0, 2).Draw(t, "findings"), host.SeverityHigh)
		o.Crashed, o.Dead = rapid.Bool().Draw(t, "crashed"), rapid.Bool().Draw(t, "dead")
		if o.State == host.StateQueued {
			o.RetryAfter = modelRetry
			o.Release = !o.Crashed && rapid.Bool().Draw(t, "release")
		}
		outcomes = append(outcomes, o)
		if j := m.holder(l); j == nil {
			want = append(want, l)
		} else {
			m.ended(j, o)
		}
	}
	lost := must(m.Finish(m.ctx(), outcomes))(t)
	if !slices.Equal(lost, want) {
		t.Fatalf("lost %v, want %v", lost, want)
	}
}

// ended is what Finish makes of a job.
func (m *machine) ended(j *modelJob, o host.Outcome) {
	if o.Crashed {
		j.crashes++
	}
	to := o.State
	if to == host.StateQueued {
		switch {
		case j.scan.canceled:
			to = host.StateCanceled
		case !o.Release && (j.attempt >= j.attempts || j.crashes >= 3):
			to = host.StateFailed
		}
		if o.Release {
			j.giveBack(to)
		}
		j.runAt = m.now + o.RetryAfter
	}
	if !o.Release {
		j.faulty = o.Error != nil
	} else {
		j.faulty = j.faulty || o.Error != nil
	}
	if to == host.StateSucceeded || to == host.StatePartial {
		j.result = j.early + len(o.Findings)
	}
	j.state, j.lease = to, host.Lease{}
	j.die(o.Dead || o.State == host.StateQueued)
}

func (m *machine) cancel(t *rapid.T) {
	sc := some(t, m.scans, "scan")[0]
	before := sc.state()
	_, err := m.Cancel(m.ctx(), m.tenant, sc.scan.ID)
	if refuse := before.Final() && before != host.StateCanceled; refuse != errors.Is(err, host.ErrConflict) || !refuse && err != nil {
		t.Fatalf("cancel a scan that is %s: %v", before, err)
	}
	if before.Final() {
		return
	}
	sc.canceled = true
	for _, j := range sc.jobs {
		if j.state == host.StateQueued {
			j.state, j.out = host.StateCanceled, never
		}
	}
}

func (m *machine) expire(t *rapid.T) {
	want := 0
	for _, j := range m.jobs {
		if j.state != host.StateRunning || j.ends >= m.now {
			continue
		}
		want++
		j.crashes++
		j.lease = host.Lease{}
		j.past++
		switch {
		case j.scan.canceled:
			j.state = host.StateCanceled
			continue
		case j.deadline <= m.now:
			j.state = host.StateTimedOut
		case j.attempt >= j.attempts || j.crashes >= 3:
			j.state, j.dead = host.StateFailed, true
		default:
			j.state, j.runAt = host.StateQueued, m.now
		}
		j.faulty = true
	}
	if n := must(m.Expire(m.ctx(), 1000))(t); n != want {
		t.Fatalf("expired %d, want %d", n, want)
	}
}

// giveBack takes an attempt off a job that goes to a state; a first attempt that
// is to be made again takes the deadline with it.
func (j *modelJob) giveBack(to host.State) {
	if j.attempt == 1 && to == host.StateQueued {
		j.deadline = never
	}
	j.attempt--
}

func (m *machine) release(t *rapid.T) {
	owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
	want := 0
	for _, j := range m.jobs {
		if j.state != host.StateRunning || j.owner != owner {
			continue
		}
		want++
		j.crashes++
		j.lease, j.state, j.runAt = host.Lease{}, host.StateQueued, m.now
		switch {
		case j.scan.canceled:
			j.state = host.StateCanceled
		case j.crashes >= 3:
			j.state, j.faulty = host.StateFailed, true
		}
		j.die(true)
		if j.state != host.StateFailed {
			j.giveBack(j.state)
		}
	}
	if n := must(m.ReleaseOwner(m.ctx(), owner))(t); n != want {
		t.Fatalf("released %d, want %d", n, want)
	}
}

func (m *machine) step(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{10 * time.Minute, 50 * time.Minute, 200 * time.Minute}).Draw(t, "d")
	m.advance(d)
	m.now += d
}

func (sc *modelScan) state() host.State {
	var states []host.State
	for _, j := range sc.jobs {
		states = append(states, j.state)
	}
	return host.DeriveState(states)
}

func (m *machine) compare(t *rapid.T) {
	for _, sc := range m.scans {
		got := must(m.Scan(m.ctx(), m.tenant, sc.scan.ID))(t)
		if got.State != sc.state() || got.CancelRequestedAt.IsZero() == sc.canceled {
			t.Fatalf("scan is %s, canceled %v; want %s, %v", got.State, got.CancelRequestedAt, sc.state(), sc.canceled)
		}
		total := 0
		for i, j := range sc.jobs {
			g := got.Jobs[i]
			if g.State != j.state || g.Attempt != j.attempt || g.Crashes != j.crashes || g.Counts.Total() != j.result || (g.Error != nil) != j.faulty {
				t.Fatalf("job is %+v with error %+v, want %+v", g, g.Error, *j)
			}
			total += j.result
		}
		if got.Counts.Total() != total {
			t.Fatalf("counts %+v, want %d in all", got.Counts, total)
		}
		if total > 0 {
			if shown := must(m.Findings(m.ctx(), m.tenant, sc.scan.ID, host.FindingQuery{Limit: 1000}))(t); len(shown) != total {
				t.Fatalf("%d findings show, want %d", len(shown), total)
			}
		}
	}
	m.compareQueue(t)
	m.compareQuotas(t)
}
