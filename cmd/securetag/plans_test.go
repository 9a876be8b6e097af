package main

import (
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
	cfg.Retention.Scans = 48 * time.Hour
	p := newPlans(cfg, hclog.NewNullLogger())

	usual := p.Plan(host.Terms{})
	want := host.Plan{
		Name: "default", ArchiveSize: 50 << 20, UnpackedSize: 1 << 30, ConcurrentJobs: 3, Weight: 1, Priority: host.PriorityNormal,
		Findings: 100, Artifacts: 64 << 20, Retention: 48 * time.Hour,
	}
	if diff := cmp.Diff(want, usual); diff != "" {
		t.Errorf("without a plan (-want +got):\n%s", diff)
	}

	// More than holds for everybody is not to be had, less is.
	own := p.Plan(host.Terms{Plan: "premium", Override: host.Override{
		ArchiveSize: new(int64(1 << 40)), Findings: new(7), Retention: new(1000 * time.Hour), StorageQuota: new(int64(5)), UploadRate: &host.Rate{},
	}})
	want = host.Plan{
		Name: "premium", RequestRate: host.Rate{Count: 100, Per: time.Minute}, ArchiveSize: 50 << 20, UnpackedSize: 1 << 30,
		Quota:          host.Quota{Storage: 5, ScansPerDay: 2_000, QueuedScans: 200},
		ConcurrentJobs: 8, Weight: 2, Priority: host.PriorityNormal, Findings: 7, Artifacts: 64 << 20, Retention: 48 * time.Hour,
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("with an override (-want +got):\n%s", diff)
	}

	// Who has a plan that is gone gets the smallest, never an open door.
	gone := p.Plan(host.Terms{Plan: "gold"})
	if gone != p.Plan(host.Terms{Plan: "free"}) {
		t.Errorf("of a plan that is gone: %+v", gone)
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
