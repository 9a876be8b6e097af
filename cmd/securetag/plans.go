package main

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// plans is host.Plans on the configuration that is in force.
type plans struct {
	log hclog.Logger
	now atomic.Pointer[config.Config]
	// missing are plans of tenants that were said to be in no configuration.
	missing sync.Map
}

func newPlans(cfg config.Config, log hclog.Logger) *plans {
	p := &plans{log: log}
	p.set(cfg)
	return p
}

// set makes cfg the configuration that is in force.
func (p *plans) set(cfg config.Config) {
	p.now.Store(&cfg)
	p.missing.Clear()
}

// Plan implements host.Plans.
func (p *plans) Plan(t host.Terms) host.Plan {
	cfg := p.now.Load()
	name := cmp.Or(t.Plan, config.DefaultPlan)
	_, there := cfg.Plans[name]
	if !there {
		if _, said := p.missing.LoadOrStore(name, true); !said {
			p.log.Warn("a tenant has a plan that the configuration does not have, and is held to the smallest one", "plan", name, "held_to", config.SmallestPlan)
		}
		name = config.SmallestPlan
	}
	plan := planOf(name, cfg.Plans[name])
	if !there {
		plan.Retention = 0 // see host.Keep
	}
	return within(t.Override.Apply(plan), *cfg)
}

// Check implements host.Plans.
func (p *plans) Check(name string) error { return checkPlan(*p.now.Load(), name) }

// checkPlan reports a name that no plan has.
func checkPlan(cfg config.Config, name string) error {
	nearest, known, ok := cfg.CheckPlan(cmp.Or(name, config.DefaultPlan))
	if ok {
		return nil
	}
	return &host.UnknownPlan{Name: name, Nearest: nearest, Known: known}
}

// keep is how long scans are kept.
func keep(cfg config.Config) host.Keep {
	k := host.Keep{Most: cfg.Retention.Scans, Plans: map[string]time.Duration{}}
	for name, p := range cfg.Plans {
		k.Plans[name] = p.Retention
	}
	k.Plans[""] = k.Plans[config.DefaultPlan]
	return k
}

// caps gives what may run at once. It is asked for each look at the queue.
func (p *plans) caps() host.Caps {
	cfg := p.now.Load()
	c := host.Caps{Tenant: cfg.Limits.TenantConcurrency, Plugins: map[string]int{}, ScanTypes: map[string]int{}, Plans: map[string]host.Share{}}
	for name, p := range cfg.Plugins {
		c.Plugins[name] = p.Concurrency
	}
	for name, s := range cfg.Scans {
		c.ScanTypes[name] = s.Concurrency
	}
	for name, p := range cfg.Plans {
		s := host.Share{Weight: p.Weight}
		if p.ConcurrentJobs > 0 {
			s.Concurrency = new(p.ConcurrentJobs)
		}
		c.Plans[name] = s
	}
	c.Plans[""], c.Plans[host.OtherPlan] = c.Plans[config.DefaultPlan], c.Plans[config.SmallestPlan]
	return c
}

// planOf is a plan as the configuration has it.
func planOf(name string, p config.Plan) host.Plan {
	return host.Plan{
		Name: name, RequestRate: host.Rate(p.RequestRate), UploadRate: host.Rate(p.UploadRate),
		ArchiveSize: int64(p.ArchiveSize), UnpackedSize: int64(p.UnpackedSize),
		Quota:          host.Quota{Storage: int64(p.StorageQuota), ScansPerDay: int64(p.ScansPerDay), QueuedScans: int64(p.QueuedScans)},
		ConcurrentJobs: p.ConcurrentJobs, Weight: p.Weight, Priority: host.Priority(p.Priority),
		Findings: p.Findings, Artifacts: int64(p.Artifacts), Retention: p.Retention,
		Targets: p.Targets,
	}
}

// within holds a plan to what holds for every tenant.
func within(p host.Plan, cfg config.Config) host.Plan {
	l := cfg.Limits
	p.ArchiveSize = least(p.ArchiveSize, int64(l.ArchiveSize))
	p.UnpackedSize = least(p.UnpackedSize, int64(l.UnpackedSize))
	p.Findings = least(p.Findings, l.Findings)
	p.Artifacts = least(p.Artifacts, int64(l.Artifacts))
	p.Retention = least(p.Retention, cfg.Retention.Scans)
	if p.ConcurrentJobs == 0 {
		p.ConcurrentJobs = l.TenantConcurrency
	}
	return p
}

// least is the smaller of two limits, of which 0 is none.
func least[T ~int | ~int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
