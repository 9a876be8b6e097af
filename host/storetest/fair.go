package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// shared makes a tenant with a share.
func (s *suite) shared(share host.Share) host.TenantID {
	s.Helper()
	id := host.NewTenantID()
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: id, Name: "t-" + string(id), Share: share}))
	return id
}

// crowd knows whose jobs are whose.
type crowd struct {
	*suite
	owner map[host.JobID]host.TenantID
	type_ map[host.JobID]string
}

func (s *suite) crowd() *crowd {
	return &crowd{suite: s, owner: map[host.JobID]host.TenantID{}, type_: map[host.JobID]string{}}
}

// add accepts n scans of a tenant.
func (c *crowd) add(n int, scan func() host.Scan) (all []host.Scan) {
	c.Helper()
	for range n {
		scan := c.accept(scan())
		for _, j := range scan.Jobs {
			c.owner[j.ID], c.type_[j.ID] = scan.TenantID, scan.Type
		}
		all = append(all, scan)
	}
	return all
}

func (c *crowd) backlog(t host.TenantID, n int) {
	c.Helper()
	c.add(n, func() host.Scan { return newScan(t, "p") })
}

// serve hands out once and finishes what it was given.
func (c *crowd) serve(q host.DispatchQuery) []host.Doorbell {
	c.Helper()
	bells := c.ring(q)
	c.done(bells)
	return bells
}

func (c *crowd) ring(q host.DispatchQuery) []host.Doorbell {
	c.Helper()
	q.Plugins, q.Horizon = everyPlugin(), time.Hour
	out, err := c.Dispatch(c.ctx(), q)
	c.check(err)
	return out.Bells
}

func (c *crowd) done(bells []host.Doorbell) {
	c.Helper()
	ids := make([]host.JobID, len(bells))
	for i, b := range bells {
		ids[i] = b.Job
	}
	claims, err := c.Store.Claim(c.ctx(), "host-a", ids, ttl)
	c.check(err)
	outcomes := make([]host.Outcome, len(claims))
	for i, cl := range claims {
		outcomes[i] = end(cl.Lease, host.StateSucceeded)
	}
	c.finish(outcomes...)
}

// of counts bells by tenant.
func (c *crowd) of(bells []host.Doorbell, t host.TenantID) (n int) {
	for _, b := range bells {
		if c.owner[b.Job] == t {
			n++
		}
	}
	return n
}

func window(n int) host.DispatchQuery { return host.DispatchQuery{Window: n} }

func testShares(s *suite) {
	two := 2
	id := s.shared(host.Share{Weight: 2.5, Concurrency: &two})
	plain := s.tenant()
	want := map[host.TenantID]host.Share{id: {Weight: 2.5, Concurrency: &two}, plain: {}}
	compareShares := func() {
		s.Helper()
		all, err := s.Tenants(s.ctx())
		s.check(err)
		got := map[host.TenantID]host.Share{}
		for _, t := range all {
			got[t.ID] = t.Share
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.Errorf("shares (-want +got):\n%s", diff)
		}
	}
	compareShares()
	none := 0
	s.check(s.SetShare(s.ctx(), plain, host.Share{Weight: 0.01, Concurrency: &none}))
	s.check(s.SetShare(s.ctx(), id, host.Share{}))
	want[plain], want[id] = host.Share{Weight: 0.01, Concurrency: &none}, host.Share{}
	compareShares()
	negative := -1
	for _, bad := range []host.Share{{Weight: -1}, {Weight: 0.001}, {Weight: 101}, {Concurrency: &negative}} {
		if err := s.SetShare(s.ctx(), id, bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("set share %+v: %v, want invalid", bad, err)
		}
		if err := s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: "bad", Share: bad}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("create with share %+v: %v, want invalid", bad, err)
		}
	}
	for _, unknown := range []host.TenantID{host.NewTenantID(), "x", ""} {
		if err := s.SetShare(s.ctx(), unknown, host.Share{}); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("set the share of %q: %v, want not found", unknown, err)
		}
	}
}

// testFairNewcomer: a tenant that comes among many with backlogs is served in
// the next window, and the others keep their turns.
func testFairNewcomer(s *suite) {
	c := s.crowd()
	const tenants, room = 60, 10
	var all []host.TenantID
	for range tenants {
		t := s.tenant()
		all = append(all, t)
		c.backlog(t, 4)
	}
	served := map[host.TenantID]int{}
	for round := range 3 {
		for i := range tenants / room {
			var late host.TenantID
			if i == 2 {
				late = s.tenant()
				c.backlog(late, 3)
			}
			bells := c.serve(window(room))
			if i == 2 {
				if n := c.of(bells, late); n != 1 {
					s.Errorf("round %d: the newcomer got %d of the next window, want 1", round, n)
				}
			}
			for _, t := range all {
				served[t] += c.of(bells, t)
			}
		}
		for _, t := range all {
			if n := served[t]; n < round || n > round+1 {
				s.Errorf("after round %d: %s was served %d times", round, t, n)
			}
		}
	}
}

// testFairBurst: two tenants, one with everything queued.
func testFairBurst(s *suite) {
	c := s.crowd()
	big, small := s.tenant(), s.tenant()
	c.add(30, func() host.Scan { return newScan(big, plugins(10)...) })
	c.serve(window(20))
	c.backlog(small, 4)
	if n := c.of(c.serve(window(8)), small); n != 4 {
		s.Errorf("the other tenant got %d of 8, want all its 4", n)
	}
	// What it does not use now it does not save up.
	for range 5 {
		c.serve(window(20))
	}
	c.backlog(small, 20)
	if n := c.of(c.serve(window(10)), small); n < 5 || n > 6 {
		s.Errorf("after a pause it got %d of 10, want a half", n)
	}
}

func testFairWeights(s *suite) {
	c := s.crowd()
	heavy, light := s.shared(host.Share{Weight: 2}), s.tenant()
	c.backlog(heavy, 70)
	c.backlog(light, 70)
	h, l := 0, 0
	for range 6 {
		bells := c.serve(window(15))
		h, l = h+c.of(bells, heavy), l+c.of(bells, light)
	}
	if h < 59 || h > 61 || h+l != 90 {
		s.Errorf("weights 2 and 1 got %d and %d of 90, want 60 and 30", h, l)
	}
	s.check(s.SetShare(s.ctx(), light, host.Share{Weight: 100}))
	if n := c.of(c.serve(window(10)), light); n < 8 {
		s.Errorf("with weight 100 to 2 it got %d of 10", n)
	}
}

func testFairPriorities(s *suite) {
	t := s.tenant()
	scan := func(p host.Priority, plugins ...string) host.Scan {
		scan := newScan(t, plugins...)
		scan.Priority = p
		return s.accept(scan)
	}
	low := scan(host.PriorityLow, "a")
	normal := scan("", "b")
	high := scan(host.PriorityHigh, "a", "b")
	later := scan(host.PriorityNormal, "a")
	for _, want := range []struct {
		scan host.Scan
		p    host.Priority
	}{{low, host.PriorityLow}, {normal, host.PriorityNormal}, {high, host.PriorityHigh}, {later, host.PriorityNormal}} {
		if got := s.get(want.scan).Priority; got != want.p || want.scan.Priority != want.p {
			s.Errorf("priority %q, accepted as %q, want %q", got, want.scan.Priority, want.p)
		}
	}
	c := s.crowd()
	for i, want := range [][]host.JobID{jobIDs(high), jobIDs(high), jobIDs(normal), jobIDs(later), jobIDs(low)} {
		bells := c.ring(window(i + 1)) // one more each time
		if len(bells) != 1 || !slices.Contains(want, bells[0].Job) {
			s.Errorf("job %d: %v, want one of %s", i, bells, want)
		}
	}
	bad := newScan(t, "a")
	bad.Priority = "urgent"
	if _, err := s.Accept(s.ctx(), []host.Scan{bad}, nil); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("accept with priority %q: %v, want invalid", bad.Priority, err)
	}
	// Urgent work is urgent among its tenant's own.
	other := s.tenant()
	c.backlog(other, 4)
	c.add(4, func() host.Scan {
		scan := newScan(t, "p")
		scan.Priority = host.PriorityHigh
		return scan
	})
	if n := c.of(c.ring(window(9)), other); n != 2 && n != 3 {
		s.Errorf("beside urgent scans of another the tenant got %d of 4", n)
	}
}

func testCapTenant(s *suite) {
	c := s.crowd()
	two, none := 2, 0
	capped, free, usual := s.shared(host.Share{Concurrency: &two}), s.shared(host.Share{Concurrency: &none}), s.tenant()
	for _, t := range []host.TenantID{capped, free, usual} {
		c.backlog(t, 10)
	}
	q := window(100)
	q.Caps.Tenant = 3
	bells := c.ring(q)
	if a, b, u := c.of(bells, capped), c.of(bells, free), c.of(bells, usual); a != 2 || b != 10 || u != 3 {
		s.Errorf("handed out %d, %d and %d, want 2 (its own cap), 10 (none) and 3 (the default)", a, b, u)
	}
	if more := c.ring(q); len(more) != 0 {
		s.Errorf("at their caps: %v", more)
	}
	// Running counts, done does not.
	var mine []host.Doorbell
	for _, b := range bells {
		if c.owner[b.Job] == capped {
			mine = append(mine, b)
		}
	}
	claims, err := s.Store.Claim(s.ctx(), "host-a", []host.JobID{mine[0].Job}, ttl)
	s.check(err)
	if more := c.ring(q); len(more) != 0 {
		s.Errorf("with one running: %v", more)
	}
	s.finish(end(claims[0].Lease, host.StateSucceeded))
	if more := c.ring(q); len(more) != 1 || c.of(more, capped) != 1 {
		s.Errorf("with one done: %v, want one of the same tenant", more)
	}
	// A retry waits as any other job.
	claims, err = s.Store.Claim(s.ctx(), "host-a", []host.JobID{mine[1].Job}, ttl)
	s.check(err)
	s.finish(end(claims[0].Lease, host.StateQueued))
	if more := c.ring(q); c.of(more, capped) != 1 {
		s.Errorf("after a retry was queued: %v", more)
	}
	if more := c.ring(q); len(more) != 0 {
		s.Errorf("at their caps again: %v", more)
	}
}

func testCapPluginAndType(s *suite) {
	c := s.crowd()
	one, two := s.tenant(), s.tenant()
	for _, t := range []host.TenantID{one, two} {
		c.add(6, func() host.Scan { return newScan(t, "a", "b") })
		c.add(6, func() host.Scan {
			scan := newScan(t, "a", "p")
			scan.Type = "codeaudit"
			return scan
		})
	}
	q := window(100)
	q.Caps = host.Caps{Plugins: map[string]int{"a": 4, "gone": 1, "b": 0}, ScanTypes: map[string]int{"codeaudit": 5}}
	bells := c.ring(q)
	for range 8 { // what one cap turned away others may take
		bells = append(bells, c.ring(q)...)
	}
	n := map[string]int{}
	for _, b := range bells {
		n[b.Plugin]++
		n[c.type_[b.Job]]++
	}
	// All of b; four of a, whatever their type; p as far as its type goes.
	if n["a"] != 4 || n["b"] != 12 || n["codeaudit"] != 5 || len(bells) != n["web"]+5 {
		s.Errorf("handed out %v", n)
	}
	if x, y := c.of(bells, one), c.of(bells, two); x-y > 2 || y-x > 2 {
		s.Errorf("tenants got %d and %d", x, y)
	}
	c.done(bells)
	total := len(bells)
	for range 100 {
		b := c.serve(q)
		if total += len(b); len(b) == 0 {
			break
		}
		n := map[string]int{}
		for _, x := range b {
			n[x.Plugin]++
			n[c.type_[x.Job]]++
		}
		if n["a"] > 4 || n["codeaudit"] > 5 {
			s.Errorf("over a cap: %v", n)
		}
	}
	if total != 48 {
		s.Errorf("%d of 48 jobs were handed out in the end", total)
	}
}

// testCapGone: a job that was rung for a plugin which no living host has keeps
// its tenant's place for two horizons and no longer.
func testCapGone(s *suite) {
	c := s.crowd()
	one := 1
	t := s.shared(host.Share{Concurrency: &one})
	c.add(1, func() host.Scan { return newScan(t, "gone") })
	if out, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: []string{"gone"}, Window: 4, Horizon: time.Minute}); err != nil || len(out.Bells) != 1 {
		s.Fatalf("dispatched %v, %v", out, err)
	}
	c.backlog(t, 1)
	q := host.DispatchQuery{Plugins: []string{"p"}, Window: 4, Horizon: time.Minute}
	for _, step := range []struct {
		wait time.Duration
		want int
	}{{90 * time.Second, 0}, {60 * time.Second, 1}} {
		s.advance(step.wait)
		if out, err := s.Dispatch(s.ctx(), q); err != nil || len(out.Bells) != step.want {
			s.Errorf("%v later: %v, %v; want %d", step.wait, out, err, step.want)
		}
	}
}

// testLanesRest: retries that wait block nobody, and are found when their time
// has come, also beside new work in the same lane.
func testLanesRest(s *suite) {
	c := s.crowd()
	t := s.tenant()
	scans := c.add(5, func() host.Scan { return newScan(t, "p") })
	bells := c.ring(window(10))
	for i, b := range bells {
		claims, err := s.Store.Claim(s.ctx(), "host-a", []host.JobID{b.Job}, ttl)
		s.check(err)
		o := end(claims[0].Lease, host.StateQueued)
		o.RetryAfter = time.Duration(i+1) * 10 * time.Minute
		s.finish(o)
	}
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || !near(out.Next, 10*time.Minute) {
		s.Errorf("all wait: %+v", out)
	}
	s.advance(5 * time.Minute)
	if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || !near(out.Next, 5*time.Minute) {
		s.Errorf("5 minutes later: %+v", out)
	}
	fresh := c.add(1, func() host.Scan { return newScan(t, "p") })[0]
	if got := bellsOf(s.dispatch(10, time.Hour)); !sameIDs(got, jobIDs(fresh)) {
		s.Errorf("new work beside what rests: %v", got)
	}
	for i := range scans {
		s.advance(10 * time.Minute)
		if out := s.dispatch(10, 24*time.Hour); len(out.Bells) != 1 {
			s.Errorf("retry %d: %+v", i, out)
		}
	}
	if n, err := s.MendLanes(s.ctx(), 100); err != nil || n != 0 {
		s.Errorf("mended %d lanes, %v", n, err)
	}
}

// testLanesCancel: lanes whose jobs were canceled are forgotten and come back.
func testLanesCancel(s *suite) {
	c := s.crowd()
	t := s.tenant()
	for range 3 {
		for _, scan := range c.add(3, func() host.Scan { return newScan(t, "a", "b") }) {
			_, err := s.Cancel(s.ctx(), t, scan.ID)
			s.check(err)
		}
		for range 2 {
			if out := s.dispatch(10, time.Hour); len(out.Bells) != 0 || out.More || out.Next != 0 {
				s.Errorf("nothing is queued: %+v", out)
			}
			s.advance(3 * time.Second)
		}
	}
	scan := c.add(1, func() host.Scan { return newScan(t, "a", "b") })[0]
	if got := bellsOf(s.dispatch(10, time.Hour)); !sameIDs(got, jobIDs(scan)) {
		s.Errorf("dispatched %v, want %v", got, jobIDs(scan))
	}
}
