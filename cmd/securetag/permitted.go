package main

import (
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// tellPermitted logs that nothing is permitted, where there are scan types of URLs,
// tenants, and neither a plan nor a tenant with targets: only what tenants prove is
// scanned. A host that was there before permission was looks like that.
func tellPermitted(ctx context.Context, cfg config.Config, store host.TenantStore, log hclog.Logger) error {
	var types []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Scans)) {
		if s := cfg.Scans[name]; s.Input == string(host.InputURL) && len(s.Plugins) > 0 {
			types = append(types, name)
		}
	}
	for _, p := range cfg.Plans {
		if len(p.Targets) > 0 {
			return nil
		}
	}
	if len(types) == 0 {
		return nil
	}
	tenants, err := store.Tenants(ctx)
	if err != nil || len(tenants) == 0 {
		return err
	}
	for _, t := range tenants {
		if own := t.Terms.Override.Targets; own != nil && len(*own) > 0 {
			return nil
		}
	}
	log.Info("tenants may have nothing scanned by URL but what they prove to be theirs: no plan and no tenant has targets", "scan_types", types)
	return nil
}
