package storetest

import (
	"github.com/securetaghq/securetag/host"
)

// onPlan makes a tenant that has a plan, and a share of its own if it is not zero.
func (s *suite) onPlan(plan string, own host.Share) host.TenantID {
	s.Helper()
	id := host.NewTenantID()
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: id, Name: "t-" + string(id), Share: own, Terms: host.Terms{Plan: plan}}))
	return id
}

// testPlanShares: a tenant without a share of its own has its plan's, and that
// of the call that asks.
func testPlanShares(s *suite) {
	c := s.crowd()
	one, none, seven := 1, 0, 7
	tenants := map[string]host.TenantID{
		"plan":        s.onPlan("gold", host.Share{}),
		"own":         s.onPlan("gold", host.Share{Concurrency: &one}),
		"no plan":     s.onPlan("", host.Share{}),
		"plan is out": s.onPlan("brass", host.Share{}),
		"any":         s.onPlan("free for all", host.Share{}),
		"default":     s.onPlan("plain", host.Share{}),
	}
	for _, t := range tenants {
		c.backlog(t, 10)
	}
	q := window(100)
	four := 4
	q.Caps.Tenant = 3
	q.Caps.Plans = map[string]host.Share{
		"gold": {Concurrency: &seven}, "": {Concurrency: &four}, host.OtherPlan: {Concurrency: &one}, "free for all": {Concurrency: &none}, "plain": {},
	}
	bells := c.ring(q)
	for name, want := range map[string]int{"plan": 7, "own": 1, "no plan": 4, "plan is out": 1, "any": 10, "default": 3} {
		if got := c.of(bells, tenants[name]); got != want {
			s.Errorf("%s: %d were handed out, want %d", name, got, want)
		}
	}
	four = 6 // the configuration was read again
	if got := c.of(c.ring(q), tenants["no plan"]); got != 2 {
		s.Errorf("after the cap has grown by 2: %d more", got)
	}
}

// testPlanWeights: the same for weights.
func testPlanWeights(s *suite) {
	c := s.crowd()
	heavy, light, own := s.onPlan("gold", host.Share{}), s.onPlan("free", host.Share{}), s.onPlan("gold", host.Share{Weight: 1})
	got := map[host.TenantID]int{}
	for _, t := range []host.TenantID{heavy, light, own} {
		c.backlog(t, 70)
	}
	q := window(20)
	q.Caps.Plans = map[string]host.Share{"gold": {Weight: 2}, host.OtherPlan: {Weight: 1}}
	for range 6 {
		bells := c.serve(q)
		for _, t := range []host.TenantID{heavy, light, own} {
			got[t] += c.of(bells, t)
		}
	}
	if h, l, o := got[heavy], got[light], got[own]; h < 59 || h > 61 || l < 29 || l > 31 || h+l+o != 120 {
		s.Errorf("weights 2, 1 and an own 1 got %d, %d and %d of 120, want 60, 30 and 30", h, l, o)
	}
}
