package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Limits.Findings = 100
	cfg.Limits.TenantConcurrency = 3
	cfg.Retention.Scans = 10 * time.Hour
	free := cfg.Plans["free"]
	free.Retention = time.Hour
	cfg.Plans["free"] = free
	p := newPlans(cfg, hclog.NewNullLogger())

	usual := p.Plan(host.Terms{})
	want := host.Plan{
		Name: "default", ArchiveSize: 50 << 20, UnpackedSize: 1 << 30, ConcurrentJobs: 3, Weight: 1, Priority: host.PriorityNormal,
		Findings: 100, Artifacts: 64 << 20, Retention: 10 * time.Hour, Targets: []string{},
	}
	if diff := cmp.Diff(want, usual); diff != "" {
		t.Errorf("without a plan (-want +got):\n%s", diff)
	}

	// More than holds for everybody is not to be had, less is.
	own := p.Plan(host.Terms{Plan: "premium", Override: host.Override{
		ArchiveSize: new(int64(1 << 40)), Findings: new(7), StorageQuota: new(int64(5)), UploadRate: &host.Rate{},
		Retention: new(11 * time.Hour), Targets: &[]string{"*.example.com"},
	}})
	want = host.Plan{
		Name: "premium", RequestRate: host.Rate{Count: 100, Per: time.Minute}, ArchiveSize: 50 << 20, UnpackedSize: 1 << 30,
		Quota:          host.Quota{Storage: 5, ScansPerDay: 2_000, QueuedScans: 200},
		ConcurrentJobs: 8, Weight: 2, Priority: host.PriorityNormal, Findings: 7, Artifacts: 64 << 20, Retention: 10 * time.Hour, Targets: []string{"*.example.com"},
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("with an override (-want +got):\n%s", diff)
	}

	// Who has a plan that is gone gets the smallest, never an open door; but what
	// there is of theirs does not go sooner.
	gone, smallest := p.Plan(host.Terms{Plan: "gold"}), p.Plan(host.Terms{Plan: "free"})
	if gone.Retention != 10*time.Hour || smallest.Retention != time.Hour {
		t.Errorf("scans are kept for %v with a plan that is gone, and for %v with the smallest", gone.Retention, smallest.Retention)
	}
	gone.Retention = smallest.Retention
	if !cmp.Equal(gone, smallest) {
		t.Errorf("of a plan that is gone: %+v", gone)
	}
	if own := p.Plan(host.Terms{Plan: "gold", Override: host.Override{Retention: new(time.Minute)}}); own.Retention != time.Minute {
		t.Errorf("with one of its own, scans are kept for %v", own.Retention)
	}
	plan := cfg.Plans["free"]
	plan.ScansPerDay = 9
	changed := cfg
	changed.Plans = map[string]config.Plan{"default": cfg.Plans["default"], "free": cfg.Plans["free"], "gold": plan}
	p.set(changed)
	if got := p.Plan(host.Terms{Plan: "gold"}); got.Name != "gold" || got.ScansPerDay != 9 {
		t.Errorf("after a change of the configuration: %+v", got)
	}
}

// TestKeep: what the sweeper is told is what a tenant is shown.
func TestKeep(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	for name, age := range map[string]time.Duration{"default": 3 * time.Hour, "free": time.Hour} {
		plan := cfg.Plans[name]
		plan.Retention = age
		cfg.Plans[name] = plan
	}
	want := host.Keep{Plans: map[string]time.Duration{"": 3 * time.Hour, "default": 3 * time.Hour, "free": time.Hour, "premium": 0, "enterprise": 0}}
	if diff := cmp.Diff(want, sweeps(cfg).Scans); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cfg.Retention.Scans = 2 * time.Hour
	want.Most = 2 * time.Hour
	if diff := cmp.Diff(want, sweeps(cfg).Scans); diff != "" {
		t.Errorf("with a bound for everybody (-want +got):\n%s", diff)
	}
	if got := newPlans(cfg, hclog.NewNullLogger()).Plan(host.Terms{}); got.Retention != 2*time.Hour {
		t.Errorf("a tenant is shown %v", got.Retention)
	}
}

func TestCheckPlan(t *testing.T) {
	t.Parallel()
	p := newPlans(config.Default(), hclog.NewNullLogger())
	for _, name := range []string{"", "default", "free"} {
		if err := p.Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"fre":  `there is no plan "fre" in the configuration; did you mean "free"? There are: default, enterprise, free, premium`,
		"gold": `there is no plan "gold" in the configuration; there are: default, enterprise, free, premium`,
	} {
		if err := p.Check(name); err == nil || err.Error() != want || !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	cfg := config.Default()
	cfg.Plans["gold"] = config.Plan{}
	p.set(cfg)
	if err := p.Check("gold"); err != nil {
		t.Errorf("after a change of the configuration: %v", err)
	}
}
