package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// termsFlags are the choices of a tenant's plan.
type termsFlags struct {
	plan string
	set  []string
}

func (f *termsFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.plan, "plan", config.DefaultPlan, "the plan that says what it may use: the name of a plan block")
	fl.StringArrayVar(&f.set, "set", nil, "a setting of the plan that is different for this tenant, such as storage_quota=2GiB, or storage_quota="+byDefault+" for the plan's; can be repeated")
}

func (f *termsFlags) given(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("plan") || cmd.Flags().Changed("set")
}

// apply changes in t what a flag names.
func (f *termsFlags) apply(cmd *cobra.Command, t host.Terms, cfg config.Config) (host.Terms, error) {
	if cmd.Flags().Changed("plan") {
		if err := checkPlan(cfg, f.plan); err != nil {
			return t, err
		}
		t.Plan = f.plan
		if f.plan == config.DefaultPlan {
			t.Plan = "" // whichever that is
		}
	}
	for _, s := range f.set {
		if err := override(&t.Override, s); err != nil {
			return t, fmt.Errorf("--set %.80q: %w", s, err)
		}
	}
	return t, nil
}

// override takes one setting=value.
func override(o *host.Override, text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("write it as setting=value")
	}
	var p config.Plan
	if value != byDefault {
		if err := config.SetPlan(&p, name, value); err != nil {
			return err
		}
	}
	given := planOf("", p)
	switch own := value != byDefault; name {
	case "request_rate":
		o.RequestRate = ifOwn(own, given.RequestRate)
	case "upload_rate":
		o.UploadRate = ifOwn(own, given.UploadRate)
	case "archive_size":
		o.ArchiveSize = ifOwn(own, given.ArchiveSize)
	case "unpacked_size":
		o.UnpackedSize = ifOwn(own, given.UnpackedSize)
	case "storage_quota":
		o.StorageQuota = ifOwn(own, given.Storage)
	case "scans_per_day":
		o.ScansPerDay = ifOwn(own, given.ScansPerDay)
	case "queued_scans":
		o.QueuedScans = ifOwn(own, given.QueuedScans)
	case "priority":
		o.Priority = ifOwn(own, given.Priority)
	case "findings":
		o.Findings = ifOwn(own, given.Findings)
	case "artifacts":
		o.Artifacts = ifOwn(own, given.Artifacts)
	case "retention":
		o.Retention = ifOwn(own, given.Retention)
	case "targets":
		for _, s := range given.Targets {
			if _, err := host.ParseTargetPattern(s); err != nil {
				return err
			}
		}
		o.Targets = ifOwn(own, given.Targets)
	case "weight", "concurrent_jobs":
		return errors.New("use --weight and --concurrency for these")
	default:
		return config.SetPlan(&p, name, "") // says what there is
	}
	return nil
}

// ifOwn is a value that a tenant has for itself, or nil.
func ifOwn[T any](own bool, v T) *T {
	if !own {
		return nil
	}
	return &v
}
